"""SQuAD's JSON, read by question; and LAReQA's, read by sentence.

Both are one JSON object for the whole file, so a file is read at once.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping
from itertools import permutations
from pathlib import Path
from typing import Any

from adapter_stilts.errors import Place, bad, shown
from adapter_stilts.heads.span import check_offset
from adapter_stilts.safety import Shape, check_shape, load_json, member
from adapter_stilts.tasks.spec import Row
from adapter_stilts.yaml_files import parse_yaml

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
    A question without an answer is refused.
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


ITEMS = 16
"""Of every check. Two of a list can be ordered in more ways."""
Forms = str | list[str]


class Check(Shape):
    """A context, a question and right answers, in which `{name1}` is one of the list `name`.

    No list is longer or shorter in one language than in others: item n is then the same in all.
    """

    context: str
    question: str
    answers: list[str]


class Checks(Shape):
    """The lists and checks of a language. Of several forms the first stands in the context; all
    are right answers."""

    lists: dict[str, list[Forms]]
    checks: dict[str, Check]


def check_rows(path: Path, lines: Iterable[tuple[int, str]]) -> Iterator[tuple[Place, Row]]:
    """The questions of a file, as SQuAD has them; their ids begin with the check's name.

    A template that cannot be filled, or whose answer is not in its context, is refused.
    """
    content, _ = parse_yaml("".join(line for _, line in lines), "lists:", path)
    read = check_shape(Checks, content, str(path))
    for name, check in read.checks.items():
        used = [each for each in read.lists if f"{{{each}1}}" in check.context]
        for number in range(ITEMS):
            slots = {each: _pair(name, each, number, read.lists[each]) for each in used}
            place = f"check '{name}'"
            try:
                row = _row(check, slots)
            except (KeyError, ValueError, IndexError) as error:
                raise bad(path, place, f"no list for what stands in braces: {error}") from error
            if not row["answers"]["text"]:
                raise bad(path, place, "no answer stands in the context")
            yield place, {"id": f"{name}-{number:02}", **row}


def _pair(check: str, name: str, number: int, forms: list[Forms]) -> tuple[list[str], list[str]]:
    """Two of a list, the same two in every language: item `number` of an order drawn once."""
    pairs = list(permutations(range(len(forms)), 2))
    random.Random(f"{check} {name}").shuffle(pairs)
    first, second = pairs[number % len(pairs)]
    return _forms(forms[first]), _forms(forms[second])


def _forms(value: Forms) -> list[str]:
    return [value] if isinstance(value, str) else value


def _row(check: Check, slots: Mapping[str, tuple[list[str], list[str]]]) -> Row:
    named = {
        f"{name}{k + 1}": forms for name, pair in slots.items() for k, forms in enumerate(pair)
    }
    first = {name: forms[0] for name, forms in named.items()}
    context = check.context.format(**first)
    most = max(map(len, named.values()), default=1)
    written = (
        answer.format(**{name: forms[min(k, len(forms) - 1)] for name, forms in named.items()})
        for answer in check.answers
        for k in range(most)
    )
    answers = [each for each in dict.fromkeys(written) if each in context]
    return {
        "title": "",
        "context": context,
        "question": check.question.format(**first),
        "answers": {"text": answers, "answer_start": [context.index(each) for each in answers]},
    }
