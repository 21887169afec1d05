"""What keeps files and texts of strangers harmless: names, sizes, JSON, and what is shown."""

from __future__ import annotations

import json
import math
import re
import unicodedata
from pathlib import Path
from typing import Any, NoReturn

from adapter_stilts.errors import UserError

MAX_JSON = 4 << 20
"""Bytes of a JSON file or a card that is read at all."""
MAX_DEPTH = 100
_LONGEST = 255

_PART = re.compile(r"[A-Za-z0-9_+=-][A-Za-z0-9_.+=-]*")
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


def printable(text: str) -> str:
    """The text with all that could steer a terminal, or reorder a line, written out.

    >>> printable("a\\x1b[2Jb")
    'a\\\\x1b[2Jb'
    """
    return text if text.isprintable() else "".join(_shown(char) for char in text)


def _shown(char: str) -> str:
    if char in "\n\t" or unicodedata.category(char) not in ("Cc", "Cf", "Cs", "Zl", "Zp"):
        return char
    # Joiners inside words of Persian, Hindi and others, and inside emoji, steer nothing.
    if char in "\u200c\u200d":
        return char
    return char.encode("unicode_escape").decode("ascii")


def brief(value: object) -> str:
    """A value of a stranger's as part of a message: printable, on one line, not long."""
    text = printable(" ".join(str(value).split()))
    return text if len(text) <= 80 else f"{text[:79]}…"


def is_plain_path(name: str) -> bool:
    """Whether a relative path of `/` and usual letters names a file inside its folder everywhere.

    Refuses `..`, absolute paths, drive letters, backslashes, hidden files and Windows' devices.
    """
    parts = name.split("/")
    return len(name) <= _LONGEST and all(
        _PART.fullmatch(part) and not part.endswith(".") and not _RESERVED.fullmatch(part)
        for part in parts
    )


def is_name(text: str) -> bool:
    """Whether a module may be called so: a line without slashes and steering characters."""
    return (
        0 < len(text) <= _LONGEST
        and text == text.strip()
        and printable(text) == text
        and not set(text) & set("/\\\n\t")
        and text not in (".", "..")
    )


def is_number(value: Any) -> bool:
    """Whether a JSON value is a finite number that fits into a float."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(float(value))
    except OverflowError:
        return False


def is_count(value: object, most: int) -> bool:
    """Whether a JSON value is a whole number from 0 to `most`."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= most


def read_json(path: Path) -> Any:
    """The JSON value in a file of a stranger.

    Raises:
        UserError: it is missing, too large, nested too deeply, or no JSON (NaN is none).
    """
    return parse_json(str(path), read_text(path, kind="JSON"))


def read_text(path: Path, *, kind: str = "text", limit: int = MAX_JSON) -> str:
    """The text of a file of at most `limit` bytes; `kind` is what it was taken for.

    Raises:
        UserError: it is missing, too large, or not UTF-8.
    """
    if path.exists() and not path.is_file():
        raise UserError(f"{path}: not a file")  # a pipe would be waited for
    try:
        with path.open("rb") as file:
            content = file.read(limit + 1)
        if len(content) > limit:
            raise UserError(f"{path}: larger than {limit >> 20} MB, so it is not read")
        return content.decode("utf-8")
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise UserError(f"{path}: not readable as {kind} ({first_line(error)})") from error


def parse_json(place: str, text: str) -> Any:
    """The JSON value that a text is.

    Raises:
        UserError: it is none, is nested too deeply, or has numbers beyond all use.
    """
    try:
        value = json.loads(text, parse_constant=_no_number, parse_float=_finite)
        if _too_deep(value):
            raise ValueError("nested too deeply")
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode("utf-8")  # no half surrogates
    except (ValueError, RecursionError, MemoryError) as error:
        raise UserError(f"{place}: not readable as JSON ({first_line(error)})") from error
    return value


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def _finite(written: str) -> float:
    value = float(written)
    if math.isinf(value):
        raise ValueError(f"the number {brief(written)} is too large")
    return value


def _too_deep(value: Any) -> bool:
    """Without recursion, for the sake of which it asks."""
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            inner
            for each in level
            if isinstance(each, dict | list)
            for inner in (each.values() if isinstance(each, dict) else each)
        ]
        if not level:
            return False
    return True


def first_line(error: BaseException) -> str:
    """The beginning of what an exception says, fit for one line."""
    lines = str(error).strip().splitlines()
    return printable(lines[0][:160]) if lines else type(error).__name__
