"""A task's tag set is closed: data with another one is refused, with the line and the tag."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from adapter_stilts.data.load import ExampleSet, load_examples
from adapter_stilts.errors import UserError
from adapter_stilts.evaluation.data import has_labels
from adapter_stilts.tasks.registry import get_target
from adapter_stilts.tasks.spec import Split, TargetSpec


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADSTILTS_CACHE", str(tmp_path / "cache"))


def put(folder: Path, name: str, content: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")
    return path


PANX = "Marta\tB-PER\nwohnt\tO\nin\tO\nLund\t{}\n"
CONLLU = """# sent_id = a
1-2\tim\t_\t_\t_\t_\t_\t_\t_\t_
1\tin\t_\t{}\t_\t_\t2\tcase\t_\t_
2\tdem\t_\tDET\t_\t_\t0\troot\t_\t_
3\tTal\t_\t{}\t_\t_\t2\tdep\t_\t_
"""
COPA = {"premise": "p", "question": "cause", "choice1": "a", "choice2": "b", "label": float("nan")}

REFUSED: list[tuple[str, str, str, str]] = [
    ("panx", "test-de.tsv", "B-PER\tMarta\nO\twohnt\n", "line 1: 'Marta' is no tag of panx"),
    ("panx", "test-de.tsv", "B-PER\tMarta\nO\twohnt\n", "are the columns swapped?"),
    ("panx", "test-de.tsv", PANX.format("I-PE"), "line 4: 'I-PE' is no tag of panx"),
    ("panx", "test-de.tsv", PANX.format("NaN"), "line 4: 'NaN' is no tag"),
    ("panx", "test-de.tsv", PANX.format("b-loc"), "line 4: 'b-loc' is no tag"),
    ("panx", "test-de.tsv", PANX.format("NN"), "another set is named with --tags"),
    ("panx", "test-de.tsv", "Ja\tO\n\n" + PANX.format("_"), "line 6: '_' is no tag"),
    ("panx", "de/test", "de:Ada\tO\nde:liest\tVERB\n", "line 2: 'VERB' is no tag"),
    ("panx", "test-de.tsv", "Marta,B-PER\nwohnt,O\n", "line 1: 'Marta,B-PER' where a word, a tab"),
    ("panx", "test-de.tsv", "Mai;B-PER\n\nJa;O\n", "line 1: 'Mai;B-PER' where a word, a tab"),
    ("panx", "test-de.tsv", "Marta,NE\nwohnt,VVFIN\n", "line 1: 'Marta,NE' where a word, a tab"),
    ("panx", "test-de.tsv", "Marta B-PER\nwohnt O\n", "line 1: 'Marta B-PER' where a word, a tab"),
    ("udpos", "test-de.tsv", "Das\tPRON\nist\tVAFIN\n", "line 2: 'VAFIN' is no tag of udpos"),
    ("udpos", "test-de.tsv", "PRON\tDas\nAUX\tist\n", "are the columns swapped?"),
    ("udpos", "UD_X/de_x-ud-test.conllu", CONLLU.format("ADP", "NN"), "line 5: 'NN' is no tag"),
    ("udpos", "UD_X/de_x-ud-test.conllu", CONLLU.format("_", "_"), "line 5: '_' is no tag"),
]  # fmt: skip


@pytest.mark.parametrize(("task", "file", "content", "said"), REFUSED)
@pytest.mark.parametrize("split", ["test", "train"])
def test_other_tags_are_refused_with_their_line(
    tmp_path: Path, task: str, file: str, content: str, said: str, split: Split
) -> None:
    path = put(tmp_path, f"{task}/{file.replace('test', split)}", content)
    target = get_target(task)
    read = target.at("de") if split == "test" else target.trained_in("de")[0]
    with pytest.raises(UserError) as caught:
        load_examples(read, split, str(tmp_path))
    assert str(caught.value).startswith(str(path))
    assert said in str(caught.value)


def test_a_treebank_without_tags_has_no_labels(tmp_path: Path) -> None:
    bare = CONLLU.format("_", "_").replace("DET", "_")
    put(tmp_path, "udpos/UD_X/de_x-ud-test.conllu", bare)
    put(tmp_path, "udpos/UD_X/de_x-ud-train.conllu", bare)
    task = get_target("udpos").at("de")
    found = load_examples(task, "test", str(tmp_path))
    assert found.examples["words"][:] == [["im", "Tal"]]
    assert not has_labels(task, "test", str(tmp_path), found)
    with pytest.raises(UserError, match=r"line \d: 'im' has no tag, so nothing can be learnt"):
        load_examples(get_target("udpos").trained_in("de")[0], "train", str(tmp_path))


def test_words_that_look_like_tags_are_words(tmp_path: Path) -> None:
    """In test sets without tags, and beside tags."""
    put(tmp_path, "panx/test-de.tsv", "O,\n3,5\nB-PER\n\nA/B\n\nPER,LOC\nx\n")
    task = get_target("panx").at("de")
    found = load_examples(task, "test", str(tmp_path))
    assert found.examples["words"][:] == [["O,", "3,5", "B-PER"], ["A/B"], ["PER,LOC", "x"]]
    assert not has_labels(task, "test", str(tmp_path), found)
    put(tmp_path, "panx/test-en.tsv", "B-PER\tO\nO\tB-PER\n")
    examples = load_examples(get_target("panx").at("en"), "test", str(tmp_path)).examples
    assert examples["words"][:] == [["B-PER", "O"]]


def test_white_space_of_other_kinds_is_a_word(tmp_path: Path) -> None:
    put(
        tmp_path,
        "panx/test-vi.tsv",
        "Đà \tB-LOC\n\u00a0\tO\n\u3000\tO\n\u200b\tO\n \tO\n\nMai\tO\n",
    )
    put(tmp_path, "panx/dev-vi.tsv", "Đà\n\u00a0\nLạt\n\nMai\n")
    task = get_target("panx").at("vi")
    (first, _) = load_examples(task, "test", str(tmp_path)).examples["words"][:]
    assert first == ["Đà", "\u00a0", "\u3000", "\u200b", " "]
    blind = load_examples(task, "dev", str(tmp_path)).examples["words"][:]
    assert blind == [["Đà", "\u00a0", "Lạt"], ["Mai"]]


def test_own_tags_are_a_choice(tmp_path: Path) -> None:
    put(tmp_path, "panx/test-de.tsv", PANX.format("B-MISC"))
    panx = get_target("panx")

    def load(target: TargetSpec) -> ExampleSet:
        return load_examples(target.at("de"), "test", str(tmp_path))

    with pytest.raises(UserError, match="line 4: 'B-MISC' is no tag of panx"):
        load(panx)
    own = panx.with_tags("O, B-PER,B-MISC")
    assert load(own).examples["tags"][:] == [["B-PER", "O", "O", "B-MISC"]]
    with pytest.raises(UserError, match="'B-MISC' is no tag"):
        load(panx)  # what was read with other tags is not taken for it
    assert own.trained_in("de")[0].tags == ("O", "B-PER", "B-MISC")
    for wrong in ("", "O,O", "O,B PER"):
        with pytest.raises(UserError, match="--tags"):
            panx.with_tags(wrong)
    with pytest.raises(UserError, match="xnli has no tags"):
        get_target("xnli").with_tags("O")


@pytest.mark.parametrize(
    ("task", "file", "content", "said"),
    [
        ("xnli", "xnli/test-de.tsv", "a,b,neutral\n", "line 1: 'a,b,neutral' where 3 columns"),
        ("xnli", "xnli/test-de.tsv", "neutral\ta\tb\n", "line 1: label 'b' is outside the set"),
        ("xnli", "xnli/test-de.tsv", "a\tb\tNaN\n", "line 1: label 'NaN' is outside the set"),
        ("xnli", "xnli/test-de.tsv", "Premise\tHypothesis\tLabel\n", "is this a header"),
        ("pawsx", "pawsx/test-de.tsv", "a\tb\t2\n", "line 1: label 2 is outside the set"),
        (
            "xcopa",
            "xcopa/et/test.et.jsonl",
            json.dumps(COPA),
            "line 1: label nan is outside the set",
        ),
        (
            "bucc2018",
            "bucc2018/de-en.test.de",
            "Ein Satz.\tde-1\n",
            "'Ein Satz.' where the id",
        ),
        (
            "bucc2018",
            "bucc2018/de-en.test.de",
            "de-1,Ein Satz.\n",
            "'de-1,Ein Satz.' where",
        ),
    ],
)
def test_labels_and_ids_of_other_heads(
    tmp_path: Path, task: str, file: str, content: str, said: str
) -> None:
    put(tmp_path, file, content)
    language = "et" if task == "xcopa" else "de"
    with pytest.raises(UserError) as caught:
        load_examples(get_target(task).at(language), "test", str(tmp_path))
    assert ", line 1: " in str(caught.value)
    assert said in str(caught.value)
