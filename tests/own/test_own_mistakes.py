"""Mistakes of users in data and task files, each refused with its place and a remedy."""

from __future__ import annotations

import gzip
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from adapter_stilts.errors import UserError
from adapter_stilts.own.build import load_task_file
from own_kit import CONLL, JSON, PAIR, ROWS, Case, assert_refused, examples, task_file

T = "columns: {text: t}"
BAD: dict[str, Case] = {
    "number twice": (
        "a.csv",
        "text,label\na,1\nb,1.0\nc,0\n",
        (),
        PAIR,
        ("line 3", "'1.0'", "'1'"),
    ),
    "case twice": ("a.csv", ROWS + "c,Yes\n", (), PAIR, ("line 4", "'Yes'", "'yes'", "line 2")),
    "true twice": (
        "a.jsonl",
        JSON + '{"t": "c", "label": "Yes"}\n',
        (T,),
        PAIR,
        ("line 3", "'Yes'"),
    ),
    "accent twice": (
        "a.csv",
        "text,label\na,caf\u00e9\nb,cafe\u0301\n",
        (),
        PAIR,
        ("line 3", "line 2"),
    ),
    "tag twice": (
        "a.conll",
        "a B-PER\nb O\nc B-per\nd O\n",
        (),
        "tagging",
        ("line 3", "'B-per'", "line 1"),
    ),
    "key twice in JSON": (
        "a.jsonl",
        JSON + '{"t": "c", "t": "d", "label": "no"}\n',
        (T,),
        PAIR,
        ("a.jsonl, line 3", "'t'"),
    ),
    "key twice inside": (
        "a.jsonl",
        JSON + '{"t": "c", "x": [{"y": 1, "y": 2}]}\n',
        (T,),
        PAIR,
        ("a.jsonl, line 3", "'y'"),
    ),
    "gzip": ("a.csv", gzip.compress(ROWS.encode()), (), PAIR, ("a.csv, line 1", "gzip")),
    "gzip by name": ("a.csv.gz", gzip.compress(ROWS.encode()), (), PAIR, ("line 3", "unpack")),
    "workbook": ("a.csv", b"PK\x03\x04\x14\x00", (), PAIR, ("a.csv, line 1", "Excel")),
    "label is a list": (
        "a.jsonl",
        JSON + '{"t": "c", "label": ["no"]}\n',
        (T,),
        PAIR,
        ("line 3", "['no']"),
    ),
    "label is NaN": (
        "a.jsonl",
        JSON + '{"t": "c", "label": NaN}\n',
        (T,),
        PAIR,
        ("line 3", "no label"),
    ),
    "label is null": (
        "a.jsonl",
        JSON + '{"t": "c", "label": null}\n',
        (T,),
        PAIR,
        ("line 3", "no label"),
    ),
    "blank text": ("a.csv", ROWS + "  ,no\n", (), PAIR, ("a.csv, line 4", "empty")),
    "label is a float": ("a.csv", ROWS, ("labels: [1.0, 2]",), PAIR, ("line 4", "1.0", "quotes")),
    "label is nested": ("a.csv", ROWS, ("labels: [[a], b]",), PAIR, ("line 4", "labels")),
    "one label": (
        "a.csv",
        "text,label\na,yes\n",
        ("labels: ['yes']",),
        PAIR,
        ("line 4", "yes", "two"),
    ),
    "label with spaces": ("a.csv", ROWS, ("labels: [' yes', 'no']",), PAIR, ("line 4", "' yes'")),
    "language twice": ("a.csv", ROWS, ("languages: [en, eng]",), PAIR, ("line 4", "'eng'")),
    "header that is a row": (
        "a.csv",
        ROWS.partition("\n")[2] + "c,yes\n",
        ("columns: {text: 1, label: 2}",),
        PAIR,
        ("line 4", "'yes'", "header: false"),
    ),
    "row that is a header": (
        "a.csv",
        ROWS,
        ("columns: {text: 1, label: 2}", "header: false"),
        PAIR,
        ("line 4", "'label'"),
    ),
    "tags with a header": ("a.conll", "word tag\na O\nb X\n", (), "tagging", ("header", "'tag'")),
    "tags for words": (
        "a.conll",
        "O Ann\nO runs\nX to\nO Ulm\n",
        (),
        "tagging",
        ("swapped", "4", "2"),
    ),
    "empty tag": ("a.conll", "a\tX\nb\t\nc\tO\n", (), "tagging", ("a.conll, line 2", "tag")),
    "list as text": (
        "a.csv",
        "words,tags\n\"['a', 'b']\",\"['X', 'O']\"\n",
        (),
        "tagging",
        ("a.csv, line 2", "'tags'"),
    ),
    "numbers of tags as text": (
        "a.csv",
        "words,tags\nAnn runs,[1 0]\n",
        (),
        "tagging",
        ("a.csv, line 2", "'[1 0]'"),
    ),
    "label is an option's text": (
        "a.jsonl",
        '{"prompt": "q", "options": ["so", "no"], "label": "so"}\n',
        ("labels: ['no', so]",),
        "choice",
        ("line 1", "'so'", "'no'"),
    ),
    "word is null": (
        "a.jsonl",
        '{"words": ["a", null], "tags": ["X", "O"]}\n',
        (),
        "tagging",
        ("line 1", "'words'"),
    ),
    "start is a part": (
        "a.jsonl",
        '{"question": "q", "context": "x d", "answer": "d", "start": 2.5}\n',
        ("columns: {start: start}",),
        "span",
        ("line 1", "2.5"),
    ),
    "answer in other letters": (
        "a.csv",
        "question,context,answer\nq,Café D,d\n",
        (),
        "span",
        ("line 2", "'d'", "'D'"),
    ),
    "one option": (
        "a.jsonl",
        '{"prompt": "q", "options": ["a"], "label": 0}\n',
        (),
        "choice",
        ("1 options",),
    ),
    "options are a text": (
        "a.jsonl",
        '{"prompt": "q", "options": "a|b", "label": 0}\n',
        (),
        "choice",
        ("line 1", "'a|b'"),
    ),
    "option is null": (
        "a.jsonl",
        '{"prompt": "q", "options": ["a", null], "label": 0}\n',
        (),
        "choice",
        ("line 1", "None"),
    ),
    "label of no option": (
        "a.jsonl",
        '{"prompt": "q", "options": ["a", "b"], "label": 1}\n',
        ("labels: [A, B, C]",),
        "choice",
        ("line 1", "A, B, C"),
    ),
    "letter of an option": (
        "a.jsonl",
        '{"prompt": "q", "options": ["a", "b"], "label": "B"}\n',
        (),
        "choice",
        ("line 1", "'labels'"),
    ),
    "labels of numbers": (
        "a.csv",
        "text,score\na,1\n",
        ("labels: [a, b]",),
        "regression",
        ("line 4", "'labels'"),
    ),
    "format for another head": ("a.csv", ROWS, ("format: conll",), PAIR, ("line 4", "conll")),
    "delimiter of JSON": ("a.jsonl", JSON, (T, "delimiter: ','"), PAIR, ("line 5", "'delimiter'")),
    "header of CoNLL": ("a.conll", CONLL, ("header: true",), "tagging", ("line 4", "'header'")),
}


