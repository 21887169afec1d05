"""What a task file may say, checked; every complaint names the file, the line and the remedy."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from adapter_stilts.data.places import bad, bad_yaml
from adapter_stilts.errors import UserError, suggest
from adapter_stilts.heads import KINDS, get_head
from adapter_stilts.metrics import metrics_of
from adapter_stilts.own.rows import Column

FROM_DATA = "from the data"
MOST_LABELS = 1000
"""More different labels are no labels: the column is another one."""


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _as_names(value: Any) -> Any:
    """YAML reads `1` as a number and `yes` as true: a label is what was written, if unambiguous."""
    if isinstance(value, list):
        for each in value:
            if isinstance(each, bool) or each is None:
                raise ValueError(f"YAML reads a label as {each}: put it in quotes")
        return [str(each) for each in value]
    return value


Paths = Annotated[list[str], BeforeValidator(_listed), Field(min_length=1)]
_CONFIG = ConfigDict(extra="forbid", strict=True, frozen=True)


class Files(BaseModel):
    """The files of each split: paths from the task file's folder, with * or {lang} in them."""

    model_config = _CONFIG
    train: Paths | None = None
    dev: Paths | None = None
    test: Paths | None = None


class HubSplits(BaseModel):
    """The Hub's names of the splits."""

    model_config = _CONFIG
    train: str | None = None
    dev: str | None = None
    test: str | None = None


class Hub(BaseModel):
    """A data set on the Hub, at a commit."""

    model_config = _CONFIG
    id: str
    revision: str
    splits: HubSplits
    config: str | None = None


class TaskFile(BaseModel):
    """A task file; `labels` are those of a classification, the tags, or the names of choices."""

    model_config = _CONFIG
    name: str
    head: str
    columns: dict[str, Column | list[Column]] = Field(default_factory=dict)
    files: Files | None = None
    hub: Hub | None = None
    title: str = ""
    metric: str = ""
    format: Literal["csv", "tsv", "jsonl", "parquet", "conll", "conllu", "squad"] | None = None
    delimiter: str | None = None
    quote: str | None = None
    header: bool = True
    labels: Annotated[Literal["from the data"] | list[str], BeforeValidator(_as_names)] = (
        "from the data"
    )
    choices: int = 0
    unanswerable: bool = False
    max_length: int = Field(default=256, ge=16)
    languages: list[str] = Field(default_factory=list)
    source_language: str = ""
    licence: str = "unknown"
    citation: str = ""


def read_task_file(path: Path) -> tuple[TaskFile, Lines]:
    """The content of a task file, and the lines of its keys.

    Raises:
        UserError: it is not there, no YAML, or says what cannot be; names file and line.
    """
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "is not there"
        raise UserError(f"task file '{path}' {what}: `adstilts task new` writes one from your data")
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8: save the file as UTF-8") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    return parse_task(path, text)


class Lines:
    """The line of every key of a YAML text."""

    def __init__(self, path: Path, node: yaml.Node | None) -> None:
        self._path = path
        self._root = node
        if node is not None:
            self._check_keys(node)

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

    def bad(self, keys: Iterable[str | int], what: str) -> UserError:
        """The error for what is wrong at that key."""
        return bad(self._path, self.of(keys), what)

    def _check_keys(self, node: yaml.Node) -> None:
        seen: dict[str, int] = {}
        children = node.value if isinstance(node, yaml.CollectionNode) else ()
        for child in children:
            if isinstance(child, tuple):
                key, line = str(child[0].value), child[0].start_mark.line + 1
                if key in seen:
                    what = f"the key '{key}' stands on line {seen[key]}, too: remove one"
                    raise bad(self._path, line, what)
                seen[key] = line
                child = child[1]
            self._check_keys(child)


def parse_task(path: Path, text: str) -> tuple[TaskFile, Lines]:
    """The same of a text that is called `path` in complaints."""
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        lines = Lines(path, node)
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise bad_yaml(path, error) from error
    except (RecursionError, ValueError) as error:
        raise UserError(f"{path}: not valid YAML ({error})") from error
    if value is None:
        raise UserError(f"{path}: the file is empty")
    if not isinstance(value, dict):
        raise bad(path, 1, "a task file has lines of 'key: value', such as 'head: tagging'")
    try:
        found = TaskFile.model_validate(value)
    except ValidationError as error:
        raise _complaint(error, lines) from error
    _check(found, lines)
    return found, lines


