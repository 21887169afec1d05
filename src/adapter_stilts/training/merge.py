"""Merging modules into one, by weights that are given or searched: no gradients, no training."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from adapter_stilts.backbones import check_precision, find_backbone
from adapter_stilts.engine.composition import Call, canonical, merged, module_names
from adapter_stilts.engine.composition_text import parse
from adapter_stilts.engine.heads import head_name
from adapter_stilts.errors import UserError, unknown
from adapter_stilts.merging.registry import get_merge
from adapter_stilts.merging.terms import Terms, checked, checked_density
from adapter_stilts.tasks.registry import get_target
from adapter_stilts.tasks.target_spec import TargetSpec
from adapter_stilts.training.checks import check_data, check_numbers
from adapter_stilts.training.merge_head import Plan, check_search, heads_of
from adapter_stilts.training.naming import default_folder
from adapter_stilts.training.run import Trained
from adapter_stilts.training.spec import TrainingSpec
from adapter_stilts.training.unfinished import check_free
from adapter_stilts.zoo.choice import place_of
from adapter_stilts.zoo.resolve import is_module_folder, resolve
from adapter_stilts.zoo.resolved_composition import ModuleReference, ResolvedComposition

_NAME = re.compile(r"[A-Za-z0-9_-]+")


def merge(
    sources: Sequence[str],
    *,
    how: str | None = None,
    weights: Sequence[float] | None = None,
    density: float | None = None,
    lora: str = "products",
    rank: int = 0,
    head: str | None = None,
    search: bool = False,
    target: str | None = None,
    examples: int = 64,
    budget: int = 60,
    data: str | None = None,
    name: str | None = None,
    backbone: str | None = None,
    precision: str = "auto",
    seed: int = 0,
    out: str | Path | None = None,
    overwrite: bool = False,
    quiet: bool = False,
) -> Trained:
    """Merges modules into one module on disk, without training.

    The same merges work unwritten in compositions: `stack(ties(squad, mnli), tydiqa)`.

    Args:
        sources: names or folders of two or more modules of one kind, on one backbone; their order
            only matters to the weights.
        how: `average`, `linear` (weighted mean), `task-arithmetic` (weighted sum), `ties`,
            `dare-ties` or `slerp`. By default `average`, in a search `task-arithmetic`.
        weights: one for each source; in a search, where it begins.
        density: the fraction of values that `ties` and `dare-ties` keep.
        lora: merge LoRAs by `products` or by `factors`.
        rank: of a LoRA merged by products; 0 for the largest of the sources.
        head: the source whose head the merged module gets, of a module of several tasks such as
            `multitask:squad`; by default it has none.
        search: find the weights on a few examples of `target`, without gradients (LoraHub, Huang
            et al. 2023). The head is that of the source that fits the target; where none does,
            one is trained briefly on top of the average.
        target: a target task, such as `tydiqa`; needed for a search, and only there.
        examples: of the target's English training data, to search on.
        budget: weights to try at most.
        data: where the target's data is, as for `train_adapter`.
        name: what the module is called; by default what was merged.
        backbone: chooses among modules of one name; and where it lies, if it has moved.
        precision: of the trunk in a search.
        seed: of what is drawn at random: values to drop, examples, weights to try.
        out: folder of the module; by default `ZOO/BACKBONE/NAME`.
        overwrite: replace a module that lies there.
        quiet: no progress bar.

    Raises:
        UserError: unknown modules, one named twice, or of different kinds, shapes or backbones;
            weights that do not fit; a head or a target that does not fit.
    """
    check_precision(precision)
    check_numbers(seed=seed, limit=examples, dev_limit=None)
    aim = _target(search, target)
    plan = Plan(aim, examples, budget, data, seed, precision, quiet) if aim else None
    method = get_merge(how or ("task-arithmetic" if plan else "average"))
    if plan:
        check_search(plan, method, len(sources))
    kept = 0.0 if density is None else checked_density(density)
    given = Terms(tuple(weights or ()), kept, lora, rank, seed if method.chance else 0)
    terms = checked(method, given, len(sources))
    resolved = _resolve(sources, method.name, terms, backbone)
    place = place_of(backbone, resolved.backbone)
    found = find_backbone(place)
    name = _name(name, resolved)
    folder = Path(out) if out else default_folder(found, name, None)
    check_free(folder, resume=False, overwrite=overwrite)
    chosen = _source(head, resolved) if head else None
    if plan:
        check_data(TrainingSpec((plan.task,)), data)
    from adapter_stilts.training.merge_modules import write_merged  # seconds of imports

    record = write_merged(
        name,
        resolved,
        chosen,
        plan,
        backbone=found,
        folder=folder,
        precision=precision,
        seed=seed,
    )
    return Trained(folder, record)


def _target(search: bool, target: str | None) -> TargetSpec | None:
    """The target to search on, if there is to be a search."""
    if search and target is None:
        raise UserError("a search needs a target to search on: --target tydiqa")
    if not search and target is not None:
        raise UserError(f"target {target} says on what to search for weights: add --search")
    return get_target(target) if target is not None else None


def _resolve(
    sources: Sequence[str], how: str, terms: Terms, backbone: str | None
) -> ResolvedComposition:
    parts = [source if is_module_folder(source) else parse(source) for source in sources]
    for part in parts:
        if isinstance(part, Call) and part.terms is None:
            raise UserError(f"'{part}': single modules and merges of them can be merged")
    return resolve(canonical(merged(how, parts, terms)), backbone)


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
            for given in (name, reference.folder.name, str(reference.folder)):
                known[head_name(given, task)] = own
    found = known.get(head) or known.get(str(Path(head)))
    if found is None:
        raise unknown("head of a source", head, known)
    return found
