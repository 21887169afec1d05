"""Finds the tasks: those of `tasks.intermediate` and `tasks.target`, plug-ins', and a user's specs.

Every module of the two packages defines a `TASK`. A spec that a user writes in Python is held
against what is declared of a task.
"""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import re
from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from functools import cache, lru_cache
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from adapter_stilts.errors import UserError, few, shown, unknown
from adapter_stilts.hashing import text_digest
from adapter_stilts.heads import KINDS, get_head
from adapter_stilts.metrics import metric_names, metrics_of
from adapter_stilts.paths import is_file
from adapter_stilts.registered import Registered, additions, unknown_name
from adapter_stilts.tasks import intermediate, target
from adapter_stilts.tasks.languages import check_language
from adapter_stilts.tasks.spec import (
    SHORTEST,
    FileData,
    HubData,
    Reading,
    Retrieval,
    Source,
    Spec,
    TargetSpec,
    TaskSpec,
    target_of,
)

if TYPE_CHECKING:
    from adapter_stilts.own.build import OwnTask

Kind = TypeVar("Kind", bound=Spec)
_NESTED = (TaskSpec, TargetSpec, Source, FileData, HubData, Reading, Retrieval)
_NAME = re.compile(r"[a-z0-9]+([_-][a-z0-9]+)*")


def _declared(package: ModuleType) -> Iterator[Any]:
    for info in sorted(pkgutil.iter_modules(package.__path__), key=lambda info: info.name):
        yield importlib.import_module(f"{package.__name__}.{info.name}").TASK


@cache
def intermediate_tasks() -> Mapping[str, TaskSpec]:
    """The intermediate tasks by name, in alphabetical order."""
    return MappingProxyType({task.name: task for task in _declared(intermediate)})


@cache
def target_tasks() -> Mapping[str, TargetSpec]:
    """The target tasks by name, in alphabetical order."""
    return MappingProxyType({task.name: task for task in _declared(target)})


@cache
def _trained() -> Mapping[str, TaskSpec]:
    """Every task that a module can be trained on: intermediate ones and the targets' stages."""
    stages = {stage.name: stage for task in target_tasks().values() for stage in task.training}
    return {**stages, **intermediate_tasks()}


@lru_cache(maxsize=1024)
def _key(name: str) -> str:
    """Spelling that does not matter: case, dashes, underscores, dots and spaces."""
    return "".join(char for char in name.lower() if char.isalnum() or char == "+")


def _named(name: str, tasks: Mapping[str, Any]) -> Any:
    """The task of that name or alias, or None."""
    by_key = {_key(known): task for task in tasks.values() for known in (task.name, *task.aliases)}
    return by_key.get(_key(name))


def _find(kind: str, name: str, tasks: Mapping[str, Any]) -> Any:
    task = _named(name, tasks)
    if task is None and is_file(name):
        raise UserError(f"'{name}' is no task file: the name of one ends in .yaml")
    if task is None:
        raise unknown_name(kind, name, tasks)
    return task


def _all_added() -> Mapping[str, TaskSpec | TargetSpec]:
    """The tasks that plug-ins have added, by name."""
    return {name: each.value for name, each in additions("task").items()}


def _added(name: str) -> TaskSpec | TargetSpec | None:
    found: TaskSpec | TargetSpec | None = _named(name, _all_added())
    return found


def find_added(name: str) -> Registered | None:
    """What a plug-in, a script or a notebook has added as the task of that name or alias."""
    own = _added(name)
    return additions("task")[own.name] if own else None


def is_task_file(name: str) -> bool:
    """Whether a task is named by a file of the user's own."""
    return name.lower().endswith((".yaml", ".yml"))


def built_in(name: str) -> str:
    """The name of the package's task that is called so, however spelt; else an empty text."""
    task = _named(name, {**target_tasks(), **_trained()})
    return task.name if task else ""


def get_task(name: str | Path | TaskSpec) -> TaskSpec:
    """The intermediate task of that name or alias; spelling of dashes and case is free.

    A user's own task is named by its task file. Give this what the user wrote, never what a
    module says: it reads the file.

    Raises:
        UserError: no task has that name; near names are suggested. Or it is a target.
    """
    if isinstance(name, TaskSpec):
        return _checked(name)
    name = _text(name)
    if is_task_file(name):
        return _own(name).task
    if own := _added(name):
        if isinstance(own, TaskSpec):
            return _checked(own)
        return own.trained_in(own.train_languages[0])[-1]
    if target := _named(name, target_tasks()):
        raise UserError(
            f"{target.name} is a target task, not an intermediate one: "
            f"`adstilts train-target {target.name}` trains a module for it, "
            f"`adstilts evaluate {target.name}` tries one in its languages"
        )
    task: TaskSpec = _find("task", name, {**intermediate_tasks(), **_all_added()})
    return task