def _complaint(error: ValidationError, lines: Lines) -> UserError:
    first = error.errors(include_url=False)[0]
    place = tuple(key for key in first["loc"] if not _is_branch(key))
    key = str(place[-1]) if place else ""
    if first["type"] == "extra_forbidden":
        model: Any = {"files": Files, "hub": Hub, "splits": HubSplits}.get(
            str(place[-2]) if len(place) > 1 else "", TaskFile
        )
        return lines.bad(place, _unknown("key", key, model.model_fields))
    if first["type"] == "missing":
        return lines.bad(place[:-1], f"the key '{'.'.join(map(str, place))}' is missing")
    if first["type"] == "literal_error" and isinstance(first["input"], str):
        expected = re.findall(r"'([^']+)'", first["msg"])
        return lines.bad(place, _unknown(key, first["input"], expected))
    what = first["msg"].removeprefix("Value error, ")
    return lines.bad(place, f"'{'.'.join(map(str, place))}': {what}")


def _is_branch(key: str | int) -> bool:
    """Whether pydantic names a kind that it tried, and no key."""
    return isinstance(key, str) and (
        key in ("str", "int", "list[str]") or key.startswith(("list[", "literal[", "function-"))
    )


def _unknown(kind: str, given: str, known: Iterable[str]) -> str:
    names = list(known)
    near = suggest(given, names, limit=1)
    hint = f"did you mean '{near[0]}'?" if near else f"choose from {', '.join(names)}"
    return f"no {kind} '{given}': {hint}"


def _check(task: TaskFile, lines: Lines) -> None:
    """What the shape alone does not say."""
    if task.head not in KINDS:
        raise lines.bad(("head",), _unknown("head", task.head, KINDS))
    if not re.fullmatch(r"[a-z0-9]+([_-][a-z0-9]+)*", task.name):
        raise lines.bad(
            ("name",), f"'{task.name}' is no name: small letters, digits and - are, as in my-task"
        )
    if task.name.startswith("lang-") or task.name in ("multitask", "none", "all", "text"):
        raise lines.bad(("name",), f"the name '{task.name}' is taken: choose another")
    if (task.files is None) == (task.hub is None):
        raise lines.bad((), "either 'files' or 'hub' says where the data is")
    metrics = (*get_head(task.head).metrics, *metrics_of(task.head))
    if task.metric and task.metric not in metrics:
        what = _unknown(f"metric of a {task.head} head", task.metric, metrics)
        raise lines.bad(("metric",), what)
    if isinstance(task.labels, list) and len(set(task.labels)) < len(task.labels):
        twice = next(each for each in task.labels if task.labels.count(each) > 1)
        raise lines.bad(("labels",), f"the label '{twice}' stands there twice")
    for key, value in (("delimiter", task.delimiter), ("quote", task.quote)):
        if value is not None and len(value) > 1:
            raise lines.bad((key,), f'\'{key}\' is one character, such as ";" or "\\t"')
    if task.delimiter == "":
        raise lines.bad(("delimiter",), '\'delimiter\' is one character, such as ";" or "\\t"')
    if task.hub and task.hub.revision in ("main", "master"):
        what = "a revision that does not move is needed: the commit of the data set's page"
        raise lines.bad(("hub", "revision"), what)
    _check_columns(task, lines)


def _check_columns(task: TaskFile, lines: Lines) -> None:
    head = get_head(task.head)
    known = (*head.parts, *head.optional_parts)
    for name, column in task.columns.items():
        if name not in known:
            raise lines.bad(
                ("columns", name), _unknown(f"part of a {task.head} example", name, known)
            )
        if isinstance(column, list) and (name != "options" or len(column) < 2):
            raise lines.bad(("columns", name), f"'{name}' is one column: its name or its number")
        if 0 in (column if isinstance(column, list) else [column]):
            raise lines.bad(("columns", name), "columns are counted from 1; -1 is the last")
