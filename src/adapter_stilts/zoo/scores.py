"""Dev scores computed anew, to be compared with those of the record."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from adapter_stilts.data.load import ExampleSet, load_examples
from adapter_stilts.engine.heads import head_name
from adapter_stilts.errors import FailureError, UserError
from adapter_stilts.inference.run import default_batch_tokens
from adapter_stilts.tasks.registry import target_tasks
from adapter_stilts.tasks.spec import TaskSpec
from adapter_stilts.zoo.known_task import is_own
from adapter_stilts.zoo.module import Module
from adapter_stilts.zoo.record import NO_HEAD, ModuleRecord
from adapter_stilts.zoo.verify import TOLERANCE, Check


@dataclass(frozen=True)
class DevScores:
    """Scores in percent, of a module of several tasks as `task.metric`, and of how many examples.

    What a metric finds that is no score (a threshold) is not among them.
    """

    examples: int
    scores: dict[str, float]


def check_scores(module: Module, data: str | None) -> Check:
    """Whether a module's dev scores come out again; undecided where the data is not the same."""
    if module.record.head == NO_HEAD:
        return Check("scores", None, "not checked: it was saved without a head")
    try:
        found = dev_scores(module, data)
    except (UserError, FailureError) as error:
        return Check("scores", None, f"not checked: {error}")
    if found is None:
        return Check("scores", None, "not checked: the dev data here is not what it was scored on")
    recorded = recorded_scores(module.record)
    off = {
        key: (recorded[key], value)
        for key, value in found.scores.items()
        if abs(value - recorded[key]) > TOLERANCE
    }
    if off:
        listed = ", ".join(f"{key} {old:.2f}, now {new:.2f}" for key, (old, new) in off.items())
        return Check("scores", False, f"on {found.examples:,} dev examples: recorded {listed}")
    shown = ", ".join(f"{key} {value:.2f}" for key, value in found.scores.items())
    return Check("scores", True, f"on {found.examples:,} dev examples: {shown}")


def dev_scores(module: Module, data: str | None) -> DevScores | None:
    """The module's scores on the dev examples that its record names; None if they are not here.

    Of a module of several tasks, every head is tried on its own task's.

    Raises:
        UserError, FailureError: the data cannot be read.
    """
    examples = 0
    scores: dict[str, float] = {}
    for part in _parts(module):
        dev = _dev_examples(part, data)
        if dev is None:
            return None
        rows: list[Any] = dev.examples.to_list()
        found = part.score(rows, batch_tokens=default_batch_tokens(module.engine.device))
        start = f"{part.record.task}." if module.record.heads else ""
        examples += len(rows)
        scores |= {f"{start}{key}": found[key] for key in _percent(part.record.scores, found)}
    return DevScores(examples, scores)


def recorded_scores(record: ModuleRecord) -> dict[str, float]:
    """The record's scores by the names that `DevScores` has for them."""
    if not record.heads:
        return dict(record.scores)
    return {
        f"{task}.{key}": value
        for task, head in record.heads.items()
        for key, value in head["scores"].items()
    }


def _percent(recorded: Mapping[str, float], found: Mapping[str, float]) -> list[str]:
    return [key for key in recorded if key in found and not key.endswith("_threshold")]


def _parts(module: Module) -> Iterator[Module]:
    """The module, or if it is of several tasks, with the head of one after the other."""
    if not module.record.heads:
        yield module
    for task in module.record.heads:
        name = head_name(module.name, task)
        module.engine.model.active_head = name  # until the next one is
        yield dataclasses.replace(module, record=module.record.at(task), name=name)


def _task(module: Module) -> TaskSpec:
    """The task as it was learnt: a target's stage, in its source language."""
    language = str(module.record.data.get("language") or "en")
    stages = (
        stage
        for target in target_tasks().values()
        if module.record.task in {stage.name for stage in target.training}
        for stage in target.trained_in(language)
        if stage.name == module.record.task
    )
    task = module.task if is_own(module.record) else next(stages, module.task)
    own = module.record.data.get("tags")  # a set of the user's own
    return dataclasses.replace(task, tags=tuple(map(str, own))) if isinstance(own, list) else task


def _dev_examples(module: Module, data: str | None) -> ExampleSet | None:
    """The examples that the record names, by their fingerprint.

    Records of earlier versions name what the examples were read from.
    """
    if is_own(module.record):
        raise UserError("its task is a user's own, whose data its task file alone names")
    recorded = module.record.data.get("dev")
    if not isinstance(recorded, dict):
        return None
    seed = module.record.recipe.get("seed", 0)
    count = recorded.get("examples")
    for limit in (None, count if isinstance(count, int) and count > 0 else None):
        found = load_examples(
            _task(module), "dev", data, limit=limit, seed=seed if isinstance(seed, int) else 0
        )
        if recorded.get("fingerprint") in (found.fingerprint, found.read_from):
            return found
    return None