def _text(name: object) -> str:
    """What a user gave in place of a task, if it can be a name or a path."""
    if not isinstance(name, (str, os.PathLike)):
        what = "a task is a name, the path of a task file, or a spec"
        raise UserError(f"{shown(name)} is no task: {what}")
    return str(name)


def _checked(spec: Kind) -> Kind:
    """A spec from Python; refuses one with values that cannot be, or the name of another task."""
    tasks: Mapping[str, TaskSpec | TargetSpec]
    tasks = target_tasks() if isinstance(spec, TargetSpec) else _trained()
    own = tasks.get(spec.name)
    if own and (own.head, own.metric) == (spec.head, spec.metric):
        return spec
    if known := built_in(spec.name):
        raise UserError(f"the package has a task '{known}' already, so give yours another name")
    return check_metric(check_spec(spec))


def _own(name: str) -> OwnTask:
    from adapter_stilts.own.build import load_task_file  # which reads data

    return load_task_file(Path(name))


def get_target(name: str | Path | TargetSpec | TaskSpec) -> TargetSpec:
    """The target task of that name or alias, or of a task file, as for `get_task`.

    Raises:
        UserError: no target has that name; near names are suggested. Or it is an intermediate task.
    """
    if isinstance(name, TargetSpec):
        return _checked(name)
    if isinstance(name, TaskSpec):
        return as_target(_checked(name))
    name = _text(name)
    if is_task_file(name):
        return _own(name).target
    if own := _added(name):
        return own if isinstance(own, TargetSpec) else as_target(own)
    if task := _named(name, intermediate_tasks()):
        raise UserError(
            f"{task.name} is an intermediate task, not a target: "
            f"`adstilts train-adapter {task.name}` trains a module for it, and a target can be "
            f"learnt on that, as in `adstilts train-target {_like(task)} --on {task.name}`"
        )
    target: TargetSpec = _find("target task", name, {**target_tasks(), **_all_added()})
    return target


def _like(task: TaskSpec) -> str:
    """The target that an intermediate task is most like, of those that can be trained."""
    return min(
        (each for each in target_tasks().values() if each.training),
        key=lambda each: (
            each.near != task.name,
            each.head != task.head,
            each.labels != task.labels,
            each.name,
        ),
    ).name


def find_either(name: str) -> TaskSpec | TargetSpec:
    """The task of that name, of a file what is evaluated; refuses what neither kind has."""
    if is_task_file(name):
        return get_target(name)
    if own := _added(name):
        return own if isinstance(own, TargetSpec) else as_target(own)
    known = {**intermediate_tasks(), **target_tasks(), **_all_added()}
    found: TaskSpec | TargetSpec = _find("task", name, known)
    return found


def is_built_in(task: TaskSpec) -> bool:
    """Whether a task is the package's own, or one made of it, such as a target in one language."""
    known = _trained().get(task.name)
    return known is not None and (known.head, known.metric) == (task.head, task.metric)


def get_trained(name: str) -> TaskSpec:
    """The task of a record, an intermediate one or a stage of a target's; refuses other names."""
    task: TaskSpec = _find("task", name, _trained())
    return task


def with_identity(spec: Kind) -> Kind:
    """The spec, and a target's stages, with a hash of the content: it is none of the package's."""
    from adapter_stilts.hashing import code_digest

    if spec.identity:
        return spec
    labels = [list(spec.labels), list(spec.tags), spec.choices]
    sources = [_written(source) for source in spec.sources]
    content = [spec.name, spec.head, spec.metric, labels, sources, code_digest(spec.to_example)]
    made: dict[str, Any] = {"identity": text_digest(json.dumps(content, allow_nan=False), 16)}
    if isinstance(spec, TargetSpec):
        made["training"] = tuple(map(with_identity, spec.training))
    return replace(spec, **made)


def _written(source: Source) -> Any:
    hub = source.hub and [source.hub.id, source.hub.revision, repr(source.hub.splits)]
    return [source.name, hub, [repr(layout.paths) for layout in source.files]]


def as_target(task: TaskSpec) -> TargetSpec:
    """A task to train on as one to evaluate, in its own language."""
    task = with_identity(task)
    languages = task.languages or (task.language,)
    return replace(target_of(task), identity=task.identity, own_languages=languages)


def check_spec(spec: Kind) -> Kind:
    """The spec, with tuples for lists; refuses fields of another type, and what cannot be."""
    called = f"{type(spec).__name__} {shown(spec.name)}"
    kind: Any = type(spec)  # for mypy a dataclass has no hash
    try:
        found: Kind = _adapter(kind).validate_python(_plain(spec))
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


def check_metric(spec: Kind) -> Kind:
    """The spec; refuses a metric, which a plug-in may add later, that does not score its head."""
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


def _wrong(spec: Spec) -> Iterator[tuple[str, str]]:
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
