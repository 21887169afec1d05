"""How the files of a task file are written: their format, their cells, and their columns."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from adapter_stilts.heads import get_head
from adapter_stilts.own.model import TaskFile
from adapter_stilts.tasks.spec import FileFormat, Reading, Split
from adapter_stilts.yaml_files import Lines

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
_COLUMNS: Mapping[str, Mapping[str, Any]] = {
    "conll": {"words": 1, "tags": -1},
    "conllu": {"words": "tokens"},
    "squad": {"answer": "answers", "id": "id"},
}
SPLITS: tuple[Split, ...] = ("train", "dev", "test")
LANG = "{lang}"
"""Stands in a file's name where a language's code does."""


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
        return file.format
    if file.hub:
        return "parquet"
    found: dict[str, Split] = {}
    for split, paths in paths_of(file).items():
        for each in paths:
            suffix = Path(each).suffix.lower()
            form = SUFFIXES.get(suffix, "")
            if form == "tsv" and get_head(file.head).has_tags:
                form = "conll"
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


def reading_of(file: TaskFile, form: str) -> Reading | None:
    """How cells are written in files of that format; None where it leaves no choice."""
    if form not in ("csv", "tsv", "conll"):
        return None
    usual = {"csv": Reading(",", '"'), "tsv": Reading("\t", "")}.get(form, Reading("", "", False))
    delimiter = usual.delimiter if file.delimiter is None else file.delimiter
    quote = usual.quote if file.quote is None else file.quote
    return Reading(delimiter, quote, file.header and form != "conll")


def columns_of(file: TaskFile, form: str, lines: Lines) -> dict[str, Any]:
    """The column of every part of an example.

    Raises:
        UserError: a number where columns have names, or a name where they have numbers.
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
    return columns | given
