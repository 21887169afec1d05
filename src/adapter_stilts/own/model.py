"""What a task file may say, checked: every complaint names the file, the line and the remedy."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from adapter_stilts.data.parts import LANG
from adapter_stilts.errors import UserError, unknown
from adapter_stilts.heads import KINDS, get_head
from adapter_stilts.metrics import metrics_of
from adapter_stilts.own.rows import Column
from adapter_stilts.registered import unknown_name
from adapter_stilts.safety import demand, is_line
from adapter_stilts.tasks.spec import FileFormat, Reading, Split
from adapter_stilts.yaml_files import Lines, parse_yaml, read_yaml, validate

FROM_DATA: Literal["from the data"] = "from the data"
MOST_LABELS = 1000
"""More different labels are no labels: the column is another one."""


def _as_names(value: Any) -> Any:
    """YAML reads `1` as a number and `yes` as true: a label is what was written, if unambiguous."""
    if isinstance(value, str) and value != FROM_DATA:
        raise ValueError(f"list the labels, or write '{FROM_DATA}'")
    for each in value if isinstance(value, list) else ():
        if isinstance(each, list | dict):
            raise ValueError("a label is one text")
        if not isinstance(each, str | int) or isinstance(each, bool):
            written = str(each).lower() if isinstance(each, bool) else each
            raise ValueError(f"YAML reads a label as {written}: put it in quotes")
    return list(map(str, value)) if isinstance(value, list) else value


def _distinct(values: list[str]) -> list[str]:
    if twice := next((each for each in values if values.count(each) > 1), None):
        raise ValueError(f"'{twice}' stands there twice: remove one")
    return values


def _head(kind: str) -> str:
    if kind not in KINDS:
        raise ValueError(unknown("head", kind, KINDS))
    return kind


_NAME = re.compile(r"(?!lang-|(multitask|none|all|text)$)[a-z0-9]+([_-][a-z0-9]+)*")
_NO_NAME = "{} is no name, or is taken: write small letters, digits and -, as in my-task"
Name = Annotated[str, Field(max_length=100), demand(_NAME.fullmatch, _NO_NAME)]
Text = Annotated[
    str,
    AfterValidator(lambda text: " ".join(text.split())),
    demand(is_line, "characters that cannot be printed: remove them"),
]
Label = Annotated[
    str,
    demand(
        lambda label: label and label == label.strip() and is_line(label),
        "the label {} is empty, cannot be printed on one line, or has spaces around it",
    ),
]
Labels = Annotated[list[Label], Field(min_length=1), AfterValidator(_distinct)]
_ONE = 'one character was expected, such as ";" or "\\t"'
Character = Annotated[str, demand(lambda text: len(text) == 1, _ONE)]
Paths = Annotated[
    list[str],
    BeforeValidator(lambda value: [value] if isinstance(value, str) else value),
    Field(min_length=1),
    AfterValidator(_distinct),
]
_MOVES = "a revision that does not move is needed: the commit of the data set's page"
Commit = Annotated[str, demand(lambda text: text not in ("", "main", "master"), _MOVES)]
Filled = Annotated[str, Field(min_length=1)]
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
    train: Filled | None = None
    dev: Filled | None = None
    test: Filled | None = None


class Hub(BaseModel):
    """A data set on the Hub, at a commit."""

    model_config = _CONFIG
    id: str
    revision: Commit
    splits: HubSplits
    config: str | None = None


class TaskFile(BaseModel):
    """A task file; `labels` are those of a classification, the tags, or the names of choices."""

    model_config = _CONFIG
    name: Name
    head: Annotated[str, AfterValidator(_head)]
    columns: dict[str, Column | list[Column]] = Field(default_factory=dict)
    files: Files | None = None
    hub: Hub | None = None
    title: Text = ""
    metric: str = ""
    format: Literal["csv", "tsv", "jsonl", "parquet", "conll", "conllu", "squad"] | None = None
    delimiter: Character | None = None
    quote: Character | Literal[""] | None = None
    header: bool = True
    labels: Annotated[Labels | Literal["from the data"], BeforeValidator(_as_names)] = FROM_DATA
    choices: int = Field(default=0, ge=0)
    unanswerable: bool = False
    max_length: int = Field(default=256, ge=16, le=1 << 20)
    languages: list[str] = Field(default_factory=list)
    source_language: str = ""
    licence: Text = "unknown"
    citation: Text = ""


_EXAMPLE = "head: tagging"


def read_task_file(path: Path) -> tuple[TaskFile, Lines]:
    """The content of a task file, and the lines of its keys; refuses what cannot be."""
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "is not there"
        raise UserError(f"task file '{path}' {what}: `adstilts task new` writes one from your data")
    return _check(*read_yaml(path, _EXAMPLE))


def parse_task(path: Path, text: str) -> tuple[TaskFile, Lines]:
    """The same of a text that is called `path` in complaints."""
    return _check(*parse_yaml(text, _EXAMPLE, path))


def _check(value: Any, lines: Lines) -> tuple[TaskFile, Lines]:
    task = validate(TaskFile, value, lines)
    _check_head(task, lines)
    if (task.files is None) == (task.hub is None):
        raise lines.bad((), "either 'files' or 'hub' says where the data is")
    metrics = (*get_head(task.head).metrics, *metrics_of(task.head))
    if task.metric and task.metric not in metrics:
        wrong = unknown_name(f"metric of a {task.head} head", task.metric, metrics)
        raise lines.bad(("metric",), wrong)
    for split, paths in paths_of(task).items():
        for other in re.findall(r"{\w*}", " ".join(paths)):
            if other != LANG:
                what = f"'{other}' stands for nothing: {LANG} stands for a language's code"
                raise lines.bad(("files", split), what)
    _check_columns(task, lines)
    return task, lines


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


def named_splits(file: TaskFile) -> dict[str, Any]:
    """The splits that a task file names, with their files or their names on the Hub."""
    declared = file.files or (file.hub and file.hub.splits)
    return declared.model_dump(exclude_none=True) if declared else {}


def paths_of(file: TaskFile) -> dict[Split, tuple[str, ...]]:
    """The files of every split, as the task file names them."""
    given = file.files.model_dump() if file.files else {}
    return {split: tuple(given[split]) for split in SPLITS if given.get(split)}


def form_by_name(name: str, head: str) -> str:
    """The format that a file's ending says; ValueError where no head can learn from such."""
    suffix, tagged = Path(name).suffix.lower(), get_head(head).has_tags
    if suffix in COMPRESSED:
        raise ValueError(f"'{name}' is compressed: unpack it first")
    form = SUFFIXES.get(suffix, "")
    form = "conll" if form == "tsv" and tagged else form
    if not form or (form == "conll" and not tagged):
        known = ", ".join(sorted(each for each in SUFFIXES if each != ".txt"))
        raise ValueError(f"'{name}': its ending says no format: {known} do")
    return form


