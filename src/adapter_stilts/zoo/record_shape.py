"""What a module's record may hold, declared: every field that any code reads has its type here.

A record may come from anybody. What is not as declared is refused where the record is read, so that
no code that reads it has to look again. Fields of later versions are passed over.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, NotRequired

from pydantic import AfterValidator, Field, TypeAdapter, with_config
from typing_extensions import TypedDict

from adapter_stilts.heads import KINDS
from adapter_stilts.safety import OPEN, Count, Like, Line, Lines, demand, is_name, one_of
from adapter_stilts.tasks.spec import SHORTEST

Scores = dict[Line, float]
Curve = list[dict[Line, float]]
Texts = list[Line]
_Tokens = Annotated[int, Field(ge=0, le=1 << 20)]
_Labels = Annotated[Texts, demand(lambda each: len(set(each)) == len(each), "a label stands twice")]
_METRIC = re.compile(r"[a-z0-9]+([_-][a-z0-9]+)*")
"""One of a plug-in need not be here: a module is used without it."""


@with_config(OPEN)
class _Open(TypedDict):
    """An object whose fields that are not declared stay as they are."""


class _Part(_Open):
    """What was read of one source. Records of earlier versions do not count the rows."""

    name: NotRequired[Line]
    files: NotRequired[Texts]
    rows_kept: NotRequired[Count]
    rows_bad: NotRequired[Count]


class _Examples(_Open):
    """Training or dev examples."""

    origin: NotRequired[Line]
    fingerprint: NotRequired[Line]
    examples: Count
    parts: NotRequired[list[_Part]]
    chance: NotRequired[Scores]


class _Data(_Open):
    """Of a merge without a head there are no examples."""

    train: NotRequired[_Examples]
    dev: NotRequired[_Examples]
    labels: NotRequired[Count]
    language: NotRequired[Line | None]
    tags: NotRequired[Texts]


class _Asked(_Open):
    steps: NotRequired[Count | None]
    lr: NotRequired[float | None]


class _Recipe(_Open):
    """What is read of it; the rest is shown."""

    max_length: _Tokens
    stride: _Tokens
    method: NotRequired[Line]
    lr: NotRequired[float]
    seed: NotRequired[Count]
    limit: NotRequired[Count | None]
    dev_limit: NotRequired[Count | None]
    fresh_head: NotRequired[bool]
    temperature: NotRequired[float | None]
    normalise_losses: NotRequired[bool]
    mlm_text: NotRequired[Line | None]
    mlm_share: NotRequired[float | None]
    asked: NotRequired[_Asked]


class _Spec(_Open):
    title: Line
    metric: Annotated[str, demand(_METRIC.fullmatch, "{} is no name of a metric")]
    licence: Line
    citation: Line
    labels: _Labels
    choices: _Tokens
    max_length: Annotated[int, Field(ge=SHORTEST, le=1 << 20)]
    unanswerable: bool
    language: Line
    evaluated: Texts
    datasets: Lines
    identity: Line


class _Head(_Open):
    head: Annotated[str, one_of(KINDS)]
    labels: _Labels
    choices: NotRequired[Count]
    max_length: Annotated[int, Field(ge=SHORTEST, le=1 << 20)]
    scores: Annotated[Scores, Field(min_length=1)]
    parameters: Count
    train: _Examples
    dev: _Examples
    no_answer_threshold: float | None
    spec: NotRequired[_Spec]


class _Backbone(_Open):
    name: Line
    revision: NotRequired[Line]
    model_type: NotRequired[Line]
    fingerprint: NotRequired[Line]


class _Base(_Open):
    run: Line
    path: NotRequired[Line]
    hub: NotRequired[Line]
    fuses: NotRequired[Line]


class _Origin(_Open):
    hub: NotRequired[Line]
    revision: NotRequired[Line]
    folder: NotRequired[Line]


class _Command(_Open):
    tasks: NotRequired[Texts]
    head: NotRequired[Line]
    data: NotRequired[Line]
    train_file: NotRequired[Line]
    dev_file: NotRequired[Line]
    text: NotRequired[Line]
    plugins: NotRequired[Texts]
    packages: NotRequired[Texts]


class _Source(_Open):
    run: Line
    task: Line
    licence: NotRequired[Line]


class _Search(_Open):
    examples: Count
    target: Line
    evaluations: Count
    loss_before: float
    loss_after: float


class _OwnHead(_Open):
    name: Line


class _Merged(_Open):
    sources: dict[Line, _Source]
    weights: Scores
    expression: Line
    how: Line
    head: NotRequired[_OwnHead]
    search: NotRequired[_Search]


def _where_any(kind: type[Any]) -> AfterValidator:
    """In an annotation of a `dict`: of that shape, or with nothing in it."""
    declared: TypeAdapter[Any] = TypeAdapter(kind)
    return AfterValidator(lambda given: dict(declared.validate_python(given)) if given else {})


_TASK = demand(re.compile(r"[\w+-]+").fullmatch, "that is no name of a folder")
Name = Annotated[str, demand(is_name, "that is no name of a module")]
Data = Annotated[dict[str, Any], Like(_Data)]
Recipe = Annotated[dict[str, Any], Like(_Recipe)]
Heads = dict[Annotated[str, _TASK], Annotated[dict[str, Any], Like(_Head)]]
BackboneEntry = Annotated[dict[str, str], Like(_Backbone)]
Bases = dict[Line, Annotated[dict[str, str], Like(_Base)]]
Origin = Annotated[dict[str, str], Like(_Origin)]
Command = Annotated[dict[str, Any], Like(_Command)]
Spec = Annotated[dict[str, Any], _where_any(_Spec)]
"""Nothing in records of earlier versions, and of modules of no task."""
Merged = Annotated[dict[str, Any], _where_any(_Merged)]
