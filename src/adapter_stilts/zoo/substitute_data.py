"""What a module was really trained on, where other data stood in for its task's own."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import PurePath
from typing import Any

from adapter_stilts.errors import UserError
from adapter_stilts.heads import PLAIN
from adapter_stilts.tasks.registry import get_trained
from adapter_stilts.tasks.spec import FileData, TaskSpec
from adapter_stilts.zoo.known_task import task_of
from adapter_stilts.zoo.record import ModuleRecord


def tasks_of(record: ModuleRecord) -> list[TaskSpec]:
    """The tasks of a module; title, licence and citation are those of the data it has seen.

    Raises:
        UserError: no such task.
    """
    return [_task_of(record.at(task)) for task in record.heads] or [_task_of(record)]


def licence_of(record: ModuleRecord) -> str:
    """The licence of all data that a module learnt from; of several, with the tasks of each.

    A merged module has learnt from what its sources have. Of other programs' modules and of raw
    text it is "unknown".
    """
    try:
        tasks = _learnt(record)
    except UserError:
        return "unknown"
    found: dict[str, list[str]] = {}
    for task in tasks:
        found.setdefault(task.licence, []).append(task.name)
    if len(found) < 2:
        return next(iter(found), "unknown")
    return "; ".join(f"{licence} ({', '.join(names)})" for licence, names in found.items())


def _learnt(record: ModuleRecord) -> list[TaskSpec]:
    if not record.merged:
        return tasks_of(record)
    sources = {each["task"]: each for each in record.merged["sources"].values()}
    return [_source_task(name, about) for name, about in sources.items()]


def _source_task(name: str, about: dict[str, Any]) -> TaskSpec:
    """As much of a source's task as a licence takes; of one that is the user's own as recorded."""
    if not about.get("licence"):
        return get_trained(name)
    return TaskSpec(
        name=name,
        title=name,
        head=PLAIN,
        metric="accuracy",
        sources=(),
        to_example=lambda row: None,
        licence=str(about["licence"]),
        citation="",
        sizes={},
    )


def _task_of(record: ModuleRecord) -> TaskSpec:
    task = task_of(record)
    read = set(_files(record))
    for source in task.sources:
        for layout in source.files:
            if layout.licence and _reads(layout, read):
                about = {key: getattr(layout, key) for key in ("title", "licence", "citation")}
                return dataclasses.replace(task, **about)
    return task


def _files(record: ModuleRecord) -> Iterator[str]:
    """The names of the files of its training data."""
    train = record.data.get("train")
    parts = train.get("parts") if isinstance(train, dict) else None
    for part in parts if isinstance(parts, list) else ():
        files = part.get("files") if isinstance(part, dict) else None
        for file in files if isinstance(files, list) else ():
            yield PurePath(str(file)).name


def _reads(layout: FileData, names: set[str]) -> bool:
    globs = [PurePath(glob).name for glob in layout.paths.get("train", ())]
    return any(fnmatch(name, glob) for name in names for glob in globs)
