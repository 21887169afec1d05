"""The readers: what they read, and the one line they say of what they cannot read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from adapter_stilts.data.formats import read_rows
from adapter_stilts.tasks.spec import FileFormat
from formats_kit import Writer, complaint


def squad(**changed: Any) -> str:
    question = {
        "id": "q1",
        "question": "Who?",
        "answers": [{"text": "Ada", "answer_start": 0}],
        **changed,
    }
    paragraph = {"context": "Ada wrote it.", "qas": [question]}
    return json.dumps({"version": "1.1", "data": [{"title": "T", "paragraphs": [paragraph]}]})


def test_jsonl(write: Writer) -> None:
    path = write("a.jsonl", '{"a": 1}\r\n\n{"a": "line\u2028separator"}')
    assert list(read_rows(path, "jsonl")) == [(1, {"a": 1}), (3, {"a": "line\u2028separator"})]


def test_csv_with_quoted_line_ends_counts_file_lines(write: Writer) -> None:
    path = write("a.csv", 'a,b\r\n"one\ntwo","say ""hi"""\r\n3,4\r\n')
    expected = [(2, {"a": "one\ntwo", "b": 'say "hi"'}), (4, {"a": "3", "b": "4"})]
    assert list(read_rows(path, "csv")) == expected


def test_tsv_takes_quotes_as_they_are_and_fills_short_rows(write: Writer) -> None:
    path = write("a.tsv", 'a\tb\tc\n"open\tx y\t\nshort\n')
    rows = [row for _, row in read_rows(path, "tsv")]
    assert rows == [
        {"a": '"open', "b": "x y", "c": ""},
        {"a": "short", "b": None, "c": None},
    ]


def test_squad(write: Writer) -> None:
    ((place, row),) = read_rows(write("a.json", squad()), "squad")
    assert place == "question 'q1'"
    assert row == {
        "id": "q1",
        "title": "T",
        "context": "Ada wrote it.",
        "question": "Who?",
        "answers": {"text": ["Ada"], "answer_start": [0]},
        "is_impossible": False,
    }


@pytest.mark.parametrize(
    ("form", "content"),
    [
        ("jsonl", '{"a": 1}\n'),
        ("csv", "a\n1\n"),
        ("tsv", "a\n1\n"),
        ("squad", squad()),
        ("auto", "ID=x\n(<L N NN NN dog N>)\n"),
        ("pipe", "dog|NN|N\n"),
    ],
)
def test_byte_order_mark_is_accepted(write: Writer, form: FileFormat, content: str) -> None:
    plain = list(read_rows(write("plain", content), form))
    marked = list(read_rows(write("marked", b"\xef\xbb\xbf" + content.encode()), form))
    assert plain == marked and len(plain) == 1


FORMATS: list[FileFormat] = ["jsonl", "csv", "tsv", "squad", "auto", "pipe"]


@pytest.mark.parametrize("form", FORMATS)
def test_empty_file(write: Writer, form: FileFormat) -> None:
    assert complaint(write("a", ""), form) == ": the file is empty"


@pytest.mark.parametrize("form", FORMATS)
def test_wrong_encoding(write: Writer, form: FileFormat) -> None:
    path = write("a", "first\nsecond caf\xe9\n".encode("latin-1"))
    if form == "jsonl":
        path = write("a", b'{"a": 1}\nsecond caf\xe9\n')
    assert complaint(path, form) in (
        ", line 2: not UTF-8: byte 0xe9 at byte 11 of the line; save the file as UTF-8",
        # The derivation reader stops at the first line already.
        ", line 1: 'first' where 'ID=…' or '(<T …' was expected",
        ", line 1: word 1 is 'first' where 'word|POS|category' was expected",
    )


def test_utf_16(write: Writer) -> None:
    said = complaint(write("a", '{"a": 1}\n'.encode("utf-16")), "jsonl")
    assert said.startswith(", line 1: UTF-16: save the file as UTF-8")


def test_missing_file(tmp_path: Path) -> None:
    assert complaint(tmp_path / "x", "jsonl") == ": cannot be read (No such file or directory)"


