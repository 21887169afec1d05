"""CCGbank's derivations and C&C's tagged lines."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapter_stilts.data.formats import read_rows
from adapter_stilts.data.parts import samples_folder
from adapter_stilts.data.tagging_formats import parse_auto
from adapter_stilts.tasks.spec import FileFormat
from formats_kit import Writer, complaint

TREE = (
    "(<T S[dcl] 0 2> (<T NP 0 2> (<L NP[nb]/N DT DT The NP[nb]_31/N_31>) (<L N NN NN dog N>) ) "
    "(<T S[dcl]\\NP 0 2> (<L S[dcl]\\NP VBZ VBZ barks S[dcl]\\NP_5>) (<L . . . . .>) ) ) "
)


def test_leaves(write: Writer) -> None:
    path = write("wsj_0001.auto", f"ID=wsj_0001.1 PARSER=GOLD NUMPARSE=1\n{TREE}\n")
    assert list(read_rows(path, "auto")) == [
        (
            2,
            {
                "id": "wsj_0001.1",
                "tokens": ["The", "dog", "barks", "."],
                "ccg_tags": ["NP[nb]/N", "N", "S[dcl]\\NP", "."],
            },
        )
    ]


def test_words_that_look_like_brackets() -> None:
    assert parse_auto("(<T N 0 2> (<L N/N X X > N/N>) (<L N X X (<L N>) )")[0] == [">", "(<L"]


@pytest.mark.parametrize(
    ("tree", "said"),
    [
        (TREE.rstrip()[:-1], "bracket error at column 1: this bracket is never closed"),
        (TREE + ")", f"bracket error at column {len(TREE) + 1}: ')' after the end of the tree"),
        (
            TREE.replace("(<T NP 0 2>", "(<T NP 0 3>"),
            "bracket error at column 17: the node announces 3 daughters, has 2",
        ),
        (
            TREE.replace("dog N>)", "dog N>"),
            "bracket error at column 69: '(<L N NN NN dog N> )…' where '(<T …>', '(<L …>)' or "
            "')' was expected",
        ),
        (") (", "')\u0020(' where 'ID=…' or '(<T …' was expected"),
        ("(", "bracket error at column 1: '(' where '(<T …>' or '(<L …>)' was expected"),
        ("S -> NP VP", "'S -> NP VP' where 'ID=…' or '(<T …' was expected"),
    ],
)
def test_bracket_errors_name_line_and_column(write: Writer, tree: str, said: str) -> None:
    path = write("a.auto", f"ID=1\n{TREE}\nID=2\n{tree}\n")
    assert complaint(path, "auto") == f", line 4: {said}"


def test_column_counts_the_indent(write: Writer) -> None:
    said = complaint(write("a.auto", "ID=1\n   (\n"), "auto")
    assert said.startswith(", line 2: bracket error at column 4: ")


_trees = st.recursive(
    st.text("abc<>|/", min_size=1, max_size=4).map(lambda word: ([word], f"(<L N X X {word} N>)")),
    lambda below: st.lists(below, min_size=1, max_size=3).map(
        lambda found: (
            [word for words, _ in found for word in words],
            f"(<T N 0 {len(found)}> {' '.join(tree for _, tree in found)} )",
        )
    ),
    max_leaves=12,
)


@given(_trees)
def test_any_tree_gives_its_leaves_in_order(tree: tuple[list[str], str]) -> None:
    words, written = tree
    assert parse_auto(written) == (words, ["N"] * len(words))


@given(_trees, st.data())
def test_a_tree_cut_short_is_never_taken_for_whole(
    tree: tuple[list[str], str], data: st.DataObject
) -> None:
    written = tree[1]
    cut = data.draw(st.integers(1, len(written) - 1))
    with pytest.raises(ValueError, match=r"expected|closed|announces"):
        parse_auto(written[:cut])


def test_pipe(write: Writer) -> None:
    path = write("a.pipe", "# made by C&C\n\n#|#|N 5|CD|N/N a|b|NN|N\n")
    expected = {"tokens": ["#", "5", "a|b"], "ccg_tags": ["N", "N/N", "N"]}
    assert list(read_rows(path, "pipe")) == [(3, expected)]


@pytest.mark.parametrize("word", ["dog", "dog|NN", "dog||N", "|NN|N", "dog|NN|"])
def test_pipe_error_names_the_word(write: Writer, word: str) -> None:
    said = complaint(write("a.pipe", f"a|DT|NP/N dog|NN|N\nthe|DT|NP/N {word}\n"), "pipe")
    assert said == f", line 2: word 2 is '{word}' where 'word|POS|category' was expected"


def test_the_three_formats_say_the_same() -> None:
    folder = Path(__file__).parent.parent / "fixtures" / "ccg"
    files: dict[FileFormat, Path] = {
        "auto": folder / "AUTO" / "02" / "wsj_0201.auto",
        "pipe": folder / "sample_train.pipe",
        "jsonl": samples_folder() / "ccg" / "sample_train.jsonl",
    }
    auto, pipe, jsonl = (
        [(row["tokens"], row["ccg_tags"]) for _, row in read_rows(path, form)][:8]
        for form, path in files.items()
    )
    assert auto == pipe == jsonl and len(auto) == 8
