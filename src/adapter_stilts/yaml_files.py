"""YAML that people write: read, compared with what is declared; a complaint names its line."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import date
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError

from adapter_stilts.errors import UserError, bad, unknown
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
    if _most_open(text) > MAX_OPEN:
        raise UserError(f"{where}: nested too deeply: more than {MAX_OPEN} brackets are open")
    loader = yaml.BaseLoader if plain else yaml.SafeLoader
    try:
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, loader)):
            raise UserError(f"{where}: aliases (`*name`) are not accepted: write it out")
        lines = Lines(where, yaml.compose(text, loader))
        value = yaml.load(text, loader)
    except yaml.YAMLError as error:
        raise bad_yaml(where, error) from None
    except (RecursionError, ValueError):
        raise UserError(f"{where}: nested too deeply, or a number too long") from None
    if value is None:
        raise bad(where, 1, f"the file is empty: expected lines such as '{example}'")
    if not isinstance(value, dict):
        raise bad(where, 1, f"expected lines such as '{example}'")
    return value, lines


def _most_open(text: str) -> int:
    most = depth = 0
    for bracket in re.findall(r"[\[\]{}]", text):
        depth = depth + 1 if bracket in "[{" else max(0, depth - 1)
        most = max(most, depth)
    return most


def bad_yaml(where: Path | str, error: yaml.YAMLError) -> UserError:
    """The error for a file that is no YAML, with the line where the parser gave up."""
    mark = getattr(error, "problem_mark", None)
    what = getattr(error, "problem", None) or getattr(error, "reason", "")
    return bad(where, mark.line + 1 if mark else "", f"not valid YAML: {what}")


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
    found = error.errors(include_url=False)
    # A key that is mistyped is missing too: what is written is named.
    first = next((each for each in found if each["type"] == "extra_forbidden"), found[0])
    place = place_in(value, first["loc"], missing=first["type"] == "missing")
    if first["type"] == "extra_forbidden":
        return lines.bad(place, unknown("key", str(place[-1]), _keys(kind, place[:-1])))
    name = ".".join(map(str, place))
    if first["type"] == "missing":
        return lines.bad(place, f"the key '{name}' is missing")
    if first["type"] == "literal_error" and isinstance(first["input"], str):
        key = place[-1] if isinstance(place[-1], str) else first["loc"][-1]
        expected = re.findall(r"'([^']+)'", first["msg"])
        return lines.bad(place, unknown(str(key), first["input"], expected))
    what = _EXPECTED.get(first["type"]) or first["msg"].removeprefix("Value error, ")
    if first["type"] == "string_type" and isinstance(first["input"], bool | int | float | date):
        what += f", and YAML reads {first['input']}: put it in quotes"
    if first["type"] == "float_type" and isinstance(first["input"], str):
        what += " (YAML reads 1e-3 as text: write 1.0e-3)"
    return lines.bad(place, f"'{name}': {what}")


_EXPECTED = {
    "list_type": "a list was expected, as [first, second]",
    "dict_type": "keys with values were expected, as {key: value}",
    "model_type": "keys with values were expected, as {key: value}",
    "string_type": "a text was expected",
    "int_type": "a whole number was expected",
    "int_from_float": "a whole number was expected",
    "float_type": "a number was expected",
    "bool_type": "true or false was expected",
    "too_short": "the list is empty: name at least one",
    "string_too_short": "the text is empty",
}
"""What pydantic says of a value's type, in the words of who writes YAML."""


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