def form_of(file: TaskFile, lines: Lines) -> str:
    """The format of a task's files, named or by their endings; refuses none, and several."""
    if file.format:
        head = get_head(file.head)
        for_another = file.format in ("conll", "conllu") and not head.has_tags
        if for_another or (file.format == "squad" and "question" not in head.parts):
            what = f"files in the format {file.format} have nothing for a {file.head} head"
            raise lines.bad(("format",), f"{what}: name another")
        return file.format
    if file.hub:
        return "parquet"
    found: dict[str, Split] = {}
    for split, paths in paths_of(file).items():
        for each in paths:
            try:
                found.setdefault(form_by_name(each, file.head), split)
            except ValueError as error:
                what = f"{error}, or a line 'format: csv' (or tsv, jsonl, parquet, conll, squad)"
                raise lines.bad(("files", split), what) from None
    if not found:
        raise lines.bad(("files",), "'files' names no file: add 'train: …' and 'dev: …'")
    if len(found) > 1:
        split = list(found.values())[1]
        what = f"files of two formats ({' and '.join(found)}): a task has files of one"
        raise lines.bad(("files", split), what)
    return next(iter(found))


def reading_of(file: TaskFile, form: str, lines: Lines) -> Reading | None:
    """How cells are written; None where a format leaves no choice. Refuses keys it has not."""
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
    """The column of every part; refuses numbers for names, names for numbers, and one twice."""
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
