"""The work of a merge: loads the modules, merges and perhaps searches, writes the result."""

from __future__ import annotations

import dataclasses
import json
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from adapter_stilts.backbones import Backbone
from adapter_stilts.engine.composition import Call, canonical
from adapter_stilts.engine.engine import (
    Engine,
    activate_block,
    forward,
    load_engine,
    module_parameters,
)
from adapter_stilts.engine.merged import Setter, add_merged
from adapter_stilts.engine.methods import get_method
from adapter_stilts.engine.native import head_labels, load_head
from adapter_stilts.environment import made_here
from adapter_stilts.errors import NotFiniteError, UserError
from adapter_stilts.features import build_features, collate, longest_first
from adapter_stilts.hashing import json_digest, text_digest
from adapter_stilts.heads import PLAIN, get_head
from adapter_stilts.heads.base import Encoding
from adapter_stilts.inference.predictions import default_batch_tokens
from adapter_stilts.inference.vectors import dual_encoder_loss
from adapter_stilts.merging.blend import Found, Point, search_weights
from adapter_stilts.merging.methods import MERGES, check_terms, full_weights
from adapter_stilts.training.merge import Plan, head_for
from adapter_stilts.training.options import MergeRequest
from adapter_stilts.zoo.choice import ModuleReference
from adapter_stilts.zoo.local import load_leaves, save_module
from adapter_stilts.zoo.provenance import is_own, licence_of
from adapter_stilts.zoo.record import NO_HEAD, ModuleRecord
from adapter_stilts.zoo.resolved_composition import ResolvedComposition


def write_merged(
    name: str,
    resolved: ResolvedComposition,
    chosen: ModuleReference | None,
    plan: Plan | None,
    asked: MergeRequest,
    *,
    backbone: Backbone,
    folder: Path,
) -> ModuleRecord:
    """Merges the modules of a composition and writes the module; refuses damaged ones.

    It gets the head of `chosen`; `plan` is a search for the weights, if there is to be one.
    """
    if hasattr(torch.nn.ModuleDict, name):
        raise UserError(f"name '{name}': torch has no place for it, choose another one")
    started = time.monotonic()
    with head_for(plan, resolved, backbone.name, chosen) as head:
        engine = load_engine(backbone, precision=asked.precision)
        resolved, searched = _merge(engine, name, resolved, head, plan)
    made = _record(engine, name, resolved, head, searched, asked.seed)
    record = replace(made, seconds=time.monotonic() - started)
    kind = PLAIN if record.head == NO_HEAD else record.head
    return save_module(engine, record, kind, folder)


def _merge(
    engine: Engine,
    name: str,
    resolved: ResolvedComposition,
    head: ModuleReference | None,
    plan: Plan | None,
) -> tuple[ResolvedComposition, Searched | None]:
    """Adds the merged module to the engine; the merge as it was done, and what was searched."""
    call = resolved.expression
    assert isinstance(call, Call) and call.terms is not None
    parts = tuple(load_leaves(engine, replace(resolved, expression=part)) for part in call.parts)
    setter = add_merged(engine, name, replace(call, parts=parts))
    if head:
        load_head(engine, name, name, head.folder)
    if not plan:
        return resolved, None
    searched = search_merge(engine, name, call, setter, plan)
    terms = replace(call.terms, weights=searched.weights)
    terms = check_terms(MERGES[call.operator], terms, len(parts))
    return replace(resolved, expression=replace(call, terms=terms)), searched


def _record(
    engine: Engine,
    name: str,
    resolved: ResolvedComposition,
    head: ModuleReference | None,
    found: Searched | None,
    seed: int,
) -> ModuleRecord:
    """The record of a merged module: its head's, with all that the merge makes different."""
    own = head.record if head else resolved.record
    searched = dataclasses.asdict(found) if found else {}
    about = _about(resolved, head)
    wanted = int(own.recipe["max_length"])
    decides = [resolved.identity, own.run if head else "", searched]
    return replace(
        own,
        name=name,
        run=text_digest(json.dumps(decides, allow_nan=False), 16),
        method=next(iter(resolved.methods.values())),
        composition=name,
        backbone={**own.backbone, "name": engine.backbone.name},
        # Modules of other programs do not say how long their sequences were.
        recipe={**own.recipe, "seed": seed, "max_length": min(wanted, engine.backbone.max_length)},
        scores={},
        parameters=sum(p.numel() for p in module_parameters(engine, name).values()),
        steps=0,
        best_step=0,
        **made_here(),
        files={},
        bases={},
        evaluations={},
        origin={},
        command={},
        merged={**about, **({"search": searched} if searched else {})},
    )