def test_folder_in_place_of_a_file(tmp_path: Path) -> None:
    assert complaint(tmp_path, "csv") == ": cannot be read (Is a directory)"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (
            '{"a": 1',
            "broken JSON (Expecting ',' delimiter at column 8); expected one JSON object a line",
        ),
        (
            "{'a': 1}",
            "broken JSON (Expecting property name enclosed in double quotes at column 2); "
            "expected one JSON object a line",
        ),
        ("[1, 2]", "[1, 2] where a JSON object was expected"),
        ('{"a": "\\ud800"}', "half of a surrogate pair (\\ud…) in a string"),
        ("[" * 100_000, "nested too deeply; expected one JSON object a line"),
    ],
)
def test_broken_jsonl(write: Writer, line: str, said: str) -> None:
    path = write("a.jsonl", f'{{"a": 1}}\n\n{line}\n')
    assert complaint(path, "jsonl") == f", line 3: {said}"


def test_whole_surrogate_pairs_are_read(write: Writer) -> None:
    path = write("a.jsonl", '{"a": "\\ud83d\\ude00"}\n')
    assert list(read_rows(path, "jsonl")) == [(1, {"a": "😀"})]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("a,a\n1,2\n", ", line 1: the header names the column 'a' twice: rename one of them"),
        (
            "a,,b\n1,2,3\n",
            ", line 1: expected a header of distinct column names, not ['a', '', 'b']",
        ),
        (
            "a,b\r1,2\r",
            ", line 1: a line ends in a carriage return alone: save the file with usual line "
            "ends (LF)",
        ),
        (
            "a,b\n1,2\r3,4\n",
            ", line 2: a line ends in a carriage return alone: save the file with usual line "
            "ends (LF)",
        ),
        (
            'a,b\n1,2\n"open,2\n3,4\n',
            ", line 3: broken CSV in the row that starts here (unexpected end of data); is a "
            "quote left open?",
        ),
        (
            'a,b\n"x"y,2\n',
            ", line 2: broken CSV in the row that starts here (',' expected after '\"'); is a "
            "quote left open?",
        ),
    ],
)
def test_broken_csv(write: Writer, content: str, said: str) -> None:
    assert complaint(write("a.csv", content), "csv") == said


@pytest.mark.parametrize(
    ("content", "place", "remedy"),
    [
        ("a,b\n1,2\n1,2,3\n", "line 3", "between quotes"),
        ("a,b\n1\n", "line 2", "1 cell where the header has 2 columns (a, b): write one cell"),
        ("a,b\n'x, y',2\n", "line 2", 'quote: "\'"'),
    ],
)
def test_another_number_of_cells(write: Writer, content: str, place: str, remedy: str) -> None:
    said = complaint(write("a.csv", content), "csv")
    assert f", {place}: " in said and remedy in said


def test_broken_tsv(write: Writer) -> None:
    said = complaint(write("a.tsv", "a\tb\n1\t2\t3\n"), "tsv")
    assert said.startswith(", line 2: 3 cells where the header has 2 columns (a, b): ")
    quoted = complaint(write("b.tsv", 'a\tb\n"1\t2"\t3\n'), "tsv")
    assert "quote: '\"'" in quoted


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"data": [', ": broken JSON (Expecting value at column 11); expected SQuAD's JSON"),
        ("{}", ": expected an object with a list 'data' (SQuAD's JSON)"),
        ("[]", ": expected an object with a list 'data' (SQuAD's JSON)"),
        (
            '{"data": [{"title": "T"}]}',
            ", article 1: expected an object with a list 'paragraphs' (SQuAD's JSON)",
        ),
        (
            '{"data": [{"paragraphs": [{"qas": []}]}]}',
            ", article 1, paragraph 1: expected an object with a text 'context' (SQuAD's JSON)",
        ),
        (
            squad(id=7),
            ", article 1, paragraph 1: expected an object with a text 'id' (SQuAD's JSON)",
        ),
        (
            squad(question=None),
            ", question 'q1': expected an object with a text 'question' (SQuAD's JSON)",
        ),
        (
            squad(answers=[{"text": "Ada", "answer_start": "0"}]),
            ", question 'q1': expected a whole number 'answer_start' with every answer",
        ),
        (
            squad(answers=["Ada"]),
            ", question 'q1': expected an object with a text 'text' (SQuAD's JSON)",
        ),
        (
            squad(is_impossible=True),
            ", question 'q1': 'is_impossible' is true, but there are answers",
        ),
    ],
)
def test_broken_squad(write: Writer, content: str, said: str) -> None:
    assert complaint(write("a.json", content), "squad") == said
