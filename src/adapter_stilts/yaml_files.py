"""YAML that people write: read, compared with what is declared; a complaint names its line."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import date
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError

from adapter_stilts.errors import UserError, bad, shown, unknown
from adapter_stilts.schema import place_in

M = TypeVar("M", bound=BaseModel)
MAX_BYTES = 256 * 1024
MAX_OPEN = 50
"""Brackets that are open at the same time; PyYAML takes minutes over a file of thousands."""


class Lines:
    """The line of every key of a YAML file."""

    def __init__(self, where: Path | str, root: yaml.Node | None = None) -> None:
        self._where = where
        self._root = root
        self._check_keys(root)

    def of(self, keys: Iterable[str | int]) -> int:
        """The line of the key that this path of keys leads to, or how far it leads."""
        node, line = self._root, 1
        for key in keys:
            if isinstance(node, yaml.MappingNode):
                found = next((pair for pair in node.value if pair[0].value == str(key)), None)
                if found is None:
                    break
                line, node = found[0].start_mark.line + 1, found[1]
            elif isinstance(node, yaml.SequenceNode) and isinstance(key, int):
                node = node.value[key]
                line = node.start_mark.line + 1
            else:
                break
        return line

    def bad(self, keys: Iterable[str | int], what: object) -> UserError:
        """The error for what is wrong at that key."""
        return bad(self._where, self.of(keys), str(what))

    def _check_keys(self, node: yaml.Node | None) -> None:
        seen: dict[str, int] = {}
        for child in node.value if isinstance(node, yaml.CollectionNode) else ():
            if isinstance(child, tuple):
                key, line = str(child[0].value), child[0].start_mark.line + 1
                if key in seen:
                    what = f"the key '{key}' stands on line {seen[key]}, too: remove one"
                    raise bad(self._where, line, what)
                seen[key] = line
                child = child[1]
            self._check_keys(child)


def read_yaml(
    path: Path, example: str, *, where: str = "", plain: bool = False
) -> tuple[dict[str, Any], Lines]:
    """The keys and values of a YAML file, and their lines.

    Args:
        path: a file that is there.
        example: a line that such a file may have.
        where: what the file is called in a complaint; by default its path.
        plain: leave every value the text that is written.

    Raises:
        UserError: the file cannot be read, or is not such YAML; names file and line.
    """
    where = where or str(path)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UserError(f"{where}: larger than {MAX_BYTES:,} bytes, which no such file is")
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{where}: cannot be read (not UTF-8 text): save it as UTF-8") from error
    except OSError as error:
        raise UserError(f"{where}: cannot be read ({error.strerror})") from error
    return parse_yaml(text, example, where, plain=plain)


def parse_yaml(
    text: str, example: str, where: Path | str, *, plain: bool = False
) -> tuple[dict[str, Any], Lines]:
    """The same of a text that is called `where` in complaints."""
    if line := _too_deep(text):
        what = f"nested too deeply: more than {MAX_OPEN} brackets are open"
        raise bad(where, line, what)
    loader = yaml.BaseLoader if plain else yaml.SafeLoader
    try:
        for event in yaml.parse(text, loader):
            if isinstance(event, yaml.AliasEvent):
                mark = event.start_mark
                what = "aliases (`*name`) are not accepted: write it out"
                raise bad(where, mark.line + 1 if mark else "", what)
        lines = Lines(where, yaml.compose(text, loader))
        value = yaml.load(text, loader)
    except yaml.YAMLError as error:
        raise bad_yaml(where, error, text) from None
    except RecursionError:
        raise UserError(f"{where}: nested too deeply") from None
    except ValueError:
        raise _no_value(text, loader, where) from None
    if value is None:
        raise bad(where, 1, f"the file is empty: expected lines such as '{example}'")
    if not isinstance(value, dict):
        raise bad(where, 1, f"expected lines such as '{example}'")
    return value, lines


def _too_deep(text: str) -> int:
    """The line on which more brackets are open than may be; 0 where there is none."""
    depth = 0
    for bracket in re.finditer(r"[\[\]{}]", text):
        depth = depth + 1 if bracket[0] in "[{" else max(0, depth - 1)
        if depth > MAX_OPEN:
            return _line_at(text, bracket.start())
    return 0


def _line_at(text: str, place: int) -> int:
    return text.count("\n", 0, place) + 1


def bad_yaml(where: Path | str, error: yaml.YAMLError, text: str = "") -> UserError:
    """The error for a file that is no YAML, with the line where the parser gave up.

    Args:
        text: of the file; without it, a character that YAML does not have is told without line.
    """
    mark = getattr(error, "problem_mark", None)
    what = getattr(error, "problem", None) or getattr(error, "reason", "")
    line: int | str = mark.line + 1 if mark else ""
    if text and isinstance(error, yaml.reader.ReaderError):
        line = _line_at(text, error.position)
    return bad(where, line, f"not valid YAML: {what}")


def _no_value(text: str, loader: Any, where: Path | str) -> UserError:
    """The error for what has the form of a date or a number and is none, such as `2026-02-30`."""
    for token in yaml.scan(text, loader):
        if isinstance(token, yaml.ScalarToken) and token.plain:
            try:
                yaml.load(token.value, loader)
            except yaml.YAMLError:
                continue
            except ValueError:
                what = f"{shown(token.value)} is no date and no number that can be: put a text "
                return bad(where, token.start_mark.line + 1, f"{what}in quotes")
    return UserError(f"{where}: a date or a number that cannot be")


def validate(kind: type[M], value: Any, lines: Lines) -> M:
    """What the file says, as the model that declares it.

    Raises:
        UserError: an unknown or missing key, or a value that cannot be; names file and line, and
            what was meant.
    """
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        raise _complaint(kind, value, error, lines) from None


def _complaint(
    kind: type[BaseModel], value: Any, error: ValidationError, lines: Lines
) -> UserError:
    found: list[dict[str, Any]] = [{**each} for each in error.errors(include_url=False)]
    # A key that is mistyped is missing too: what is written is named.
    first = next((each for each in found if each["type"] in _NO_KEY), found[0])
    place = _place(value, first)
    if first["type"] in _NO_KEY:
        return lines.bad(place, unknown("key", str(first["loc"][-1]), _keys(kind, place[:-1])))
    # Where a value may be of several kinds, each has said something: of an item of a list, or of
    # the whole.
    place = max((_place(value, each) for each in found if _below(value, each, place)), key=len)
    same = [each for each in found if _place(value, each) == place]
    first = same[0]
    name = ".".join(map(str, place))
    if first["type"] == "missing":
        return lines.bad(place, f"the key '{name}' is missing")
    if first["type"] == "literal_error" and isinstance(first["input"], str) and len(same) == 1:
        key = place[-1] if isinstance(place[-1], str) else first["loc"][-1]
        return lines.bad(place, unknown(str(key), first["input"], _literals(first)))
    what = ", or ".join(dict.fromkeys(map(_expected, same)))
    return lines.bad(place, f"'{name}': {what}")


_NO_KEY = ("extra_forbidden", "invalid_key")


def _place(value: Any, each: dict[str, Any]) -> list[int | str]:
    return place_in(value, each["loc"], missing=each["type"] == "missing")


def _below(value: Any, each: dict[str, Any], place: list[int | str]) -> bool:
    return _place(value, each)[: len(place)] == place


def _literals(each: dict[str, Any]) -> list[str]:
    return re.findall(r"'([^']+)'", each["msg"])


def _expected(each: dict[str, Any]) -> str:
    """What was expected of a value, in the words of who writes YAML."""
    kind, given = each["type"], each["input"]
    if kind == "literal_error":
        return " or ".join(f"'{name}'" for name in _literals(each))
    if kind in _BOUNDS:
        return f"{shown(given)} {_BOUNDS[kind].format(**each['ctx'])}"
    what = _EXPECTED.get(kind) or each["msg"].removeprefix("Value error, ")
    if kind == "string_type" and isinstance(given, bool | int | float | date):
        what += f", and YAML reads {given}: put it in quotes"
    if kind == "float_type" and isinstance(given, str):
        what += " (YAML reads 1e-3 as text: write 1.0e-3, without quotes)"
    return what


_EXPECTED = {
    "list_type": "a list was expected, as [first, second]",
    "dict_type": "keys with values were expected, as {key: value}",
    "model_type": "keys with values were expected, as {key: value}",
    "string_type": "a text was expected",
    "int_type": "a whole number was expected",
    "int_from_float": "a whole number was expected",
    "float_type": "a number was expected",
    "finite_number": "a finite number was expected",
    "bool_type": "true or false was expected",
    "too_short": "the list is empty: name at least one",
    "string_too_short": "the text is empty",
}
"""What pydantic says of a value's type, in the words of who writes YAML."""
_BOUNDS = {
    "greater_than": "is not above {gt}",
    "greater_than_equal": "is below {ge}",
    "less_than": "is not below {lt}",
    "less_than_equal": "is above {le}",
    "string_too_long": "is longer than {max_length} characters",
}
"""The same of its size."""


def _keys(kind: type[BaseModel], place: Sequence[str | int]) -> list[str]:
    """The keys that are known at that place."""
    for part in place:
        if part in kind.model_fields:
            kind = _model_in(kind.model_fields[str(part)].annotation) or kind
    return list(kind.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((each for part in get_args(annotation) if (each := _model_in(part))), None)
