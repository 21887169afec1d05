"""What the fields of a module's record may hold: the file may come from anybody."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from adapter_stilts.safety import is_name, is_number, printable


def first_wrong(fields: Mapping[str, Any]) -> str:
    """The first field with a value that no record has there, or an empty text."""
    return next(
        (key for key, value in fields.items() if not _CHECKS.get(key, _is_object)(value)), ""
    )


def _is_line(value: Any) -> bool:
    return isinstance(value, str) and len(value) < 10_000 and printable(value) == value


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


def _is_scores(value: Any) -> bool:
    return isinstance(value, dict) and all(
        _is_line(key) and is_number(each) for key, each in value.items()
    )


def _is_texts(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_is_line, [*value, *value.values()]))


def _is_bases(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_is_texts, value.values()))


_HEAD: dict[str, Callable[[Any], bool]] = {
    "head": _is_line,
    "labels": lambda value: isinstance(value, list) and all(map(_is_line, value)),
    "max_length": lambda value: is_number(value) and isinstance(value, int),
    "scores": _is_scores,
    "parameters": lambda value: is_number(value) and isinstance(value, int),
    "train": _is_object,
    "dev": _is_object,
    "no_answer_threshold": lambda value: value is None or is_number(value),
}


def _is_heads(value: Any) -> bool:
    """Every entry can be read, and its task's name be that of a folder."""
    return isinstance(value, dict) and all(
        isinstance(about, dict)
        and all(key in about and fine(about[key]) for key, fine in _HEAD.items())
        and re.fullmatch(r"[\w+-]+", task)
        for task, about in value.items()
    )


def _is_evaluations(value: Any) -> bool:
    return isinstance(value, dict) and all(
        _is_line(task)
        and isinstance(languages, dict)
        and all(map(_is_line, languages))
        and all(map(_is_scores, languages.values()))
        for task, languages in value.items()
    )


def _is_recipe(value: Any) -> bool:
    """Loading reads two of its numbers; the rest is only shown."""
    return isinstance(value, dict) and all(
        isinstance(value.get(key, 0), int) and 0 <= value.get(key, 0) <= 1 << 20
        for key in ("max_length", "stride")
    )


def _is_merged(value: Any) -> bool:
    """Lists show the licences of the sources' tasks; the rest is only shown."""
    if not isinstance(value, dict):
        return False
    sources = value.get("sources", {})
    known = "sources" in value or not value
    return known and _is_bases(sources) and all("task" in each for each in sources.values())


_CHECKS: dict[str, Callable[[Any], bool]] = {
    "name": lambda value: isinstance(value, str) and is_name(value),
    **dict.fromkeys(("run", "task", "head", "method", "composition", "machine"), _is_line),
    "created": _is_line,
    **dict.fromkeys(("backbone", "versions", "files", "origin"), _is_texts),
    "recipe": _is_recipe,
    "data": _is_object,
    **dict.fromkeys(("scores", "full_precision"), _is_scores),
    "bases": _is_bases,
    "heads": _is_heads,
    "merged": _is_merged,
    "evaluations": _is_evaluations,
    **dict.fromkeys(
        ("parameters", "steps", "best_step", "planned_steps", "seconds", "peak_memory_mb"),
        is_number,
    ),
    "no_answer_threshold": lambda value: value is None or is_number(value),
    "format": is_number,
}
"""An object where nothing is said."""
