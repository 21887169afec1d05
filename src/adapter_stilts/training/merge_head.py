"""The head that a search over merges is done with."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from adapter_stilts.data.load import ExampleSet, load_examples
from adapter_stilts.engine.composition import Call, merged
from adapter_stilts.engine.heads import FOLDER
from adapter_stilts.engine.native import read_head
from adapter_stilts.errors import UserError
from adapter_stilts.heads import get_head, has_weights
from adapter_stilts.merging.registry import MergeMethod
from adapter_stilts.merging.search import least_budget
from adapter_stilts.merging.terms import Terms
from adapter_stilts.tasks.spec import TaskSpec
from adapter_stilts.tasks.target_spec import TargetSpec
from adapter_stilts.training.options import MergeRequest, TrainingOptions
from adapter_stilts.training.run import train
from adapter_stilts.training.spec import TrainingSpec
from adapter_stilts.zoo.resolved_composition import ModuleReference, ResolvedComposition

HEAD_EXAMPLES = 1000
"""What a head is trained on, once, where no source has one that fits."""


@dataclass(frozen=True)
class Plan:
    """A search: on which target, and how it was asked for."""

    target: TargetSpec
    asked: MergeRequest

    @property
    def task(self) -> TaskSpec:
        """The target's (last) training task.

        Raises:
            UserError: the target has no training data.
        """
        return self.target.trained_in("en")[-1]

    @cached_property
    def examples(self) -> ExampleSet:
        """The examples to search on, drawn from the training data."""
        count, seed = self.asked.examples, self.asked.seed
        return load_examples(self.task, "train", self.asked.data, limit=count, seed=seed)


def check_search(plan: Plan, method: MergeMethod, count: int) -> None:
    """Refuses a search that cannot be, before anything is loaded.

    Raises:
        UserError: a target without training data, a method without weights, or a budget too small
            for a single step.
    """
    assert plan.task
    if not method.weighted:
        raise UserError(f"{method.name} has no weights to search: linear or task-arithmetic has")
    least = least_budget(count)
    if plan.asked.budget < least:
        raise UserError(f"budget {plan.asked.budget}: a search over {count} weights needs {least}")


@contextmanager
def head_for(
    plan: Plan | None, resolved: ResolvedComposition, backbone: str, chosen: ModuleReference | None
) -> Iterator[ModuleReference | None]:
    """The module whose head a merge gets: the one chosen, or one that fits the search.

    Of several sources that fit, the one trained on the target itself, then on the task most like
    it, then the first. Where none fits, a head is trained on top of the average of the sources;
    it is gone when the block ends.

    Raises:
        UserError: the one chosen does not fit the target.
    """
    if plan is None:
        yield chosen
        return
    if chosen and not fits(chosen, plan):
        raise UserError(
            f"the head of '{chosen.record.name}' ({chosen.record.head}) does not fit "
            f"{plan.target.name}: leave --head out, and one that does is chosen or trained"
        )
    if chosen or not has_weights(plan.task.head):
        yield chosen
        return
    every = [own for reference in resolved.modules.values() for own in heads_of(reference).values()]
    found = [reference for reference in every if fits(reference, plan)]
    if found:
        wanted = (plan.task.name, plan.target.name, plan.target.near)
        yield min(
            found,
            key=lambda reference: (
                wanted.index(reference.record.task) if reference.record.task in wanted else 3
            ),
        )
        return
    with tempfile.TemporaryDirectory(prefix="adstilts-head-") as folder:
        yield _train(plan, resolved, backbone, Path(folder) / "head")


def heads_of(reference: ModuleReference) -> dict[str, ModuleReference]:
    """The heads of a module, as if each were its only one; by task where they are several."""
    record = reference.record
    if record.heads:
        return {
            t: ModuleReference(reference.folder / FOLDER / t, record.at(t)) for t in record.heads
        }
    return {"": reference} if record.has_head else {}


def fits(reference: ModuleReference, plan: Plan) -> bool:
    """Whether a module's head is of the target's kind, with the target's labels in its order."""
    task = plan.task
    if reference.record.head != task.head:
        return False
    labels, choices = read_head(reference.folder)
    kind = get_head(task.head)
    if kind.has_labels:
        return labels == task.labels
    if kind.chooses:
        return choices == task.choices
    if kind.has_tags:
        return {tag for tags in plan.examples.examples["tags"] for tag in tags} <= set(labels)
    return True


def _train(
    plan: Plan, resolved: ResolvedComposition, backbone: str, folder: Path
) -> ModuleReference:
    """A new head on top of the average, learnt in one pass."""
    call = resolved.expression
    assert isinstance(call, Call) and call.terms is not None
    terms = Terms(lora=call.terms.lora, rank=call.terms.rank)
    average = dataclasses.replace(resolved, expression=merged("average", call.parts, terms))
    options: TrainingOptions = {
        "method": "head",
        "data": plan.asked.data,
        "limit": HEAD_EXAMPLES,
        "dev_limit": max(64, HEAD_EXAMPLES // 10),
        "epochs": 1.0,
        "evaluations": 1,
        "precision": plan.asked.precision,
        "seed": plan.asked.seed,
        "out": folder,
        "quiet": plan.asked.quiet,
    }
    trained = train(TrainingSpec((plan.task,), average, fresh_head=True), backbone, options)
    return ModuleReference(trained.path, trained.record)
