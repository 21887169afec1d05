"""JSON of strangers, compared with a shape that is declared with pydantic."""

from __future__ import annotations

import functools
import json
import unicodedata
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from adapter_stilts.errors import Place, UserError, bad, shown
from adapter_stilts.safety import brief, printable

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
    """The JSON value written there, whose strings can all be written as UTF-8 again.

    Raises:
        UserError: it is no JSON.
    """
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
    """That member of an object, of that type.

    Raises:
        UserError: the value is no object, or has no such member of that type.
    """
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
    """The value as that kind, which strict JSON can express.

    Raises:
        UserError: names the place, the first field that is not as declared, and why.
    """
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
    if text.isprintable():
        return len(text) < 10_000
    return (
        len(text) < 10_000
        and printable(text) == text
        and not any(unicodedata.category(char) == "Cc" for char in text)
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
