"""Tagged sentences: XTREME's TSV, and CoNLL-U with multi-word tokens and empty nodes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from adapter_stilts.data.formats import read_rows
from formats_kit import Writer, complaint

TREEBANKS = Path(os.environ.get("ADSTILTS_DATA", "nowhere")) / "ud-treebanks-v2.5"


def token(name: str, form: str, tag: str = "_", head: str = "_", deps: str = "_") -> str:
    return "\t".join([name, form, "_", tag, "_", "_", head, "_", deps, "_"])


def sentence(*tokens: str) -> str:
    return "\n".join(["# sent_id = s1", "# text = …", *tokens]) + "\n\n"


def tagged(path: Path) -> list[tuple[str, str]]:
    """The words and tags of a file's only sentence."""
    ((_, row),) = read_rows(path, "conllu")
    return list(zip(row["tokens"], row["tags"], strict=True))


# ---- word, tab, tag


def test_conll(write: Writer) -> None:
    path = write("a.tsv", "\n\nDogs\tNOUN\r\nbark\tVERB\r\n\r\n \nYes\tINTJ")
    assert list(read_rows(path, "conll")) == [
        (3, {"tokens": ["Dogs", "bark"], "tags": ["NOUN", "VERB"], "lines": [3, 4]}),
        (7, {"tokens": ["Yes"], "tags": ["INTJ"], "lines": [7]}),
    ]


def test_conll_without_tags(write: Writer) -> None:
    path = write("a.tsv", "Dogs\nbark\t\n\n#\tPUNCT\n")
    rows = [row for _, row in read_rows(path, "conll")]
    assert rows == [
        {"tokens": ["Dogs", "bark"], "tags": [], "lines": [1, 2]},
        {"tokens": ["#"], "tags": ["PUNCT"], "lines": [4]},
    ]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("a\tX\nb c\n", ", line 2: 'b c' where a word, a tab and its tag belong"),
        ("a\tX\tY\n", ", line 1: 'a\\tX\\tY' where a word, a tab and its tag belong"),
        ("\tX\n", ", line 1: '\\tX' where a word, a tab and its tag belong"),
        ("a\tX\nb\n", ", line 2: 'b' has no tag, but others of its sentence have one"),
        ("a\nb\tX\n", ", line 2: 'b' has a tag, but others of its sentence have none"),
        ("", ": the file is empty"),
    ],
)
def test_broken_conll(write: Writer, content: str, said: str) -> None:
    assert complaint(write("a.tsv", content), "conll") == said


def test_only_a_line_feed_ends_a_word(write: Writer) -> None:
    ((_, row),) = read_rows(write("a.tsv", "x\u2028y\tSYM\n"), "conll")
    assert row["tokens"] == ["x\u2028y"]


# ---- CoNLL-U


def test_conllu_takes_id_words_and_tags(write: Writer) -> None:
    content = sentence(token("1", "Dogs", "NOUN", "2"), token("2", "bark", "VERB", "0"))
    assert list(read_rows(write("en_x-ud-dev.conllu", content * 2), "conllu")) == [
        (3, {"id": "s1", "tokens": ["Dogs", "bark"], "tags": ["NOUN", "VERB"], "lines": [3, 4]}),
        (8, {"id": "s1", "tokens": ["Dogs", "bark"], "tags": ["NOUN", "VERB"], "lines": [8, 9]}),
    ]


def test_multi_word_token_has_the_tag_of_the_part_nearest_to_the_root(write: Writer) -> None:
    content = sentence(
        token("1", "Quiere", "VERB", "0"),
        token("2-3", "dámelo"),
        token("2", "da", "VERB", "1"),
        token("3", "lo", "PRON", "2"),
    )
    assert tagged(write("es_x.conllu", content)) == [("Quiere", "VERB"), ("dámelo", "VERB")]


@pytest.mark.parametrize(
    ("language", "tags", "chosen"),
    [
        ("fr", ("ADP", "DET"), "ADP"),
        ("de", ("ADP", "DET"), "ADP"),
        ("de", ("DET", "ADP"), "ADP"),
        ("it", ("INTJ", "DET"), "DET"),  # Italian has its own ranks, and INTJ is last there
        ("de", ("INTJ", "DET"), "INTJ"),
        ("es", ("SYM", "NUM"), "SYM"),  # neither has a rank: the first stays
        ("es", ("SYM", "DET"), "DET"),
    ],
)
def test_equally_near_parts_are_ranked_by_tag(
    write: Writer, language: str, tags: tuple[str, str], chosen: str
) -> None:
    content = sentence(
        token("1-2", "du"),
        token("1", "de", tags[0], "3"),
        token("2", "le", tags[1], "3"),
        token("3", "pain", "NOUN", "0"),
    )
    path = write(f"{language}_gsd-ud-test.conllu", content)
    assert tagged(path) == [("du", chosen), ("pain", "NOUN")]