def _about(resolved: ResolvedComposition, head: ModuleReference | None) -> dict[str, Any]:
    """What the record says of the merge."""
    merge = resolved.expression
    assert isinstance(merge, Call) and merge.terms is not None
    method, terms = MERGES[merge.operator], merge.terms
    weights = full_weights(method, terms, len(merge.parts))
    lora = get_method(next(iter(resolved.methods.values()))).family == "lora"
    own = {key: getattr(head.record, key) for key in ("name", "task", "run")} if head else {}
    return {
        "expression": canonical(merge),
        "how": method.name,
        "weights": dict(zip(map(canonical, merge.parts), weights, strict=True)),
        **({"density": terms.density or method.density} if method.density else {}),
        **({"lora": terms.lora} if lora else {}),
        **({"seed": terms.seed} if method.chance else {}),
        "sources": {
            name: {
                "run": reference.record.run,
                "path": str(reference.folder),
                "task": reference.record.task,
                **({"licence": licence_of(reference.record)} if is_own(reference.record) else {}),
            }
            for name, reference in resolved.modules.items()
        },
        **({"head": own} if head else {}),
    }


_STRIDE = 128


@dataclass(frozen=True)
class Searched(Found):
    """What was found, and on which data: `examples` counts those of the target."""

    examples: int
    target: str
    data: str
    seed: int


def search_merge(engine: Engine, name: str, merge: Call, setter: Setter, plan: Plan) -> Searched:
    """Finds weights, beginning at those of `merge`, and leaves the module merged with them.

    The module `name` in the engine has a head that fits, or needs none. Refuses examples that do
    not suit the head; NotFiniteError where the modules give no loss that could be lowered.
    """
    assert merge.terms is not None
    method, count, asked = MERGES[merge.operator], len(merge.parts), plan.asked
    batches = _batches(engine, name, plan)
    activate_block(engine, name, name)
    given = full_weights(method, merge.terms, count) if merge.terms.weights else ()
    hidden = True if asked.quiet else None  # None: unless a person watches
    with tqdm(total=asked.budget, desc="merges", disable=hidden, leave=False) as bar:

        def loss(weights: Point) -> float:
            setter(weights)
            value = mean_loss(engine, batches)
            bar.update()
            bar.set_postfix(loss=f"{value:.4f}", refresh=False)
            return value

        found = search_weights(
            loss, method, count, start=given, budget=asked.budget, seed=asked.seed
        )
    if not math.isfinite(found.loss_before) or not math.isfinite(found.loss_after):
        raise NotFiniteError(
            f"the loss of '{name}' on {plan.target.name} is no finite number, so no weights can be "
            "searched: its modules do not fit each other"
        )
    setter(full_weights(method, replace(merge.terms, weights=found.weights), count))
    return Searched(
        **vars(found),
        examples=len(plan.examples.examples),
        target=plan.target.name,
        data=plan.examples.fingerprint,
        seed=plan.asked.seed,
    )


def _batches(engine: Engine, name: str, plan: Plan) -> list[dict[str, Tensor]]:
    """The examples with their labels, as the head numbers them, in batches of like length."""
    task, part = plan.task, plan.examples
    examples, fingerprint = part.examples, part.fingerprint
    labels = list(head_labels(engine, name)) if get_head(task.head).has_tags else []
    if labels:
        # A head that was trained on few examples may lack a rare tag.
        known = [row for row, tags in enumerate(examples["tags"]) if set(tags) <= set(labels)]
        if not known:
            raise UserError(f"no example of {task.name} has only tags that the head knows")
        examples, fingerprint = (
            examples.select(known),
            json_digest([fingerprint, "rows", known])[:32],
        )
    length = engine.backbone.sequence_length(task.max_length)
    how = Encoding(engine.backbone.tokenizer, length, _STRIDE, labels)
    features = build_features(task.head, examples, fingerprint, how)
    lengths = np.asarray(features["length"])
    batches = longest_first(lengths, default_batch_tokens(engine.device))
    pad_id = engine.backbone.pad_id
    rows: Sequence[Any] = list(features)
    return [collate([rows[number] for number in numbers], pad_id) for numbers in batches]


def mean_loss(engine: Engine, batches: Sequence[dict[str, Tensor]]) -> float:
    """The active head's loss, the mean over all rows; infinite where it is no number."""
    engine.model.eval()
    total, count = 0.0, 0
    for batch in batches:
        try:
            if "query_ids" in batch:
                loss = dual_encoder_loss(lambda **inputs: forward(engine, inputs), batch)
            else:
                loss = forward(engine, batch).loss
        except NotFiniteError:
            return math.inf
        rows = len(batch["input_ids"])
        total += float(loss) * rows
        count += rows
    return total / count
