"""Templated checks of question answering: a file of lists and sentences, read as questions.

What a check asks (to compare, to hear a negation, to find a place) is asked of many sentences that
are alike but for names and numbers, as CheckList does it (Ribeiro et al. 2020, arXiv:2005.04118)
and XTREME-R's MultiCheckList in 50 languages (Ruder et al. 2021, arXiv:2104.07412).
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping
from itertools import permutations
from pathlib import Path

import yaml

from adapter_stilts.errors import Place, bad
from adapter_stilts.schema import Shape, check_shape
from adapter_stilts.tasks.spec import Row
from adapter_stilts.yaml_files import bad_yaml

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
    """The questions of a file, as SQuAD has them; their ids begin with the check's name."""
    try:
        content = yaml.safe_load("".join(line for _, line in lines))
    except yaml.YAMLError as error:
        raise bad_yaml(path, error) from error
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
