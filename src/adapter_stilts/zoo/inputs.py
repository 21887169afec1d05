"""What a person gives a module to work on, checked: from a command line, a file or a request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adapter_stilts.errors import UserError
from adapter_stilts.heads import get_head
from adapter_stilts.tasks.languages import check_language, cut_words

KEPT = ("id", "lang")
"""What is no part of the input and comes back with the answer."""


class InputError(UserError):
    """Something wrong with an input; `field` names it."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


def read_input(
    kind: str, given: Mapping[str, Any], *, name: str, choices: int = 0, lang: str = ""
) -> dict[str, Any]:
    """The fields that a head of that kind reads, under their own names; others are passed over.

    Args:
        given: as typed, read from a line of JSON, or sent; None counts as missing.
        name: the module, for messages.
        choices: how many options a multiple-choice head chooses among.
        lang: the language where the input names none.

    Raises:
        InputError: a field is missing or not what is expected there.
    """
    language = given.get("lang") or lang
    language = _check_language(language)
    found: dict[str, Any] = {}
    head = get_head(kind)
    for field in (*head.needs, *head.takes):
        names = (field, *head.aliases.get(field, ()))
        key = next((each for each in names if given.get(each) is not None), None)
        if key is not None:
            found[field] = _checked(field, key, given[key], language, head.listed)
        elif field in head.needs:
            needed = " and ".join(head.needs)
            raise InputError(
                field,
                f"module '{name}' has a {kind} head and needs {needed}: '{field}' is missing",
            )
    if head.chooses and len(found["options"]) != choices:
        raise InputError(
            "options",
            f"module '{name}' chooses among {choices} options, not {len(found['options'])}",
        )
    return found


def _check_language(language: Any) -> str:
    if not isinstance(language, str):
        raise InputError("lang", "'lang' must be a language's code")
    try:
        return check_language(language) if language else ""
    except UserError as error:
        raise InputError("lang", str(error)) from error


def _checked(field: str, key: str, value: Any, language: str, listed: tuple[str, ...]) -> Any:
    if field in listed:
        if field == "words" and isinstance(value, str) and key == "text":
            return cut_words(_text(key, value), language)
        if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
            raise InputError(key, f"'{key}' must be a list of texts")
        return [_text(key, each) for each in value]
    if not isinstance(value, str):
        raise InputError(key, f"'{key}' must be a text")
    return _text(key, value)


def _text(key: str, value: str) -> str:
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InputError(key, f"'{key}' holds half of a surrogate pair (\\ud…)") from error
    return value


def kept(given: Mapping[str, Any], lang: str = "") -> dict[str, Any]:
    """What comes back with the answer: the input's own `id` and its language."""
    found = {key: given[key] for key in KEPT if given.get(key) is not None}
    return {**found, "lang": lang} if lang and "lang" not in found else found
