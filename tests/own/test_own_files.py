"""What a task file may say, how its data is read, and what is said of mistakes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from adapter_stilts.data.load import load_examples
from adapter_stilts.errors import UserError
from adapter_stilts.evaluation.data import other_languages
from adapter_stilts.own.build import load_task_file
from adapter_stilts.tasks.registry import get_target
from own_kit import CONLL, JSON, PAIR, ROWS, Case, assert_refused, examples, task_file


@pytest.mark.parametrize(
    ("name", "data", "lines"),
    [
        ("a.csv", ROWS, ()),
        ("a.csv", "\ufeff" + ROWS, ()),
        ("a.csv", ROWS.replace("\n", "\r\n"), ()),
        ("a.csv", ROWS.partition("\n")[2], ("header: false", "columns: {text: 1, label: -1}")),
        ("a.csv", "text;label\nfine;yes\nbad, really;no\n", ('delimiter: ";"',)),
        ("a.csv", "text,label\nfine,yes\n'bad, really',no\n", ('quote: "\'"',)),
        ("a.tsv", "text\tlabel\nfine\tyes\nbad, really\tno\n", ()),
        ("a.jsonl", JSON, ("columns: {text: t}",)),
    ],
)  # fmt: skip
def test_tables_are_read(tmp_path: Path, name: str, data: str, lines: tuple[str, ...]) -> None:
    path = task_file(tmp_path, name, data, *lines)
    own = load_task_file(path)
    assert own.task.labels == ("no", "yes")
    found = [(row["text_a"], row["label"]) for row in examples(path)]
    assert found == [("fine", 1), ("bad, really", 0)]


def test_parquet_is_read(tmp_path: Path) -> None:
    table = pa.table({"text": ["a", "b", "c"], "label": [10, 9, 10]})
    parquet.write_table(table, tmp_path / "b.parquet")
    data = (tmp_path / "b.parquet").read_bytes()
    path = task_file(tmp_path, "a.parquet", data)
    assert load_task_file(path).task.labels == ("9", "10")  # by number, not by letter
    assert [row["label"] for row in examples(path)] == [1, 0, 1]


@pytest.mark.parametrize("between", [" ", "\t", "  "])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_conll_is_read(tmp_path: Path, between: str, end: str) -> None:
    data = CONLL.replace(" ", between).replace("\n", end)
    path = task_file(tmp_path, "a.conll", data, head="tagging")
    assert [(row["words"], row["tags"]) for row in examples(path)] == [
        (["Anna", "runs"], ["S-PER", "O"]),
        (["in", "Ulm"], ["O", "S-LOC"]),
    ]
    path = task_file(tmp_path, "a.conll", data, "columns: {tags: 2}", head="tagging")
    assert examples(path)[0]["tags"] == ["NNP", "VBZ"]


def test_a_number_sign_is_a_word_and_a_comment_is_none(tmp_path: Path) -> None:
    data = "# sent_id = 3\n# SYM O\n1 CD O\n\n# SYM O\n"
    path = task_file(tmp_path, "a.conll", data, head="tagging")
    assert [row["words"] for row in examples(path)] == [["#", "1"], ["#"]]


def test_choices_and_answers_are_read(tmp_path: Path) -> None:
    data = "q,a,b,right\nWhy?,so,no,B\nHow?,thus,else,A\n"
    columns = "columns: {prompt: q, options: [a, b], label: right}"
    path = task_file(tmp_path, "a.csv", data, columns, "labels: [A, B]", head="choice")
    assert [(row["options"], row["label"]) for row in examples(path)] == [
        (["so", "no"], 1),
        (["thus", "else"], 0),
    ]
    data = "question,context,answer\nWho?,Anna runs.,Anna\nWho?,Anna runs.,Anna\n"
    path = task_file(tmp_path, "a.csv", data, head="span")
    assert [row["answer_starts"] for row in examples(path)] == [[0], [0]]


def test_test_data_may_lack_what_is_predicted(tmp_path: Path) -> None:
    path = task_file(tmp_path, "a.csv", ROWS)
    (tmp_path / "t.csv").write_text("text\nwho knows\n", "utf-8")
    path.write_text(path.read_text("utf-8").replace("test: a.csv", "test: t.csv"), "utf-8")
    target = get_target(str(path))
    assert load_examples(target.at("en"), "test").examples["label"] == [-1]


def test_identity_is_the_content(tmp_path: Path) -> None:
    path = task_file(tmp_path, "a.csv", ROWS)
    first = load_task_file(path).task.identity
    path.write_text(path.read_text("utf-8") + "# a remark\ntitle: Mine\n", "utf-8")
    assert load_task_file(path).task.identity == first
    path.write_text(path.read_text("utf-8") + "metric: f1\n", "utf-8")
    assert load_task_file(path).task.identity != first


BAD: dict[str, Case] = {
    "unknown key": ("a.csv", ROWS, ("labls: [yes]",), PAIR, ("mine.yaml, line 4", "labels")),
    "unknown part": ("a.csv", ROWS, ("columns: {txt: text}",), PAIR, ("line 4", "'text'")),
    "no column": ("a.csv", ROWS, ("columns: {text: txt}",), PAIR, ("line 4", "a.csv", "'text'")),
    "no such number": ("a.csv", ROWS, ("columns: {text: 7}",), PAIR, ("line 4", "7")),
    "unused label": ("a.csv", ROWS, ('labels: ["yes", "no", "may"]',), PAIR, ("line 4", "may")),
    "other label": ("a.csv", ROWS, ('labels: ["yes", "may"]',), PAIR, ("a.csv, line 3", "'no'")),
    "label twice": ("a.csv", ROWS, ("labels: [a, a]",), PAIR, ("line 4", "'a'")),
    "label true": ("a.csv", ROWS, ("labels: [true, no]",), PAIR, ("line 4", "quotes")),
    "delimiter": ("a.csv", ROWS.replace(",", ";"), (), PAIR, ("a.csv, line 1", "delimiter")),
    "open quote": ("a.csv", 'text,label\n"a,yes\nb,no\n', (), PAIR, ("a.csv, line 2", "quote")),
    "long row": ("a.csv", ROWS + "a,b,c\n", (), PAIR, ("a.csv, line 4", "3 cells")),
    "header twice": ("a.csv", "text,text\na,b\n", (), PAIR, ("a.csv, line 1", "'text'")),
    "utf-16": ("a.csv", ROWS.encode("utf-16"), (), PAIR, ("line 1", "UTF-8")),
    "utf-16-le": ("a.csv", ROWS.encode("utf-16-le"), (), PAIR, ("line 1", "UTF-8")),
    "empty": ("a.csv", "", (), PAIR, ("a.csv", "empty")),
    "header alone": ("a.csv", "text,label\n", (), PAIR, ("a.csv", "no rows")),
    "uneven": ("a.conll", "a X O\nb O\n", (), "tagging", ("a.conll, line 2", "2 columns")),
    "no tags": ("a.conll", "a\nb\n", (), "tagging", ("a.conll, line 1", "tags")),
    "no parquet": ("a.parquet", "text,label", (), PAIR, ("a.parquet", "Parquet")),
    "head": ("a.csv", ROWS, (), "clasification", ("line 2", "'classification'")),
    "metric": ("a.csv", ROWS, ("metric: seqeval_f1",), PAIR, ("line 4", "accuracy")),
    "f1 of three": ("a.csv", ROWS + "c,so\n", ("metric: f1",), PAIR, ("line 4", "accuracy")),
    "key twice": ("a.csv", ROWS, ("title: a", "title: b"), "classification", ("line 5", "'title'")),
    "ending": ("a.xlsx", ROWS, (), PAIR, ("line 3", "format")),
    "labels of none": ("a.csv", ROWS, ("labels: []",), PAIR, ("line 4", "'labels'")),
    "label unprintable": ("a.csv", ROWS, ('labels: ["a\\e", b]',), PAIR, ("line 4", "printed")),
    "label with NUL": ("a.csv", ROWS + "c,y\x1bs\n", (), PAIR, ("a.csv, line 4", "U+001B")),
    "no label": ("a.csv", ROWS + "c,\n", (), PAIR, ("a.csv, line 4", "no label")),
    "tag unprintable": ("a.conll", "a X\x07\n", (), "tagging", ("a.conll, line 1", "U+0007")),
    "title": ("a.csv", ROWS, ('title: "\\e[31mred"',), PAIR, ("line 4", "'title'")),
    "citation": ("a.csv", ROWS, ('citation: "a\\u202eb"',), PAIR, ("line 4", "'citation'")),
    "same column": ("a.csv", ROWS, ("columns: {text: label}",), PAIR, ("line 4", "'label'")),
    "other choices": ("a.csv", ROWS, ("choices: 4",), PAIR, ("line 4", "'choices'")),
    "no answers": ("a.csv", ROWS, ("unanswerable: true",), PAIR, ("line 4", "'unanswerable'")),
    "answer": ("a.csv", "question,context,answer\nq,c,d\n", (), "span", ("a.csv, line 2", "'d'")),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_mistakes_are_named_with_their_place(tmp_path: Path, case: str) -> None:
    assert_refused(tmp_path, BAD[case])


@pytest.mark.parametrize("name", ["squad", "Squad-V2", "xnli", "multinli", "lang-sw", "../x"])
def test_taken_and_odd_names_are_refused(tmp_path: Path, name: str) -> None:
    path = task_file(tmp_path, "a.csv", ROWS)
    path.write_text(path.read_text("utf-8").replace("name: mine", f"name: {name}"), "utf-8")
    with pytest.raises(UserError, match=r"mine\.yaml, line 1"):
        load_task_file(path)


@pytest.mark.parametrize(
    "content", ["", "- a\n", "name: [\n", "just text\n", "!!python/object:os.x {}\n"]
)
def test_what_is_no_task_file_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(content, "utf-8")
    with pytest.raises(UserError, match=r"mine\.yaml"):
        load_task_file(path)


def test_languages_of_files_that_are_named_by_whole_paths(tmp_path: Path) -> None:
    """The files of a task file may lie anywhere: their languages are found there, too."""
    data = tmp_path / "data"
    data.mkdir()
    for name in ("train", "dev", "test-en", "test-de", "test-ha"):
        (data / f"{name}.csv").write_text("text,label\nx,no\ny,yes\n", "utf-8")
    path = tmp_path / "elsewhere" / "mine.yaml"
    path.parent.mkdir()
    path.write_text(
        "name: mine\nhead: classification\nlabels: ['no', 'yes']\nlanguages: [en, de]\n"
        f"files:\n  train: {data}/train.csv\n  dev: {data}/dev.csv\n"
        f"  test: {data}/test-{{lang}}.csv\n",
        "utf-8",
    )
    assert other_languages(load_task_file(path).target, "test", None) == ["ha"]


def test_a_placeholder_that_stands_for_nothing_is_refused(tmp_path: Path) -> None:
    path = task_file(tmp_path, "a.csv", ROWS)
    path.write_text(path.read_text("utf-8").replace("test: a.csv", "test: 'a-{language}.csv'"))
    with pytest.raises(UserError, match=r"mine\.yaml, line 3: '{language}' .* {lang}"):
        load_task_file(path)
    path.write_text(path.read_text("utf-8").replace("name: mine", f"name: {'a' * 101}"))
    with pytest.raises(UserError, match=r"mine\.yaml, line 1: .* 100 characters"):
        load_task_file(path)


@pytest.mark.parametrize(
    "change", [{"title": "a\nb"}, {"licence": "\x1b[2J"}, {"labels": ("y", 1)}, {"name": "a\x00"}]
)
def test_a_spec_that_no_record_can_hold_is_refused_before_any_training(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    spec = load_task_file(task_file(tmp_path, "a.csv", ROWS)).task
    with pytest.raises(UserError, match="printed"):
        replace(spec, **change)
