"""What a module's record tells of its tasks, so that it works where its task is unknown.

What each task is, the licence of the data that was really seen, and whether a score beats a guess.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from fnmatch import fnmatch
from math import sqrt
from pathlib import PurePath
from typing import Any, NoReturn

from adapter_stilts.errors import UserError
from adapter_stilts.tasks.registry import (
    get_trained,
    is_built_in,
)
from adapter_stilts.tasks.spec import SHORTEST, HubData, Row, Source, TaskSpec
from adapter_stilts.zoo.record import ModuleRecord


def spec_entry(task: TaskSpec) -> dict[str, Any]:
    """What a record keeps of a task: all that its module's card, use and export need.

    An `identity` is only there for a task that is not the package's. `evaluated` are the languages
    of a user's own target.
    """
    hub = [source.hub for source in task.sources if source.hub]
    return {
        "title": task.title,
        "metric": task.metric,
        "licence": task.licence,
        "citation": task.citation,
        "labels": list(task.labels),
        "choices": task.choices,
        "max_length": task.max_length,
        "unanswerable": task.unanswerable,
        "language": task.language,
        "evaluated": list(task.languages),
        "datasets": {each.id: each.revision for each in hub},
        "identity": task.identity or ("" if is_built_in(task) else "spec"),
    }


def is_own(record: ModuleRecord) -> bool:
    """Whether the record says of its task that it is none of the package's."""
    return bool(record.spec.get("identity"))


def task_of(record: ModuleRecord) -> TaskSpec:
    """The task of a module with one head: the package's, or as its record says.

    Nothing is read or imported because of what stands there: of a task that the package does not
    have, there is no data to be found.

    Raises:
        UserError: the package has no such task, and the record says nothing of it.
    """
    if is_own(record):
        return _as_recorded(record)
    try:
        return get_trained(record.task)
    except UserError:
        if not record.spec:
            raise
        return _as_recorded(record)


def _as_recorded(record: ModuleRecord) -> TaskSpec:
    spec = record.spec
    sources = tuple(
        Source(record.task, (), HubData(name, revision, {}))
        for name, revision in spec["datasets"].items()
    )
    return TaskSpec(
        name=record.task,
        title=spec["title"],
        head=record.head,
        metric=spec["metric"],
        sources=sources,
        to_example=_no_rows,
        licence=spec["licence"],
        citation=spec["citation"],
        sizes={},
        labels=tuple(spec["labels"]),
        choices=spec["choices"],
        unanswerable=spec["unanswerable"],
        max_length=max(SHORTEST, spec["max_length"]),
        language=spec["language"],
        identity=spec["identity"],
        languages=tuple(spec["evaluated"]),
    )


def _no_rows(row: Row) -> NoReturn:
    raise UserError("a module's record names no data: give the task file")


def tasks_of(record: ModuleRecord) -> list[TaskSpec]:
    """The tasks of a module; title, licence and citation are those of the data it has seen.

    Raises:
        UserError: no such task.
    """
    return [_task_of(each) for each in record.singles]


def licence_of(record: ModuleRecord) -> str:
    """The licence of all data that a module learnt from; of several, with the tasks of each.

    A merged module has learnt from what its sources have. Of other programs' modules and of raw
    text it is "unknown".
    """
    try:
        if record.merged:
            sources = {each["task"]: each for each in record.merged["sources"].values()}
            licences = {
                name: str(about.get("licence") or get_trained(name).licence)
                for name, about in sources.items()
            }
        else:
            licences = {task.name: task.licence for task in tasks_of(record)}
    except UserError:
        return "unknown"
    found: dict[str, list[str]] = {}
    for name, licence in licences.items():
        found.setdefault(licence, []).append(name)
    if len(found) < 2:
        return next(iter(found), "unknown")
    return "; ".join(f"{licence} ({', '.join(names)})" for licence, names in found.items())


def _task_of(record: ModuleRecord) -> TaskSpec:
    task = task_of(record)
    parts = record.data.get("train", {}).get("parts", ())
    read = {PurePath(file).name for part in parts for file in part.get("files", ())}
    for layout in (each for source in task.sources for each in source.files):
        globs = [PurePath(glob).name for glob in layout.paths.get("train", ())]
        if layout.licence and any(fnmatch(name, glob) for name in read for glob in globs):
            about = {key: getattr(layout, key) for key in ("title", "licence", "citation")}
            return dataclasses.replace(task, **about)
    return task


ERRORS = 2.0
"""Standard errors above a guess that a score needs to count as more."""


def majority(answers: Sequence[object]) -> float:
    """The percentage of examples that the most frequent answer gets right.

    >>> majority([0, 1, 1, 2])
    50.0
    """
    return 100 * max(Counter(answers).values()) / len(answers)


def at_chance(record: ModuleRecord) -> list[str]:
    """The tasks of a module whose score is within noise of the best constant guess.

    Records that do not say what a guess reaches (`data.dev.chance`) count as better.
    """
    return [each.task for each in record.singles if _is_at_chance(each)]


def _is_at_chance(record: ModuleRecord) -> bool:
    dev = record.data.get("dev", {})
    for metric, value in dev.get("chance", {}).items():
        score = record.scores.get(metric)
        if score is None:
            continue
        share = min(max(value / 100, 0.0), 1.0)
        noise = 100 * sqrt(share * (1 - share) / max(1, dev["examples"]))
        if score < value + ERRORS * noise:
            return True
    return False


def chance_note(record: ModuleRecord) -> str:
    """What follows a score in a list where it is no better than a guess; else an empty text."""
    found = at_chance(record)
    if not found:
        return ""
    return f" ({len(found)}/{len(record.heads)} chance)" if record.heads else " (chance)"
