"""From a task file to the specs that all other code knows."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from adapter_stilts.data.folders import LANG, find_parts
from adapter_stilts.errors import UserError, hint, located, shown
from adapter_stilts.hashing import text_digest
from adapter_stilts.heads import get_head
from adapter_stilts.own.model import (
    FORMATS,
    FROM_DATA,
    MOST_LABELS,
    SPLITS,
    TaskFile,
    columns_of,
    form_of,
    named_splits,
    paths_of,
    read_task_file,
    reading_of,
)
from adapter_stilts.own.rows import RowReader
from adapter_stilts.tasks.languages import check_language
from adapter_stilts.tasks.spec import (
    FileData,
    HubData,
    HubSplit,
    Source,
    Split,
    TaskSpec,
)
from adapter_stilts.tasks.target_spec import Category, TargetSpec
from adapter_stilts.yaml_files import Lines


@dataclass(frozen=True)
class OwnTask:
    """A user's own task: to be learnt from as `task`, to be evaluated as `target`.

    `form` is how its files are written.
    """

    path: Path
    file: TaskFile
    lines: Lines
    form: str
    target: TargetSpec

    @property
    def task(self) -> TaskSpec:
        """What a module is trained on, in the first language that there is training data in.

        Raises:
            UserError: the file names no training or dev data.
        """
        for split in ("train", "dev"):
            if not any(split in names for names in named_splits(self.file)):
                raise self.lines.bad(
                    ("files" if self.file.files else "hub",),
                    f"{self.file.name} has no {split} data, so nothing can be trained on it: add "
                    f"a line '{split}: …'",
                )
        return self.target.trained_in(self.target.train_languages[0])[-1]


def load_task_file(path: Path) -> OwnTask:
    """The task of a task file.

    Raises:
        UserError: the file or its data cannot be used; names file, line and remedy.
    """
    path = path.expanduser()
    return build_task(path, *read_task_file(path))


def build_task(path: Path, file: TaskFile, lines: Lines) -> OwnTask:
    """The task that a checked task file declares; relative paths begin at the file's folder."""
    _check_name(file, lines)
    form = form_of(file, lines)
    reading = reading_of(file, form)
    columns = columns_of(file, form, lines)
    languages, source = _languages(file, lines)
    paths = paths_of(file)
    reader = RowReader(
        file.head, columns, listed_labels(file), unlabelled=False, classes=file.hub is not None
    )
    layout = FileData(FORMATS[form], paths, reading=reading)
    hub = _hub(file)
    root = str(path.resolve().parent) if file.files else ""
    first = Source(file.name, () if hub else (layout,), hub, root=root)
    labels, choices = labels_and_choices(file, lines, first, reader, source)
    reader = replace(reader, labels=labels)
    target = _target(file, first, reader, labels, choices, languages, source)
    return OwnTask(path, file, lines, form, target)


def _check_name(file: TaskFile, lines: Lines) -> None:
    from adapter_stilts.tasks.registry import built_in

    if known := built_in(file.name):
        what = f"the package has a task '{known}' already, so give yours another name"
        raise lines.bad(("name",), what)


def _languages(file: TaskFile, lines: Lines) -> tuple[tuple[str, ...], str]:
    """The languages, and the one that is learnt from."""
    for number, code in enumerate(file.languages):
        try:
            check_language(code, ())
        except UserError as error:
            raise lines.bad(("languages", number), str(error)) from error
    if len(set(file.languages)) < len(file.languages):
        raise lines.bad(("languages",), "a language stands there twice: remove one")
    usual = "en" if "en" in file.languages or not file.languages else file.languages[0]
    source = file.source_language or usual
    try:
        check_language(source, ())
    except UserError as error:
        raise lines.bad(("source_language",), str(error)) from error
    languages = tuple(file.languages) or (source,)
    patterns = [each for paths in paths_of(file).values() for each in paths]
    if len(languages) > 1 and not file.hub and not any(LANG in each for each in patterns):
        what = "several languages, but no file name has {lang} in it: write 'test: test-{lang}.csv'"
        raise lines.bad(("languages",), what)
    return languages, source


def _hub(file: TaskFile) -> HubData | None:
    if file.hub is None:
        return None
    names = file.hub.splits.model_dump()
    config: dict[str, Any] = {"config": file.hub.config} if file.hub.config else {}
    splits: dict[Split, tuple[HubSplit, ...]] = {
        split: (cast(HubSplit, {"split": names[split], **config}),)
        for split in SPLITS
        if names[split]
    }
    return HubData(file.hub.id, file.hub.revision, splits)


def _identity(file: TaskFile, labels: tuple[str, ...], choices: int) -> str:
    content = [file.model_dump(mode="json", exclude=_ABOUT), list(labels), choices]
    written = json.dumps(content, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return text_digest(written, 16)


def _target(
    file: TaskFile,
    source: Source,
    reader: RowReader,
    labels: tuple[str, ...],
    choices: int,
    languages: tuple[str, ...],
    learnt: str,
) -> TargetSpec:
    identity, head = _identity(file, labels, choices), get_head(file.head)
    by_language = any(LANG in each for each in paths_of(file).get("train", ()))
    title, licence, citation = (
        " ".join(each.split()) for each in (file.title, file.licence, file.citation)
    )
    shared: dict[str, Any] = {
        "name": file.name,
        "title": title or file.name,
        "head": file.head,
        "metric": file.metric or _metric(file),
        "licence": licence or "unknown",
        "citation": citation,
        "labels": labels if head.has_labels else (),
        "tags": labels if head.has_tags else (),
        "choices": choices if head.chooses else 0,
        "max_length": file.max_length,
        "identity": identity,
    }
    stage = TaskSpec(
        **shared,
        sources=(source,),
        to_example=reader,
        sizes={},
        unanswerable=file.unanswerable,
        language=learnt,
        languages=languages,
    )
    trained = any("train" in names for names in named_splits(file))
    sources = tuple(languages) if by_language else (learnt,)
    return TargetSpec(
        **shared,
        category=cast(Category, get_head(file.head).category),
        suites={},
        sources=(_evaluated(source, languages),),
        to_example=replace(reader, unlabelled=True),
        training=(stage,) if trained else (),
        train_languages=tuple(sorted(sources, key=lambda each: each != learnt)),
        own_languages=tuple(sorted(languages, key=lambda each: each != learnt)),
    )


def _metric(file: TaskFile) -> str:
    if file.unanswerable and "squad_v2" in get_head(file.head).metrics:
        return "squad_v2"
    return get_head(file.head).metrics[0]


def _evaluated(source: Source, languages: tuple[str, ...]) -> Source:
    """The source without splits that are there in one of several languages alone."""
    if len(languages) == 1:
        return source
    return source.keeping(lambda _, places: any(LANG in str(each) for each in places))


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
            for name in _names(reader, row, place):
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


def _names(reader: RowReader, row: Mapping[str, Any], place: str) -> list[str]:
    """The labels of a row, which is at that place."""
    try:
        return reader.label_names(row)
    except ValueError as error:
        raise UserError(f"{place}: {error}") from error


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


_ABOUT = {"title", "licence", "citation"}