@pytest.mark.parametrize("case", BAD)
def test_mistakes_are_named_with_their_place(tmp_path: Path, case: str) -> None:
    assert_refused(tmp_path, BAD[case])


@pytest.mark.parametrize(
    ("named", "words"),
    [
        ("no.csv", "no.csv"),
        (".", "folder"),
        ("sub.csv", "sub.csv/*.csv"),
        ("'tr**.csv'", "tr**"),
        ("~nobody-here/a.csv", "~nobody-here"),
        ("[a.csv, no.csv]", "names no.csv"),
        ("[a.csv, a.csv]", "twice"),
    ],
)
def test_files_that_are_none(tmp_path: Path, named: str, words: str) -> None:
    path = task_file(tmp_path, "a.csv", ROWS, "format: csv")
    (tmp_path / "sub.csv").mkdir()
    text = path.read_text("utf-8").replace("train: a.csv", f"train: {named}")
    path.write_text(text, "utf-8")
    with pytest.raises(UserError, match=r"mine\.yaml, line 3") as caught:
        load_task_file(path)
    assert words in str(caught.value)


def test_columns_of_tagged_words_are_named_without_the_lines(tmp_path: Path) -> None:
    path = task_file(tmp_path, "a.conll", CONLL, "columns: {tags: 4}", head="tagging")
    (tmp_path / "dev.conll").write_text("Anna B-PER\nruns O\n", "utf-8")
    path.write_text(path.read_text("utf-8").replace("dev: a", "dev: dev"), "utf-8")
    with pytest.raises(UserError, match=r"dev\.conll, line 1: .*'4'.*\(the columns are 1, 2\)"):
        examples(path.rename(tmp_path / "other.yaml"), "dev")


def test_labels_that_look_alike_can_be_listed(tmp_path: Path) -> None:
    path = task_file(tmp_path, "a.csv", "text,label\na,x\nb,X\n", "labels: [x, X]")
    assert [row["label"] for row in examples(path)] == [0, 1]
    floats = pa.table({"text": ["a", "b", "c"], "label": [0.0, 1.0, 1.0]})
    parquet.write_table(floats, tmp_path / "b.parquet")
    path = task_file(tmp_path, "a.parquet", (tmp_path / "b.parquet").read_bytes())
    assert load_task_file(path).task.labels == ("0", "1")
    path = task_file(
        tmp_path,
        "a.jsonl",
        '{"text": "a", "label": 1}\n{"text": "b", "label": 1.0}\n{"text": "c", "label": 0}\n',
    )
    assert [row["label"] for row in examples(path)] == [1, 1, 0]


def test_a_column_that_is_called_lines_counts(tmp_path: Path) -> None:
    data = "lines,text,label\n1,a,yes\n2,b,no\n"
    path = task_file(tmp_path, "a.csv", data, "columns: {text: 2, label: -1}")
    assert [row["text_a"] for row in examples(path)] == ["a", "b"]


def test_long_cells_and_many_labels_are_read(tmp_path: Path) -> None:
    rows = "".join(f"t{number},l{number}\n" for number in range(1000))
    path = task_file(tmp_path, "a.csv", f"text,label\n{rows}{'long ' * 40_000},l0\n")
    assert len(examples(path)) == 1001
    (tmp_path / "b.csv").write_text("text,label\na,other\n", "utf-8")
    path.write_text(path.read_text("utf-8").replace("dev: a.csv", "dev: b.csv"), "utf-8")
    with pytest.raises(UserError, match="'other'") as caught:
        examples(path, "dev")
    assert "1,000" in str(caught.value) and len(str(caught.value)) < 400
