"""SQuAD's JSON, read by question; and LAReQA's, read by sentence.

Both are one JSON object for the whole file, so a file is read at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from adapter_stilts.errors import Place, bad, shown
from adapter_stilts.heads.span import check_offset
from adapter_stilts.schema import load_json, member
from adapter_stilts.tasks.spec import Row

Lines = Iterable[tuple[int, str]]


def _member(path: Path, place: Place, value: Any, name: str, kind: type) -> Any:
    return member(path, place, value, name, kind, "SQuAD's JSON")


def _paragraphs(path: Path, lines: Lines) -> Iterator[tuple[str, Any, Any, str, list[Any]]]:
    """Place, title, paragraph, context and questions of every paragraph."""
    written = "".join(line for _, line in lines)
    articles = _member(path, "", load_json(path, "", written, "SQuAD's JSON"), "data", list)
    for i, article in enumerate(articles, start=1):
        paragraphs = _member(path, f"article {i}", article, "paragraphs", list)
        for j, paragraph in enumerate(paragraphs, start=1):
            place = f"article {i}, paragraph {j}"
            context = _member(path, place, paragraph, "context", str)
            questions = _member(path, place, paragraph, "qas", list)
            yield place, article.get("title", ""), paragraph, context, questions


def _question(path: Path, place: str, given: Any, title: Any, context: str) -> tuple[str, Row]:
    name = _member(path, place, given, "id", str)
    place = f"question '{name}'"
    answers = _member(path, place, given, "answers", list)
    for answer in answers:
        _member(path, place, answer, "text", str)
        if type(answer.get("answer_start")) is not int:
            raise bad(path, place, "expected a whole number 'answer_start' with every answer")
    impossible = given.get("is_impossible", False)
    if impossible and answers:
        raise bad(path, place, "'is_impossible' is true, but there are answers")
    row = {
        "id": name,
        "title": title,
        "context": context,
        "question": _member(path, place, given, "question", str),
        "answers": {
            "text": [answer["text"] for answer in answers],
            "answer_start": [answer["answer_start"] for answer in answers],
        },
        "is_impossible": impossible,
    }
    return place, row


def squad_rows(path: Path, lines: Lines) -> Iterator[tuple[Place, Row]]:
    """The questions of SQuAD 1.1 and 2.0, and of all that is written as they are."""
    for place, title, _, context, questions in _paragraphs(path, lines):
        for given in questions:
            yield _question(path, place, given, title, context)


def sentence_rows(path: Path, lines: Lines) -> Iterator[tuple[Place, Row]]:
    """The sentences of XQuAD-R: SQuAD's JSON with `sentence_breaks` in every paragraph.

    A sentence answers the questions whose (first) answer begins in it, and those that an equal
    sentence of its paragraph answers, as in LAReQA's own code. Paragraphs without questions have
    no candidates there either. `file` is the file's name without its ending: the language.
    """
    for number, found in enumerate(_paragraphs(path, lines), start=1):
        place, title, paragraph, context, questions = found
        breaks = _breaks(path, place, paragraph, len(context))
        sentences = [context[start:end] for start, end in breaks]
        answered: dict[str, list[str]] = {sentence: [] for sentence in sentences}
        for given in questions:
            where, question = _question(path, place, given, title, context)
            starts = question["answers"]["answer_start"]
            if not starts:
                raise bad(path, where, "no answer, so no sentence that holds it")
            try:
                check_offset(context, question["answers"]["text"][0], starts[0])
            except ValueError as error:
                raise bad(path, where, str(error)) from error
            holding = (s for s, (a, b) in zip(sentences, breaks, strict=True) if a <= starts[0] < b)
            if (sentence := next(holding, None)) is not None:
                answered[sentence].append(question["id"])
        for i, sentence in enumerate(sentences if questions else ()):
            yield (
                f"{place}, sentence {i + 1}",
                {
                    "file": path.stem,
                    "paragraph": number,
                    "number": i,
                    "sentence": sentence,
                    "context": context,
                    "questions": answered[sentence],
                },
            )


def _breaks(path: Path, place: str, paragraph: Any, length: int) -> list[tuple[int, int]]:
    breaks = _member(path, place, paragraph, "sentence_breaks", list)
    before = 0
    for pair in breaks:
        whole = isinstance(pair, list) and [type(offset) for offset in pair] == [int, int]
        if not (whole and before <= pair[0] < pair[1] <= length):
            what = f"sentence break {shown(pair)} where [start, end] after {before} was expected"
            raise bad(path, place, f"{what}, up to {length}")
        before = pair[1]
    return [(start, end) for start, end in breaks]
