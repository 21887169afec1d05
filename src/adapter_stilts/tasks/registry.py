"""Finds the tasks: every module in `tasks.intermediate` that defines `TASK`."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType

from adapter_stilts.errors import unknown
from adapter_stilts.tasks import intermediate
from adapter_stilts.tasks.spec import TaskSpec


@cache
def intermediate_tasks() -> Mapping[str, TaskSpec]:
    """The intermediate tasks by name, in alphabetical order."""
    found: dict[str, TaskSpec] = {}
    for info in sorted(pkgutil.iter_modules(intermediate.__path__), key=lambda info: info.name):
        module = importlib.import_module(f"{intermediate.__name__}.{info.name}")
        task = module.TASK
        found[task.name] = task
    return MappingProxyType(found)


def _key(name: str) -> str:
    """Spelling that does not matter: case, dashes, underscores, dots and spaces."""
    return "".join(char for char in name.lower() if char.isalnum() or char == "+")


def get_task(name: str) -> TaskSpec:
    """The task of that name or alias; spelling of dashes, underscores and case is free.

    Raises:
        UserError: no task has that name; near names are suggested.
    """
    tasks = intermediate_tasks()
    by_key = {_key(known): task for task in tasks.values() for known in (task.name, *task.aliases)}
    task = by_key.get(_key(name))
    if task is None:
        raise unknown("task", name, tasks)
    return task
