"""What a module's record says of its task, so that the module works where the task is unknown."""

from __future__ import annotations

from typing import Any, NoReturn

from adapter_stilts.errors import UserError
from adapter_stilts.tasks.registry import get_trained, is_built_in
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
    if record.spec and (is_own(record) or not _knows(record.task)):
        return _as_recorded(record)
    return get_trained(record.task)


def _knows(task: str) -> bool:
    try:
        get_trained(task)
    except UserError:
        return False
    return True


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
