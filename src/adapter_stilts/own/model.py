"""What a task file may say, checked; every complaint names the file, the line and the remedy."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from adapter_stilts.errors import UserError, unknown
from adapter_stilts.heads import KINDS, get_head
from adapter_stilts.metrics import metrics_of
from adapter_stilts.own.rows import Column
from adapter_stilts.yaml_files import Lines, parse_yaml, read_yaml, validate

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


_EXAMPLE = "head: tagging"


def read_task_file(path: Path) -> tuple[TaskFile, Lines]:
    """The content of a task file, and the lines of its keys.

    Raises:
        UserError: it is not there, no YAML, or says what cannot be; names file and line.
    """
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "is not there"
        raise UserError(f"task file '{path}' {what}: `adstilts task new` writes one from your data")
    return _checked(*read_yaml(path, _EXAMPLE))


def parse_task(path: Path, text: str) -> tuple[TaskFile, Lines]:
    """The same of a text that is called `path` in complaints."""
    return _checked(*parse_yaml(text, _EXAMPLE, path))


def _checked(value: Any, lines: Lines) -> tuple[TaskFile, Lines]:
    found = validate(TaskFile, value, lines)
    _check(found, lines)
    return found, lines


def _check(task: TaskFile, lines: Lines) -> None:
    """What the shape alone does not say."""
    if task.head not in KINDS:
        raise lines.bad(("head",), unknown("head", task.head, KINDS))
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
        wrong = unknown(f"metric of a {task.head} head", task.metric, metrics)
        raise lines.bad(("metric",), wrong)
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
                ("columns", name), unknown(f"part of a {task.head} example", name, known)
            )
        if isinstance(column, list) and (name != "options" or len(column) < 2):
            raise lines.bad(("columns", name), f"'{name}' is one column: its name or its number")
        if 0 in (column if isinstance(column, list) else [column]):
            raise lines.bad(("columns", name), "columns are counted from 1; -1 is the last")
