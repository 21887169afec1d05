"""The work of a merge: loads the modules, merges and perhaps searches, writes the result."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path

import torch

from adapter_stilts.backbones import Backbone, default_device
from adapter_stilts.errors import UserError
from adapter_stilts.heads import PLAIN
from adapter_stilts.modules.composition import Call
from adapter_stilts.modules.engine import Engine, load_engine
from adapter_stilts.modules.heads import load_head
from adapter_stilts.modules.merge_terms import MERGES, checked
from adapter_stilts.modules.merged import add_merged
from adapter_stilts.training.merge_head import Plan, head_for
from adapter_stilts.training.merge_record import Merged, merge_record
from adapter_stilts.training.merge_search import search_weights
from adapter_stilts.zoo.composed import load_leaves
from adapter_stilts.zoo.local import save_module
from adapter_stilts.zoo.record import NO_HEAD, ModuleRecord
from adapter_stilts.zoo.resolved_composition import ModuleReference, ResolvedComposition


def write_merged(
    name: str,
    resolved: ResolvedComposition,
    chosen: ModuleReference | None,
    plan: Plan | None,
    *,
    backbone: Backbone,
    folder: Path,
    precision: str,
    seed: int,
) -> ModuleRecord:
    """Merges the modules of a composition and writes the module.

    Args:
        chosen: the module whose head the merged one gets.
        plan: a search for the weights, if there is to be one.
        precision: of the trunk.

    Raises:
        UserError: the name cannot be a module's, a module is damaged, or a head does not fit.
    """
    if hasattr(torch.nn.ModuleDict, name):
        raise UserError(f"name '{name}': torch has no place for it, choose another one")
    started = time.monotonic()
    with head_for(plan, resolved, backbone.name, chosen) as reference:
        engine = load_engine(backbone, precision=precision, device=default_device())
        made = _merge(engine, name, resolved, reference, plan)
    record = merge_record(made, seed, time.monotonic() - started)
    kind = PLAIN if record.head == NO_HEAD else record.head
    return save_module(engine, record, kind, folder)


def _merge(
    engine: Engine,
    name: str,
    resolved: ResolvedComposition,
    head: ModuleReference | None,
    plan: Plan | None,
) -> Merged:
    call = resolved.expression
    assert isinstance(call, Call)
    parts = tuple(
        load_leaves(engine, dataclasses.replace(resolved, expression=part)) for part in call.parts
    )
    setter = add_merged(engine, name, dataclasses.replace(call, parts=parts))
    if head:
        load_head(engine, name, name, head.folder)
    if not plan:
        return Merged(engine, name, resolved, head, None)
    searched = search_weights(engine, name, call, setter, plan)
    assert call.terms is not None
    terms = dataclasses.replace(call.terms, weights=searched.weights)
    terms = checked(MERGES[call.operator], terms, len(parts))
    found = dataclasses.replace(call, terms=terms)
    return Merged(engine, name, dataclasses.replace(resolved, expression=found), head, searched)
