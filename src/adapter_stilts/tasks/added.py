"""Tasks that plug-ins have added: what identifies them, and how they are found."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, cast

from adapter_stilts.hashing import text_digest
from adapter_stilts.heads import get_head
from adapter_stilts.tasks.spec import Source, TaskSpec
from adapter_stilts.tasks.target_spec import Category, TargetSpec


def with_identity(task: TaskSpec) -> TaskSpec:
    """The task with a hash of its content, which says that it is none of the package's."""
    return task if task.identity else replace(task, identity=_identity(task))


def target_with_identity(target: TargetSpec) -> TargetSpec:
    """The same for a target, and for the stages of its training."""
    if target.identity:
        return target
    training = tuple(with_identity(stage) for stage in target.training)
    return replace(target, identity=_identity(target), training=training)


def _identity(task: TaskSpec | TargetSpec) -> str:
    from adapter_stilts.data.code_digest import code_digest

    labels = [list(task.labels), list(task.tags), task.choices]
    sources = [_written(source) for source in task.sources]
    content = [task.name, task.head, task.metric, labels, sources, code_digest(task.to_example)]
    return text_digest(json.dumps(content, allow_nan=False), 16)


def _written(source: Source) -> Any:
    hub = source.hub and [source.hub.id, source.hub.revision, repr(source.hub.splits)]
    return [source.name, hub, [repr(layout.paths) for layout in source.files]]


def as_target(task: TaskSpec) -> TargetSpec:
    """A task to train on as one to evaluate, in its own language."""
    task = with_identity(task)
    return TargetSpec(
        name=task.name,
        title=task.title,
        category=cast(Category, get_head(task.head).category),
        head=task.head,
        metric=task.metric,
        suites={},
        sources=task.sources,
        to_example=task.to_example,
        training=(task,),
        licence=task.licence,
        citation=task.citation,
        train_languages=(task.language,),
        labels=task.labels,
        tags=task.tags,
        choices=task.choices,
        repeated_ids=task.repeated_ids,
        max_length=task.max_length,
        identity=task.identity,
        own_languages=task.languages or (task.language,),
    )
