"""Specs that a user writes in Python, held against what is declared of a task."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields
from functools import cache
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from adapter_stilts.errors import UserError, few, shown, unknown
from adapter_stilts.heads import KINDS, get_head
from adapter_stilts.metrics import metric_names, metrics_of
from adapter_stilts.registered import unknown_name
from adapter_stilts.tasks.languages import check_language
from adapter_stilts.tasks.spec import (
    SHORTEST,
    FileData,
    HubData,
    Reading,
    Source,
    TaskSpec,
)
from adapter_stilts.tasks.target_spec import Retrieval, TargetSpec

Spec = TypeVar("Spec", TaskSpec, TargetSpec)
_NESTED = (TaskSpec, TargetSpec, Source, FileData, HubData, Reading, Retrieval)
_NAME = re.compile(r"[a-z0-9]+([_-][a-z0-9]+)*")


def check_spec(spec: Spec) -> Spec:
    """The spec, with tuples where its author gave lists.

    Raises:
        UserError: a field has another type than is declared, or a value that cannot be.
    """
    called = f"{type(spec).__name__} {shown(spec.name)}"
    kind: Any = type(spec)  # for mypy a dataclass has no hash
    try:
        found: Spec = _adapter(kind).validate_python(_plain(spec))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(map(str, first["loc"]))
        what = f"{first['msg']}, not {shown(first['input'])}"
        raise UserError(f"{called}: '{field}': {what}") from error
    for field, what in _wrong(found):
        raise UserError(f"{called}: '{field}': {what}")
    for stage in found.training if isinstance(found, TargetSpec) else ():
        check_spec(stage)
    return found


def check_metric(spec: Spec) -> Spec:
    """The spec, if its metric scores its kind of head; a plug-in may add it after the task.

    Raises:
        UserError: it does not, or there is none of that name.
    """
    known = (*get_head(spec.head).metrics, *metrics_of(spec.head))
    if isinstance(spec, TargetSpec) and spec.retrieval:
        known = metric_names()  # of ranks and pairs, for which there is no head
    if spec.metric not in known:
        wrong = unknown_name(f"metric of a {spec.head} head", spec.metric, known)
        raise UserError(f"{type(spec).__name__} {shown(spec.name)}: {wrong}")
    return spec


@cache
def _adapter(kind: type[Any]) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _plain(value: Any) -> Any:
    """Dataclasses of a spec as their fields, which pydantic would otherwise take as they are."""
    if isinstance(value, _NESTED):
        return {each.name: _plain(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, (list, tuple)):
        return type(value)(map(_plain, value))
    return value


def _wrong(spec: TaskSpec | TargetSpec) -> Iterator[tuple[str, str]]:
    """The fields whose values cannot be, and why."""
    if not _NAME.fullmatch(spec.name):
        yield "name", "small letters, digits, - and _ make a name, as in my-task"
    if spec.head not in KINDS:
        yield "head", str(unknown("head", spec.head, KINDS))
        return
    head = get_head(spec.head)
    if len(set(spec.labels)) < len(spec.labels):
        yield "labels", f"one stands there twice ({few(spec.labels)})"
    if head.has_labels and len(spec.labels) < 2:
        yield "labels", "two or more are needed to tell apart"
    if spec.metric in head.of_two and len(spec.labels) > 2:
        yield "metric", f"{spec.metric} is defined for two labels, not for {len(spec.labels)}"
    if head.chooses and spec.choices < 2:
        yield "choices", "two or more options are needed to choose among"
    if spec.max_length < SHORTEST:
        yield "max_length", f"{spec.max_length} tokens are too few: {SHORTEST} are the least"
    if isinstance(spec, TaskSpec):
        try:
            check_language(spec.language)
        except UserError as error:
            yield "language", str(error)
