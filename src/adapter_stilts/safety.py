"""What keeps files and texts of strangers harmless: names, sizes, and JSON of a declared shape."""

from __future__ import annotations

import functools
import json
import math
import re
import unicodedata
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from adapter_stilts.errors import Place, UserError, bad, shown

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


def json_text(value: Any) -> str:
    """A value as our files have it; a number that is not finite is a `ValueError`."""
    return json.dumps(value, ensure_ascii=False, indent=1, allow_nan=False) + "\n"


def read_json(path: Path) -> Any:
    """The JSON value in a file of a stranger; refuses as `read_text` and `parse_json` do."""
    return parse_json(str(path), read_text(path, kind="JSON"))


def read_text(path: Path, *, kind: str = "text", limit: int = MAX_JSON) -> str:
    """The text of a file taken for `kind`; refuses over `limit` bytes, and what is not UTF-8."""
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
    """The JSON value of a text; refuses none, deep nesting, and numbers beyond all use."""
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


_KINDS = {list: "a list", dict: "an object", str: "a text", int: "a whole number"}


class DoubleKeyError(ValueError):
    """An object has a key twice, of which readers would take different values."""

    def __init__(self, key: str) -> None:
        super().__init__(f"the name '{brief(key)}' comes twice")
        self.key = key


def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object for `json.loads`, which by itself takes the last of two members of one name.

    Raises:
        DoubleKeyError: there are two.
    """
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise DoubleKeyError(key)
        found[key] = value
    return found


def load_json(path: Path, place: Place, written: str, expected: str) -> Any:
    """The JSON value written there, whose strings can be UTF-8 again; refuses what is none."""
    try:
        # A break at its end is on this line.
        value = json.loads(written.rstrip("\r\n"), object_pairs_hook=once)
        if "\\ud" in written.lower():  # an escaped surrogate without its other half
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except json.JSONDecodeError as error:
        line = f"line {error.lineno}, " if error.lineno > 1 else ""
        what = f"broken JSON ({error.msg} at {line}column {error.colno}); expected {expected}"
        raise bad(path, place, what) from error
    except DoubleKeyError as error:
        raise bad(
            path, place, f"the key {shown(error.key)} stands there twice: remove one"
        ) from error
    except UnicodeEncodeError as error:
        raise bad(path, place, "half of a surrogate pair (\\ud…) in a string") from error
    except RecursionError as error:
        raise bad(path, place, f"nested too deeply; expected {expected}") from error
    return value


def member(path: Path, place: Place, value: Any, name: str, kind: type, format_name: str) -> Any:
    """That member of an object, of that type; refuses a value without."""
    if not isinstance(value, dict) or type(value.get(name)) is not kind:
        raise bad(path, place, f"expected an object with {_KINDS[kind]} '{name}' ({format_name})")
    return value[name]


T = TypeVar("T")
_BY_CODE = "Value error, "

STRICT = ConfigDict(strict=True, allow_inf_nan=False, extra="ignore")
"""Nothing is converted: `true` is no number, `"3"` none either."""


OPEN = ConfigDict(strict=True, allow_inf_nan=False, extra="allow")
"""The same, and fields that are not declared stay."""


class Like:
    """In an annotation: the shape that the value must have, though code takes it as a `dict`."""

    def __init__(self, kind: type[Any]) -> None:
        self._kind = kind

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        return handler.generate_schema(self._kind)


class Shape(BaseModel):
    """An object of JSON whose fields are declared; others are passed over."""

    model_config = STRICT


def check_shape(kind: type[T], value: Any, place: object) -> T:
    """The value as that kind, which strict JSON can express; refuses by the first wrong field."""
    declared: Any = kind  # for mypy a type with a variable has no hash
    try:
        checked: T = _adapter(declared).validate_json(json.dumps(value, allow_nan=False))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        missing = first["type"] == "missing"
        field = brief(".".join(map(str, place_in(value, first["loc"], missing=missing))))
        what = " is missing" if missing else f": {brief(first['msg'].removeprefix(_BY_CODE))}"
        raise UserError(f"{place}: '{field}'{what}") from error
    return checked


@functools.cache
def _adapter(kind: type[Any]) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def place_in(value: Any, parts: Sequence[int | str], *, missing: bool) -> list[int | str]:
    """Where in the value that is, without pydantic's names of the kinds it tried."""
    found: list[int | str] = []
    for place, part in enumerate(parts, 1):
        in_list = isinstance(value, list) and isinstance(part, int)
        if in_list or (isinstance(value, dict) and part in value):
            found.append(part)
            value = value[part]
        elif missing and place == len(parts):
            found.append(part)
    return found


def is_line(text: str) -> bool:
    """Whether a text is one line, not long, without characters that steer a terminal."""
    return len(text) < 10_000 and (
        text.isprintable()
        or (printable(text) == text and "Cc" not in map(unicodedata.category, text))
    )


def demand(fits: Callable[[Any], object], what: str) -> AfterValidator:
    """In an annotation: refuses a value that does not fit, in these words; `{}` is the value."""

    def check(value: Any) -> Any:
        if not fits(value):
            raise ValueError(what.replace("{}", shown(value)))
        return value

    return AfterValidator(check)


def one_of(known: Collection[str]) -> AfterValidator:
    """In an annotation: one of these texts."""
    return demand(known.__contains__, f"{{}} is not one of {', '.join(known)}")


Line = Annotated[str, demand(is_line, "one printable line was expected")]
Lines = dict[Line, Line]
Count = Annotated[int, Field(ge=0, le=1 << 53)]
Fraction = Annotated[float, Field(ge=0, le=1)]
