"""What a task file may say, checked: every complaint names the file, the line and the remedy."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from adapter_stilts.data.folders import LANG
from adapter_stilts.errors import UserError, shown, unknown
from adapter_stilts.heads import KINDS, get_head
from adapter_stilts.metrics import metrics_of
from adapter_stilts.own.rows import Column
from adapter_stilts.schema import is_line
from adapter_stilts.tasks.spec import FileFormat, Reading, Split
from adapter_stilts.yaml_files import Lines, parse_yaml, read_yaml, validate

FROM_DATA = "from the data"
_LONGEST = 100
MOST_LABELS = 1000
"""More different labels are no labels: the column is another one."""


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _as_names(value: Any) -> Any:
    """YAML reads `1` as a number and `yes` as true: a label is what was written, if unambiguous."""
    if isinstance(value, list):
        for each in value:
            if isinstance(each, list | dict):
                raise ValueError("a label is one text")
            if not isinstance(each, str | int) or isinstance(each, bool):
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
    choices: int = Field(default=0, ge=0)
    unanswerable: bool = False
    max_length: int = Field(default=256, ge=16, le=1 << 20)
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
    _check_texts(task, lines)
    _check_head(task, lines)
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
    if task.labels == []:
        raise lines.bad(("labels",), f"'labels' lists none: list them, or write '{FROM_DATA}'")
    if isinstance(task.labels, list) and len(set(task.labels)) < len(task.labels):
        twice = next(each for each in task.labels if task.labels.count(each) > 1)
        raise lines.bad(("labels",), f"the label '{twice}' stands there twice")
    for key, value in (("delimiter", task.delimiter), ("quote", task.quote)):
        if value is not None and len(value) > 1:
            raise lines.bad((key,), f'\'{key}\' is one character, such as ";" or "\\t"')
    if task.delimiter == "":
        raise lines.bad(("delimiter",), '\'delimiter\' is one character, such as ";" or "\\t"')
    if task.hub and task.hub.revision in ("", "main", "master"):
        what = "a revision that does not move is needed: the commit of the data set's page"
        raise lines.bad(("hub", "revision"), what)
    _check_columns(task, lines)


def _check_texts(task: TaskFile, lines: Lines) -> None:
    """Refuses what the record of a module cannot hold, before anything is trained."""
    if len(task.name) > _LONGEST:
        raise lines.bad(("name",), f"a name has at most {_LONGEST} characters")
    for key in ("title", "licence", "citation"):
        if not is_line(" ".join(getattr(task, key).split())):
            raise lines.bad((key,), f"'{key}' has characters that cannot be printed: remove them")
    for number, label in enumerate(task.labels if isinstance(task.labels, list) else ()):
        if not label or not is_line(label):
            what = f"the label {shown(label)} is not one line that can be printed"
            raise lines.bad(("labels", number), what)
        if label != label.strip():
            what = f"the label {shown(label)} has spaces around it, which no label has: remove them"
            raise lines.bad(("labels", number), what)
    for split, paths in (task.files.model_dump() if task.files else {}).items():
        for path in paths or ():
            if other := next((each for each in re.findall(r"{\w*}", path) if each != LANG), ""):
                what = f"'{other}' stands for nothing: {LANG} stands for a language's code"
                raise lines.bad(("files", split), what)
            if len(paths) > len(set(paths)):
                raise lines.bad(("files", split), f"'{path}' stands there twice: remove one")


def _check_head(task: TaskFile, lines: Lines) -> None:
    """Refuses keys that are for another kind of head."""
    head = get_head(task.head)
    if task.unanswerable and "answer" not in head.parts:
        what = f"'unanswerable' is for questions with answers, not a {task.head} head: remove it"
        raise lines.bad(("unanswerable",), what)
    if task.choices and not head.chooses:
        what = f"'choices' is the number of options, and a {task.head} head has none: remove it"
        raise lines.bad(("choices",), what)
    if isinstance(task.labels, list) and not (head.is_named or head.chooses):
        raise lines.bad(("labels",), f"a {task.head} head has no labels: remove 'labels'")


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


SUFFIXES: Mapping[str, str] = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".conll": "conll",
    ".bio": "conll",
    ".iob": "conll",
    ".bioes": "conll",
    ".txt": "conll",
    ".conllu": "conllu",
    ".json": "squad",
}
"""The format that a file's ending says; a .tsv of tagged words has a word a line."""
FORMATS: Mapping[str, FileFormat] = {
    "csv": "table",
    "tsv": "table",
    "jsonl": "jsonl",
    "parquet": "parquet",
    "conll": "columns",
    "conllu": "conllu",
    "squad": "squad",
}
COMPRESSED = (".gz", ".zip", ".bz2", ".xz", ".zst", ".7z", ".tar", ".tgz")
_TABLE = ("delimiter", "quote", "header")
_COLUMNS: Mapping[str, Mapping[str, Any]] = {
    "conll": {"words": 1, "tags": -1},
    "conllu": {"words": "tokens"},
    "squad": {"answer": "answers", "id": "id"},
}
SPLITS: tuple[Split, ...] = ("train", "dev", "test")