def test_enhanced_dependencies_count_as_ways_to_the_root(write: Writer) -> None:
    # By the basic tree both parts are one step from the verb; by the enhanced graph the first
    # is below a second noun as well, as XTREME's tool reads both together.
    content = sentence(
        token("1-2", "im"),
        token("1", "in", "ADP", "4", "3:case|4:case"),
        token("2", "dem", "DET", "4", "4:det|4.1:x"),
        token("3", "Haus", "NOUN", "4"),
        token("4", "war", "VERB", "0"),
        token("4.1", "leer", "ADJ"),
    )
    path = write("de_x.conllu", content)
    assert tagged(path)[0] == ("im", "DET")
    assert [word for word, _ in tagged(path)] == ["im", "Haus", "war"]


def test_cycles_in_the_enhanced_graph_do_no_harm(write: Writer) -> None:
    content = sentence(
        token("1-2", "ab"),
        token("1", "a", "NOUN", "2", "2:x"),
        token("2", "b", "VERB", "0", "1:y"),
    )
    assert tagged(write("x_x.conllu", content)) == [("ab", "VERB")]


def test_empty_nodes_are_left_out_wherever_they_stand(write: Writer) -> None:
    content = sentence(
        token("0.1", "Nobody"), token("1", "Go", "VERB", "0"), token("1.1", "x"), token("1.2", "y")
    )
    assert tagged(write("en_x.conllu", content)) == [("Go", "VERB")]


def test_spaces_and_joiners_inside_words_are_removed(write: Writer) -> None:
    content = sentence(token("1", "می\u200cروم", "VERB", "0"), token("2", "1 000", "NUM", "1"))
    assert tagged(write("fa_x.conllu", content)) == [("میروم", "VERB"), ("1000", "NUM")]


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["1\ta\tb"], ", line 3: 3 columns where CoNLL-U has 10, separated by tabs"),
        ([token("x", "a")], ", line 3: id 'x' where one such as 3, 3-4 or 3.1 belongs"),
        ([token("1", "a"), token("3", "b")], ", line 4: id 3 where word 2 follows"),
        ([token("1", "a"), token("1-2", "b")], ", line 4: id 1-2 where word 2 follows"),
        ([token("1-1", "a"), token("1", "a")], ", line 3: id 1-1 where word 1 follows"),
        (
            [token("1-3", "abc"), token("1", "a"), token("2-3", "bc")],
            ", line 5: this multi-word token overlaps the one before",
        ),
        (
            [token("1-2", "ab"), token("1", "a")],
            ", line 3: a multi-word token goes on to word 2, but the sentence has 1 words",
        ),
        ([token("1", " ")], ", line 3: the word is empty"),
    ],
)
def test_broken_conllu(write: Writer, lines: list[str], said: str) -> None:
    assert complaint(write("a.conllu", sentence(*lines)), "conllu") == said


def test_conllu_comments_alone_are_no_sentence(write: Writer) -> None:
    content = "# newdoc\n\n" + sentence(token("1", "Hi", "INTJ", "0"))
    assert tagged(write("en_x.conllu", content)) == [("Hi", "INTJ")]


@pytest.mark.data
@pytest.mark.skipif(not TREEBANKS.is_dir(), reason="ADSTILTS_DATA has no treebanks")
@pytest.mark.parametrize(
    ("treebank", "sentences", "characters"),
    [
        # The characters of XTREME's own test file, of which this treebank is all, or the start.
        ("UD_Thai-PUD/th_pud", 1_000, 119_482),
        ("UD_Yoruba-YTB/yo_ytb", 100, 10_448),
        ("UD_German-GSD/de_gsd", 977, 101_424),
    ],
)
def test_real_treebanks_are_as_long_as_in_xtreme(
    treebank: str, sentences: int, characters: int
) -> None:
    rows = [row for _, row in read_rows(TREEBANKS / f"{treebank}-ud-test.conllu", "conllu")]
    assert len(rows) == sentences
    written = "\n\n".join("\n".join(row["tokens"]) for row in rows) + "\n"
    assert len(written) == characters
