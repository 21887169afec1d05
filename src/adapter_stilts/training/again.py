"""What a record keeps so that one command makes its module again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from adapter_stilts.data.folders import Files, given_files
from adapter_stilts.data.load import resolve_where
from adapter_stilts.engine.composition import Call, Expression
from adapter_stilts.registered import Kind, Registered, additions
from adapter_stilts.tasks.registry import find_added, is_built_in, is_task_file
from adapter_stilts.tasks.spec import TaskSpec
from adapter_stilts.tasks.target_spec import TargetSpec
from adapter_stilts.training.spec import Request, TrainingSpec


def named(task: str | Path | TaskSpec | TargetSpec) -> str:
    """How a command names a task that was given so: its name, or the whole path of its file."""
    if isinstance(task, (TaskSpec, TargetSpec)):
        return task.name
    return whole(task) if is_task_file(str(task)) else str(task)


def whole(path: str | Path) -> str:
    """The path from the root, which means the same in every folder."""
    return str(Path(path).expanduser().absolute())


def command_entry(asked: Request) -> dict[str, Any]:
    """What that command names beside the recipe, the modules below and the numbers of examples.

    `tasks` is empty where there can be none: a script or a notebook has registered the task, its
    metric or the method, or nobody has registered a spec.
    """
    spec, options = asked.spec, asked.options
    if spec.text:
        return {"text": whole(spec.text)}
    names = spec.named or tuple(task.name for task in spec.tasks)
    plug_ins = {each.by for each in _registered(spec, names, asked.recipe.method)}
    known = "" not in plug_ins and (bool(spec.head) or all(map(_is_known, spec.tasks, names)))
    where = resolve_where(options.data)
    files: Files = options.files if spec.head else given_files(spec.tasks[0])
    entry: dict[str, Any] = {
        "head": spec.head,
        "data": where if where in ("hub", "sample") else whole(where),
        **{f"{split}_file": whole(path) for split, path in files.items() if path},
        "plugins": sorted(each for each in plug_ins if Path(each).is_absolute()),
        "packages": sorted(each for each in plug_ins if each and not Path(each).is_absolute()),
    }
    return {"tasks": list(names) * known, **{key: each for key, each in entry.items() if each}}


def _registered(spec: TrainingSpec, names: tuple[str, ...], method: str) -> Iterator[Registered]:
    """What the training uses that is none of the package's."""
    yield from filter(None, map(find_added, names))
    below = spec.on.methods.values() if spec.on else ()
    used: dict[Kind, Iterable[str]] = {
        "metric": [task.metric for task in spec.tasks],
        "adapter method": [method, *below],
        "merge method": set(_operators(spec.on.expression)) if spec.on else (),
    }
    for kind, called in used.items():
        yield from (additions(kind)[name] for name in called if name in additions(kind))


def _operators(expression: Expression) -> Iterator[str]:
    if isinstance(expression, Call):
        yield expression.operator
        for part in expression.parts:
            yield from _operators(part)


def _is_known(task: TaskSpec, name: str) -> bool:
    """Whether a command finds the task by that name."""
    return is_built_in(task) or is_task_file(name) or find_added(name) is not None