def named_splits(file: TaskFile) -> list[dict[str, Any]]:
    """The splits that a task file names, with their files or their names on the Hub."""
    declared = file.files or (file.hub and file.hub.splits)
    found = declared.model_dump() if declared else {}
    return [{key: value for key, value in found.items() if value}]


def paths_of(file: TaskFile) -> dict[Split, tuple[str, ...]]:
    """The files of every split, as the task file names them."""
    given = file.files.model_dump() if file.files else {}
    return {split: tuple(given[split]) for split in SPLITS if given.get(split)}


def form_of(file: TaskFile, lines: Lines) -> str:
    """The format of a task's files: the one it names, or the one that their endings say.

    Raises:
        UserError: there is none, or there are two; names the line.
    """
    if file.format:
        return _checked_form(file, file.format, lines)
    if file.hub:
        return "parquet"
    found: dict[str, Split] = {}
    for split, paths in paths_of(file).items():
        for each in paths:
            suffix = Path(each).suffix.lower()
            form = SUFFIXES.get(suffix, "")
            if form == "tsv" and get_head(file.head).has_tags:
                form = "conll"
            if suffix in COMPRESSED:
                raise lines.bad(("files", split), f"'{each}' is compressed: unpack it first")
            if not form or (form == "conll" and not get_head(file.head).has_tags):
                what = f"'{each}': its ending says no format: add a line 'format: csv' (or tsv, "
                raise lines.bad(("files", split), f"{what}jsonl, parquet, conll, squad)")
            found.setdefault(form, split)
    if not found:
        raise lines.bad(("files",), "'files' names no file: add 'train: …' and 'dev: …'")
    if len(found) > 1:
        split = list(found.values())[1]
        what = f"files of two formats ({' and '.join(found)}): a task has files of one"
        raise lines.bad(("files", split), what)
    return next(iter(found))


def _checked_form(file: TaskFile, form: str, lines: Lines) -> str:
    """The format that a task file names, if its head can be learnt from such files."""
    head = get_head(file.head)
    for_another = form in ("conll", "conllu") and not head.has_tags
    if for_another or (form == "squad" and "question" not in head.parts):
        what = f"files in the format {form} have nothing for a {file.head} head: name another"
        raise lines.bad(("format",), what)
    return form


def reading_of(file: TaskFile, form: str, lines: Lines) -> Reading | None:
    """How cells are written in files of that format; None where it leaves no choice.

    Raises:
        UserError: the task file says what that format has not; names the line.
    """
    has = {"csv": _TABLE, "tsv": _TABLE, "conll": ("delimiter",)}.get(form, ())
    for key in _TABLE:
        if key in file.model_fields_set and key not in has:
            raise lines.bad((key,), f"files in the format {form} have no '{key}': remove the line")
    if not has:
        return None
    usual = {"csv": Reading(",", '"'), "tsv": Reading("\t", "")}.get(form, Reading("", "", False))
    delimiter = usual.delimiter if file.delimiter is None else file.delimiter
    quote = usual.quote if file.quote is None else file.quote
    return Reading(delimiter, quote, file.header and form != "conll")


def columns_of(file: TaskFile, form: str, lines: Lines) -> dict[str, Any]:
    """The column of every part of an example.

    Raises:
        UserError: a number where columns have names, or a name where they have numbers; one column
            for two parts.
    """
    usual, parts = _COLUMNS.get(form, {}), get_head(file.head).parts
    columns: dict[str, Any] = {part: usual.get(part, part) for part in parts} | {
        part: column for part, column in usual.items() if part == "id"
    }
    given = {
        part: tuple(column) if isinstance(column, list) else column
        for part, column in file.columns.items()
    }
    named = form not in ("csv", "tsv", "conll")
    for part, column in given.items():
        numbers = any(
            isinstance(each, int) for each in (column if isinstance(column, tuple) else (column,))
        )
        if numbers and (named or file.hub):
            raise lines.bad(("columns", part), f"{form} has columns with names: name one")
    named_parts = [part for part in columns if isinstance(given.get(part), str | None)]
    if form in ("csv", "tsv") and not file.header and named_parts:
        what = f"without a header, columns are numbers: write '{named_parts[0]}: 1' for the first"
        raise lines.bad(("columns",), what)
    _check_distinct(columns | given, lines)
    return columns | given


def _check_distinct(columns: Mapping[str, Any], lines: Lines) -> None:
    """Refuses a column that is two parts of an example, such as its text and its label."""
    seen: dict[str | int, str] = {}
    for part, column in columns.items():
        for each in () if part == "id" else column if isinstance(column, tuple) else (column,):
            if each in seen:
                what = f"column '{each}' is both '{seen[each]}' and '{part}': name another one"
                raise lines.bad(("columns", part), what)
            seen[each] = part
