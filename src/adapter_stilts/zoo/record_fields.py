"""What the fields of a module's record may hold: the file may come from anybody."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any, NotRequired

from pydantic import AfterValidator, Field, TypeAdapter, with_config
from typing_extensions import TypedDict

from adapter_stilts.heads import KINDS
from adapter_stilts.safety import is_name
from adapter_stilts.schema import OPEN, Count, Like, Line, Lines, demand, one_of
from adapter_stilts.tasks.spec import SHORTEST

MULTITASK = "multitask"
"""What stands in the record of a module of several tasks where others name their task or head."""
NO_HEAD = "none"
"""The head of a merge that was given none, and of a language's module. (Of the kind `embedding`,
the trunk is the head.)"""


Scores = dict[Line, float]
Curve = list[dict[Line, float]]
_Labels = Annotated[
    list[Line], demand(lambda each: len(set(each)) == len(each), "a label stands there twice")
]
_METRIC = re.compile(r"[a-z0-9]+([_-][a-z0-9]+)*")
"""One of a plug-in need not be here: a module is used without it."""


@with_config(OPEN)
class _Recipe(TypedDict):
    """Loading reads two numbers; the rest is shown."""

    max_length: Annotated[int, Field(ge=0, le=1 << 20)]
    stride: Annotated[int, Field(ge=0, le=1 << 20)]


@with_config(OPEN)
class _Spec(TypedDict):
    title: Line
    metric: Annotated[str, demand(_METRIC.fullmatch, "{} is no name of a metric")]
    licence: Line
    citation: Line
    labels: _Labels
    choices: Annotated[int, Field(ge=0, le=1 << 20)]
    max_length: Annotated[int, Field(ge=SHORTEST, le=1 << 20)]
    unanswerable: bool
    language: Line
    evaluated: list[Line]
    datasets: Lines
    identity: Line


@with_config(OPEN)
class _Head(TypedDict):
    head: Annotated[str, one_of(KINDS)]
    labels: _Labels
    choices: NotRequired[Count]
    max_length: Annotated[int, Field(ge=SHORTEST, le=1 << 20)]
    scores: Annotated[Scores, Field(min_length=1)]
    parameters: Count
    train: dict[str, Any]
    dev: dict[str, Any]
    no_answer_threshold: float | None
    spec: NotRequired[_Spec]


@with_config(OPEN)
class _Source(TypedDict):
    run: Line
    task: Line
    licence: NotRequired[Line]


@with_config(OPEN)
class _Merged(TypedDict):
    """Lists show the licences of the sources' tasks; the rest is shown."""

    sources: NotRequired[dict[Line, _Source]]
    weights: NotRequired[dict[Line, float]]


_SPEC = TypeAdapter(_Spec)


def _spec(given: dict[str, Any]) -> dict[str, Any]:
    """Nothing in records of earlier versions, and of modules of no task."""
    return dict(_SPEC.validate_python(given)) if given else {}


Name = Annotated[str, demand(is_name, "that is no name of a module")]
Kind = Annotated[str, one_of((*KINDS, MULTITASK, NO_HEAD))]
Recipe = Annotated[dict[str, Any], Like(_Recipe)]
Spec = Annotated[dict[str, Any], AfterValidator(_spec)]
_TASK = demand(re.compile(r"[\w+-]+").fullmatch, "that is no name of a folder")
Heads = dict[Annotated[str, _TASK], Annotated[dict[str, Any], Like(_Head)]]
Bases = dict[Line, Lines]
Merged = Annotated[dict[str, Any], Like(_Merged)]
Evaluations = dict[Line, dict[Line, Scores]]


def texts_in(value: Any) -> Iterator[str]:
    """Every text in a JSON value, the names of its fields included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from texts_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from texts_in(inner)
