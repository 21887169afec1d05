"""Dev scores computed anew, to be compared with those of the record."""

from __future__ import annotations

from typing import Any

from adapter_stilts.data.load import ExampleSet, load_examples
from adapter_stilts.errors import FailureError, UserError
from adapter_stilts.tasks.registry import target_tasks
from adapter_stilts.tasks.spec import TaskSpec
from adapter_stilts.zoo.module import Module
from adapter_stilts.zoo.record import NO_HEAD
from adapter_stilts.zoo.verify import TOLERANCE, Check


def check_scores(module: Module, data: str | None) -> Check:
    """Whether a module's dev scores come out again; undecided where the data is not the same."""
    if module.record.heads:
        return Check("scores", None, "not checked: it has a head for each of several tasks")
    if module.record.head == NO_HEAD:
        return Check("scores", None, "not checked: it was saved without a head")
    try:
        dev = _dev_examples(module, data)
    except (UserError, FailureError) as error:
        return Check("scores", None, f"not checked: {error}")
    if dev is None:
        return Check("scores", None, "not checked: the dev data here is not what it was scored on")
    rows: list[Any] = dev.examples.to_list()
    found = module.score(rows)
    recorded = module.record.scores
    off = {
        key: (value, found[key])
        for key, value in recorded.items()
        if key in found and abs(found[key] - value) > TOLERANCE
    }
    if off:
        listed = ", ".join(f"{key} {old:.2f}, now {new:.2f}" for key, (old, new) in off.items())
        return Check("scores", False, f"on {len(rows):,} dev examples: recorded {listed}")
    shown = ", ".join(f"{key} {found[key]:.2f}" for key in recorded if key in found)
    return Check("scores", True, f"on {len(rows):,} dev examples: {shown}")


def _task(module: Module) -> TaskSpec:
    """The task as it was learnt: a target's stage, in its source language."""
    language = str(module.record.data.get("language") or "en")
    stages = (
        stage
        for target in target_tasks().values()
        if language in target.train_languages and target.training
        for stage in target.trained_in(language)
        if stage.name == module.record.task
    )
    return next(stages, module.task)


def _dev_examples(module: Module, data: str | None) -> ExampleSet | None:
    """The examples that the record names, by their fingerprint."""
    recorded = module.record.data.get("dev")
    if not isinstance(recorded, dict):
        return None
    seed = module.record.recipe.get("seed", 0)
    count = recorded.get("examples")
    for limit in (None, count if isinstance(count, int) and count > 0 else None):
        found = load_examples(
            _task(module), "dev", data, limit=limit, seed=seed if isinstance(seed, int) else 0
        )
        if found.fingerprint == recorded.get("fingerprint"):
            return found
    return None
