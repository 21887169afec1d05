"""YAML that people write: read, compared with what is declared; a complaint names its line.

It is read by the core schema of YAML 1.2 (https://yaml.org/spec/1.2.2/#103-core-schema), by which
`no`, `1:30` and `2026-01-31` are texts and `1e-3` is a number. PyYAML alone reads YAML 1.1.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError

from adapter_stilts.errors import UserError, bad, shown, unknown
from adapter_stilts.safety import place_in

M = TypeVar("M", bound=BaseModel)
MAX_BYTES = 256 * 1024
MAX_OPEN = 50
"""Brackets that are open at the same time; PyYAML takes minutes over a file of thousands."""


_NULL = re.compile(r"~|null|Null|NULL|")
_BOOL = re.compile(r"true|True|TRUE|false|False|FALSE")
_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(
    r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"
)
_TAG = "tag:yaml.org,2002:"
_NUMBER = [*"-+.0123456789"]
_SCALARS = (
    ("null", _NULL, ["~", "n", "N", ""]),
    ("bool", _BOOL, [*"tTfF"]),
    ("int", _INT, _NUMBER),
    ("float", _FLOAT, _NUMBER),
)
"""What is no text, by its tag: how it is written, and its first characters."""


class _UnclearError(yaml.MarkedYAMLError):
    """A value that nobody can be sure of, or that cannot be."""


class _NoAliases(yaml.composer.Composer):
    """Refuses `*name`, by which a short file can say billions of things."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """The node that begins here."""
        if self.check_event(yaml.AliasEvent):  # type: ignore[attr-defined]
            what = "aliases (`*name`) are not accepted: write it out"
            mark = self.peek_event().start_mark  # type: ignore[attr-defined]
            raise _UnclearError(None, None, what, mark)
        return super().compose_node(parent, index)


class _PlainLoader(_NoAliases, yaml.BaseLoader):
    """Leaves every value the text that is written."""


class _Loader(_NoAliases, yaml.SafeLoader):
    """Reads scalars by the core schema, and every key as it is written."""

    def construct_mapping(self, node: yaml.Node, deep: bool = False) -> dict[Any, Any]:
        """Keys are texts, and `<<` is none that means something else."""
        found: dict[Any, Any] = {}
        if not isinstance(node, yaml.MappingNode):
            raise _UnclearError(None, None, "keys with values were expected", node.start_mark)
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise _UnclearError(None, None, "a key is one text", key.start_mark)
            found[key.value] = self.construct_object(value, deep=deep)
        return found

    def bool_of(self, node: yaml.Node) -> bool:
        """True or false."""
        return self._written(node, _BOOL).lower() == "true"

    def float_of(self, node: yaml.Node) -> float:
        """A number with a point or an exponent."""
        text = self._written(node, _FLOAT).lower()
        return float(text.replace(".inf", "inf").replace(".nan", "nan"))

    def int_of(self, node: yaml.Node) -> int:
        """A whole number as people write it.

        Raises:
            yaml.MarkedYAMLError: it may be another number or a text for who wrote it: `010` is 8 in
                YAML 1.1, and a label `+1` is not `1`.
        """
        text = self._written(node, _INT)
        try:
            base = {"0o": 8, "0x": 16}.get(text[:2], 10)
            number = int(text, base)
        except ValueError:
            what = "is no number that can be: put a text in quotes"
            raise self._refusal(node, what) from None
        if str(number) != text:
            what = f"can be read in several ways: write {number}, or put a text in quotes"
            raise self._refusal(node, what)
        return number

    def _written(self, node: yaml.Node, form: re.Pattern[str]) -> str:
        text = str(self.construct_scalar(node)) if isinstance(node, yaml.ScalarNode) else ""
        if not form.fullmatch(text):
            raise self._refusal(node, f"is no {node.tag.removeprefix(_TAG)}")
        return text

    def _refusal(self, node: yaml.Node, what: str) -> _UnclearError:
        text = shown(node.value) if isinstance(node, yaml.ScalarNode) else "this"
        return _UnclearError(None, None, f"{text} {what}", node.start_mark)


class _Dumper(yaml.SafeDumper):
    """Puts in quotes what is no text to either version of YAML."""


_Loader.yaml_implicit_resolvers = {}
_Loader.yaml_constructors = {
    tag: make
    for tag, make in yaml.SafeLoader.yaml_constructors.items()
    if tag is None or tag.removeprefix(_TAG) in ("null", "str", "seq", "map")
}
for _kind, _form, _first in _SCALARS:
    for _each in (_Loader, _Dumper):
        _each.add_implicit_resolver(_TAG + _kind, re.compile(rf"^(?:{_form.pattern})$"), _first)
_Loader.add_constructor(f"{_TAG}bool", _Loader.bool_of)
_Loader.add_constructor(f"{_TAG}int", _Loader.int_of)
_Loader.add_constructor(f"{_TAG}float", _Loader.float_of)


def write_yaml(value: Any, *, flow: bool | None = False) -> str:
    """YAML, for us and readers of YAML 1.1; `flow` None puts plain lists and mappings on a line."""
    text: str = yaml.dump(
        value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=flow
    )
    return text


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


class NoLines(Lines):
    """Those of a text that lies in no file: a complaint names what the text was made from."""

    def bad(self, keys: Iterable[str | int], what: object) -> UserError:
        """The error for what is wrong, without a line."""
        return bad(self._where, "", str(what))


def read_yaml(
    path: Path, example: str, *, where: str = "", plain: bool = False
) -> tuple[dict[str, Any], Lines]:
    """The keys and values of a YAML file, and their lines; refuses other files by name and line.

    Args:
        example: a line that such a file may have.
        where: what the file is called in a complaint; by default its path.
        plain: leave every value the text that is written.
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
    try:
        loader = _PlainLoader(text) if plain else _Loader(text)
        root = loader.get_single_node()
        lines = Lines(where, root)
        value = None if root is None else loader.construct_document(root)
    except _UnclearError as error:
        assert error.problem_mark
        raise bad(where, error.problem_mark.line + 1, str(error.problem)) from None
    except yaml.YAMLError as error:
        raise bad_yaml(where, error, text) from None
    except RecursionError:
        raise UserError(f"{where}: nested too deeply") from None
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

    Without `text`, a character that YAML does not have is told without line.
    """
    mark = getattr(error, "problem_mark", None)
    what = getattr(error, "problem", None) or getattr(error, "reason", "")
    line: int | str = mark.line + 1 if mark else ""
    if text and isinstance(error, yaml.reader.ReaderError):
        line = _line_at(text, error.position)
    return bad(where, line, f"not valid YAML: {what}")


def validate(kind: type[M], value: Any, lines: Lines) -> M:
    """What the file says, as the model that declares it; refuses by file, line and key."""
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
    places = [_place(value, each) for each in found]
    place = max((each for each in places if each[: len(place)] == place), key=len)
    same = [each for each in found if _place(value, each) == place]
    first = same[0]
    name = ".".join(map(str, place))
    if first["type"] == "missing":
        return lines.bad(place, f"the key '{name}' is missing")
    if first["type"] == "literal_error" and isinstance(first["input"], str) and len(same) == 1:
        key = place[-1] if isinstance(place[-1], str) else first["loc"][-1]
        return lines.bad(place, unknown(str(key), first["input"], _literals(first)))
    what = ", or ".join(dict.fromkeys(map(_expectation, same)))
    return lines.bad(place, f"'{name}': {what}")


_NO_KEY = ("extra_forbidden", "invalid_key")


def _place(value: Any, each: dict[str, Any]) -> list[int | str]:
    return place_in(value, each["loc"], missing=each["type"] == "missing")


def _literals(each: dict[str, Any]) -> list[str]:
    return re.findall(r"'([^']+)'", each["msg"])


def _expectation(each: dict[str, Any]) -> str:
    """What was expected of a value, in the words of who writes YAML."""
    kind, given = each["type"], each["input"]
    if kind == "literal_error":
        return " or ".join(f"'{name}'" for name in _literals(each))
    if kind in _BOUNDS:
        return f"{shown(given)} {_BOUNDS[kind].format(**each['ctx'])}"
    what = _EXPECTED.get(kind) or each["msg"].removeprefix("Value error, ")
    if kind == "string_type" and isinstance(given, bool | int | float):
        what += f", and YAML reads {given}: put it in quotes"
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
