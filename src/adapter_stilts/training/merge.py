"""Merging modules into one, by weights that are given or searched: no gradients, no training."""

from __future__ import annotations

import dataclasses
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Unpack

from adapter_stilts.backbones import check_precision, find_backbone
from adapter_stilts.compositions import Composition, as_texts
from adapter_stilts.data.load import ExampleSet, load_examples
from adapter_stilts.engine.composition import Call, build_merge, canonical, module_names, parse
from adapter_stilts.engine.native import HEADS, head_name, read_head
from adapter_stilts.errors import UserError, unknown
from adapter_stilts.heads import get_head, has_weights
from adapter_stilts.keywords import checks_keywords, fill
from adapter_stilts.merging.methods import (
    MergeMethod,
    Terms,
    check_density,
    check_terms,
    get_merge,
    least_budget,
)
from adapter_stilts.tasks.registry import get_target
from adapter_stilts.tasks.spec import TargetSpec, TaskSpec
from adapter_stilts.training.folders import check_free
from adapter_stilts.training.options import MergeOptions, MergeRequest, TrainingOptions
from adapter_stilts.training.run import Trained, train
from adapter_stilts.training.spec import TrainingSpec, check_data, check_numbers, default_folder
from adapter_stilts.zoo.choice import ModuleReference, place_of
from adapter_stilts.zoo.resolve import is_module_folder, resolve
from adapter_stilts.zoo.resolved_composition import ResolvedComposition

_NAME = re.compile(r"[A-Za-z0-9_-]+")


@checks_keywords
def merge(sources: Sequence[Composition], **options: Unpack[MergeOptions]) -> Trained:
    """Merges modules into one module on disk, without training.

    The same merges work unwritten in compositions: `stack(ties(squad, mnli), tydiqa)`.

    Args:
        sources: names or folders of two or more modules of one kind, on one backbone; their order
            only matters to the weights.
        options: see `MergeOptions`.

    Raises:
        UserError: unknown modules, one named twice, or of different kinds, shapes or backbones;
            weights that do not fit; a head or a target that does not fit.
    """
    asked = fill(MergeRequest, options)
    check_precision(asked.precision)
    check_numbers(seed=asked.seed, limit=asked.examples, dev_limit=None)
    plan = _plan(asked)
    method = get_merge(asked.how or ("task-arithmetic" if plan else "average"))
    texts = as_texts(sources)
    if plan:
        check_search(plan, method, len(texts))
    kept = 0.0 if asked.density is None else check_density(asked.density)
    seed = asked.seed if method.chance else 0
    terms = Terms(tuple(asked.weights or ()), kept, asked.lora, asked.rank, seed)
    terms = check_terms(method, terms, len(texts))
    resolved = _resolve(texts, method.name, terms, asked.backbone)
    found = find_backbone(place_of(asked.backbone, resolved.backbone))
    name = _name(asked.name, resolved)
    folder = Path(asked.out) if asked.out else default_folder(found, name, None)
    check_free(folder, resume=False, overwrite=asked.overwrite)
    chosen = _source(str(asked.head), resolved) if asked.head else None
    if plan:
        check_data(TrainingSpec((plan.task,)), asked.data)
    from adapter_stilts.training.merge_modules import write_merged  # seconds of imports

    record = write_merged(name, resolved, chosen, plan, asked, backbone=found, folder=folder)
    return Trained(folder, record)


def _plan(asked: MergeRequest) -> Plan | None:
    """The search, if there is one; refuses one without a target, and a target without a search."""
    if asked.search and asked.target is None:
        raise UserError("a search needs a target to search on: --target tydiqa")
    if asked.target is None:
        return None
    if not asked.search:
        raise UserError(f"target {asked.target} says on what to search for weights: add --search")
    return Plan(get_target(asked.target), asked)


def _resolve(
    sources: Sequence[str], how: str, terms: Terms, backbone: str | None
) -> ResolvedComposition:
    parts = [source if is_module_folder(source) else parse(source) for source in sources]
    for part in parts:
        if isinstance(part, Call) and part.terms is None:
            raise UserError(f"'{part}': single modules and merges of them can be merged")
    return resolve(canonical(build_merge(how, parts, terms)), backbone)


def _name(given: str | None, resolved: ResolvedComposition) -> str:
    """What the merged module is called: as given, or after what it is made of."""
    named = module_names(resolved.expression)
    if given is None:
        assert isinstance(resolved.expression, Call)
        ending = "-".join(named) if len(named) <= 4 else f"of-{len(named)}"
        given = re.sub(r"[^A-Za-z0-9_-]+", "-", f"{resolved.expression.operator}-{ending}")
    if not _NAME.fullmatch(given):
        raise UserError(f"name '{given}': only letters, digits, - and _ make a module's name")
    if given in resolved.modules:
        raise UserError(f"name '{given}' is that of a source: choose another one")
    return given


def _source(head: str, resolved: ResolvedComposition) -> ModuleReference:
    """The source whose head was asked for, by its name or as it was given."""
    known: dict[str, ModuleReference] = {}
    for name, reference in resolved.modules.items():
        for task, own in heads_of(reference).items():
            place = reference.folder
            for given in (name, place.name, f"{place.parent.name}/{place.name}", str(place)):
                known[head_name(given, task)] = own
    found = known.get(head) or known.get(str(Path(head)))
    if found is None:
        raise unknown("head of a source", head, known)
    return found


HEAD_EXAMPLES = 1000
"""What a head is trained on, once, where no source has one that fits."""


@dataclass(frozen=True)
class Plan:
    """A search: on which target, and how it was asked for."""

    target: TargetSpec
    asked: MergeRequest

    @property
    def task(self) -> TaskSpec:
        """The target's (last) training task; refuses a target without training data."""
        return self.target.trained_in("en")[-1]

    @cached_property
    def examples(self) -> ExampleSet:
        """The examples to search on, drawn from the training data."""
        count, seed = self.asked.examples, self.asked.seed
        return load_examples(self.task, "train", self.asked.data, limit=count, seed=seed)


def check_search(plan: Plan, method: MergeMethod, count: int) -> None:
    """Refuses a search without training data, weights or budget, before all is loaded."""
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
    """The module whose head a merge gets: the one chosen, if it fits the search, or one that does.

    Of several sources that fit, the one trained on the target itself, then on the task most like
    it, then the first. Where none fits, a head is trained on top of the average of the sources;
    it is gone when the block ends.
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
            t: ModuleReference(reference.folder / HEADS / t, record.at(t)) for t in record.heads
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
    average = dataclasses.replace(resolved, expression=build_merge("average", call.parts, terms))
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
