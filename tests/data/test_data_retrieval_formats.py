"""Sentences by line, XQuAD-R's sentences and Mewsli-X's mentions."""

from __future__ import annotations

import json
from typing import Any

import pytest

from adapter_stilts.data.formats import read_rows
from formats_kit import Writer, complaint

CONTEXT = "Ada wrote it. Bob read it. Ada wrote it."
BREAKS = [[0, 13], [14, 26], [27, 40]]


def question(name: str, start: int, text: str) -> dict[str, Any]:
    return {"id": name, "question": "Who?", "answers": [{"text": text, "answer_start": start}]}


def xquad_r(*paragraphs: dict[str, Any]) -> str:
    return json.dumps({"data": [{"title": "T", "paragraphs": list(paragraphs)}]})


def paragraph(*questions: dict[str, Any], breaks: Any = BREAKS) -> dict[str, Any]:
    return {"context": CONTEXT, "qas": list(questions), "sentence_breaks": breaks}


# ---- lines


def test_lines(write: Writer) -> None:
    path = write("a", "Hello.\r\n  Good bye.\u2028\n")
    assert list(read_rows(path, "lines")) == [
        (1, {"text": "Hello.", "line": 1}),
        (2, {"text": "Good bye.", "line": 2}),
    ]


def test_an_empty_line_would_shift_the_others(write: Writer) -> None:
    said = complaint(write("a", "Hello.\n \nBye.\n"), "lines")
    assert said == ", line 2: an empty line where a sentence was expected"


# ---- XQuAD-R


def test_xquad_r_sentences_list_the_questions_they_answer(write: Writer) -> None:
    first = paragraph(question("a", 0, "Ada"), question("b", 14, "Bob"))
    last = paragraph(question("c", 18, "read"))
    path = write("de.json", xquad_r(first, paragraph(), last))
    rows = [row for _, row in read_rows(path, "xquad-r")]
    # Equal sentences of a paragraph answer the same questions; paragraph 2 has no questions.
    assert [(row["paragraph"], row["number"], row["questions"]) for row in rows] == [
        (1, 0, ["a"]),
        (1, 1, ["b"]),
        (1, 2, ["a"]),
        (3, 0, []),
        (3, 1, ["c"]),
        (3, 2, []),
    ]
    assert {row["file"] for row in rows} == {"de"}
    assert rows[1]["sentence"] == "Bob read it." and rows[1]["context"] == CONTEXT


def test_xquad_r_answer_between_sentences_is_answered_by_none(write: Writer) -> None:
    path = write("de.json", xquad_r(paragraph(question("a", 13, " Bob"))))
    assert [row["questions"] for _, row in read_rows(path, "xquad-r")] == [[], [], []]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            {"context": CONTEXT, "qas": []},
            ", article 1, paragraph 1: expected an object with a list 'sentence_breaks' (SQuAD's "
            "JSON)",
        ),
        (
            paragraph(breaks=[[0, 13], [12, 26]]),
            ", article 1, paragraph 1: sentence break [12, 26] where [start, end] after 13 was "
            "expected, up to 40",
        ),
        (
            paragraph(breaks=[[0, 41]]),
            ", article 1, paragraph 1: sentence break [0, 41] where [start, end] after 0 was "
            "expected, up to 40",
        ),
        (
            paragraph(breaks=[[0, True]]),
            ", article 1, paragraph 1: sentence break [0, True] where [start, end] after 0 was "
            "expected, up to 40",
        ),
        (
            paragraph({**question("a", 0, ""), "answers": []}),
            ", question 'a': no answer, so no sentence that holds it",
        ),
    ],
)
def test_broken_xquad_r(write: Writer, given: dict[str, Any], said: str) -> None:
    assert complaint(write("de.json", xquad_r(given)), "xquad-r") == said


# ---- mentions


def test_every_mention_of_an_article_is_a_row(write: Writer) -> None:
    context = {"language": "de", "text": "Ada und Bob.", "sentence_spans": []}
    spans = [{"mention_span": {"start": 0, "end": 3, "text": "Ada"}}, {"mention_span": {}}]
    path = write("a.jsonl", json.dumps({"context": context, "mentions": spans}) + "\n\n")
    assert list(read_rows(path, "mentions")) == [
        (1, {"context": context, "mention": spans[0]}),
        (1, {"context": context, "mention": spans[1]}),
    ]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("[]", "expected an object with an object 'context' (Mewsli-X's JSON)"),
        ('{"context": {}}', "expected an object with a list 'mentions' (Mewsli-X's JSON)"),
        (
            '{"context": {}, "mentions": [{}]}',
            "expected an object with an object 'mention_span' (Mewsli-X's JSON)",
        ),
        (
            "{",
            "broken JSON (Expecting property name enclosed in double quotes at column 2); "
            "expected one article of Mewsli-X a line",
        ),
    ],
)
def test_broken_mentions(write: Writer, line: str, said: str) -> None:
    path = write("a.jsonl", '{"context": {}, "mentions": []}\n' + line + "\n")
    assert complaint(path, "mentions") == f", line 2: {said}"
