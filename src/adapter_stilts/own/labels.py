"""The labels of a user's own task, as its file lists them or its training data has them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from adapter_stilts.data.folders import find_parts
from adapter_stilts.errors import UserError, hint, located, shown
from adapter_stilts.heads import get_head
from adapter_stilts.own.layout import LANG
from adapter_stilts.own.model import FROM_DATA, MOST_LABELS, TaskFile
from adapter_stilts.own.rows import RowReader
from adapter_stilts.tasks.spec import Source, Split, TaskSpec
from adapter_stilts.yaml_files import Lines


def listed_labels(file: TaskFile) -> tuple[str, ...]:
    """The labels that a task file lists; none where they are those of the data."""
    return () if file.labels == FROM_DATA else tuple(file.labels)


def labels_and_choices(
    file: TaskFile, lines: Lines, source: Source, reader: RowReader, language: str
) -> tuple[tuple[str, ...], int]:
    """Labels and number of choices, as far as the training data says them, which is checked."""
    listed, kind = listed_labels(file), get_head(file.head)
    options = reader.columns.get("options")
    choices = len(options) if isinstance(options, tuple) else file.choices
    if kind.chooses and listed and choices not in (0, len(listed)):
        raise lines.bad(("labels",), f"{len(listed)} labels, but {choices} options")
    wanted = kind.has_labels or kind.chooses
    if source.hub:
        if kind.has_labels and not listed:
            raise lines.bad(("labels",), "the labels of a data set on the Hub are to be listed")
        if kind.chooses and not (choices or listed):
            raise lines.bad(("choices",), "say how many options there are: 'choices: 4'")
        return listed, choices or len(listed)
    needs = wanted and not listed and not (kind.chooses and choices)
    seen: dict[str, str] = {}
    try:
        for place, row in _rows(file, source, language):
            if not seen and kind.chooses and not choices:
                choices = len(
                    cast(Any, reader(row) if listed else _unlabelled(reader)(row))["options"]
                )
            _first(file, lines, reader, row, place)
            if not (kind.is_named or kind.chooses):
                break
            if not kind.has_labels and not listed:
                break
            for name in reader.label_names(row):
                seen.setdefault(name, place)
            if len(seen) > MOST_LABELS and not listed:
                what = f"over {MOST_LABELS} different labels: is it the right column?"
                raise lines.bad(("columns", "label"), what)
    except _NoDataError as error:
        if needs:
            raise UserError(f"{error}; its labels are read from there: list them") from error
        return listed, choices or len(listed)
    if listed and not kind.chooses:
        _check_used(lines, listed, seen)
    if kind.has_labels and not listed:
        return _sorted(seen, lines), choices
    return listed, choices or len(listed)


class _NoDataError(UserError):
    """The training data is not here."""


def _unlabelled(reader: RowReader) -> RowReader:
    columns = {part: column for part, column in reader.columns.items() if part != "label"}
    return replace(reader, columns=columns, unlabelled=True)


def _rows(file: TaskFile, source: Source, language: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The rows of the training data with their places."""
    layout = source.files[0]
    paths: dict[Split, tuple[str, ...]] = {
        split: tuple(each.replace(LANG, language) for each in globs)
        for split, globs in layout.paths.items()
        if split == "train"
    }
    task = cast(
        TaskSpec, _Named(file.name, (replace(source, files=(replace(layout, paths=paths),)),))
    )
    try:
        (part,) = find_parts(task, "train", Path(source.root))
    except (UserError, ValueError) as error:
        raise _NoDataError(str(error) or f"{file.name} has no train data") from error
    for where, place, row in part.rows():
        yield located(where, place), row


@dataclass(frozen=True)
class _Named:
    """As much of a task as finding its files takes."""

    name: str
    sources: tuple[Source, ...]


def _first(
    file: TaskFile, lines: Lines, reader: RowReader, row: Mapping[str, Any], place: str
) -> None:
    """Refuses columns that a row has not: at the line that names them."""
    names = [name for name in row if name != "lines"]
    for part, column in reader.columns.items():
        for each in column if isinstance(column, tuple) else (column,):
            there = each in row if isinstance(each, str) else abs(each) <= len(names)
            if not there:
                known = hint(str(each), names, f"there are {', '.join(names)}")
                key = ("columns", part) if part in file.columns else ("columns",)
                of = "" if part in file.columns else f" for '{part}'"
                what = f"no column '{each}'{of} in {place}: {known}"
                raise lines.bad(key, " ".join(what.split())[:600])


def _check_used(lines: Lines, listed: tuple[str, ...], seen: Mapping[str, str]) -> None:
    """Refuses a list of labels that is not the data's."""
    if extra := next((name for name in seen if name not in listed), None):
        what = f"{seen[extra]}: label {shown(extra)} is not among 'labels': add it, or mend the row"
        raise lines.bad(("labels",), what)
    for number, name in enumerate(listed):
        if name not in seen and name != "O":
            raise lines.bad(
                ("labels", number),
                f"no row of the training data has the label '{name}': remove it from 'labels'",
            )


def _sorted(seen: Mapping[str, str], lines: Lines) -> tuple[str, ...]:
    if len(seen) < 2:
        what = (
            f"the training data has one label ({', '.join(seen)})" if seen else "no row has a label"
        )
        raise lines.bad(("columns", "label"), f"{what}: two or more are needed to tell apart")
    numbers = all(name.isascii() and name.isdigit() for name in seen)
    return tuple(sorted(seen, key=(lambda name: (int(name), name)) if numbers else None))
