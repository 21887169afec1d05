"""Merging modules into one, by weights that are given or searched: no gradients, no training."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Unpack

from adapter_stilts.backbones import check_precision, find_backbone
from adapter_stilts.compositions import Composition, as_texts
from adapter_stilts.engine.composition import Call, canonical, merged, module_names
from adapter_stilts.engine.composition_text import parse
from adapter_stilts.engine.heads import head_name
from adapter_stilts.errors import UserError, unknown
from adapter_stilts.keywords import checks_keywords
from adapter_stilts.merging.registry import get_merge
from adapter_stilts.merging.terms import Terms, checked, checked_density
from adapter_stilts.tasks.registry import get_target
from adapter_stilts.training.checks import check_data, check_numbers
from adapter_stilts.training.folders import check_free
from adapter_stilts.training.merge_head import Plan, check_search, heads_of
from adapter_stilts.training.options import MergeOptions, MergeRequest
from adapter_stilts.training.run import Trained
from adapter_stilts.training.spec import TrainingSpec, default_folder
from adapter_stilts.zoo.choice import place_of
from adapter_stilts.zoo.resolve import is_module_folder, resolve
from adapter_stilts.zoo.resolved_composition import ModuleReference, ResolvedComposition

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
    asked = MergeRequest(**options)
    check_precision(asked.precision)
    check_numbers(seed=asked.seed, limit=asked.examples, dev_limit=None)
    plan = _plan(asked)
    method = get_merge(asked.how or ("task-arithmetic" if plan else "average"))
    texts = as_texts(sources)
    if plan:
        check_search(plan, method, len(texts))
    kept = 0.0 if asked.density is None else checked_density(asked.density)
    seed = asked.seed if method.chance else 0
    terms = Terms(tuple(asked.weights or ()), kept, asked.lora, asked.rank, seed)
    terms = checked(method, terms, len(texts))
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
    """The search, if there is to be one.

    Raises:
        UserError: it has no target, or there is a target without a search.
    """
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
