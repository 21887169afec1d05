"""The weights of a merge, searched on a few examples of a target.

The module is merged in place for each try, from what was prepared once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch import Tensor
from tqdm import tqdm

from adapter_stilts.engine.composition import Call
from adapter_stilts.engine.engine import Engine, activate_block, forward
from adapter_stilts.engine.merged import Setter
from adapter_stilts.engine.native import head_labels
from adapter_stilts.errors import NotFiniteError, UserError
from adapter_stilts.features.batch import collate, token_budget_batches
from adapter_stilts.features.build import build_features
from adapter_stilts.hashing import json_digest
from adapter_stilts.heads import get_head
from adapter_stilts.inference.run import default_batch_tokens
from adapter_stilts.merging.registry import MERGES
from adapter_stilts.merging.search import Found, Point, search_weights
from adapter_stilts.merging.terms import full_weights
from adapter_stilts.training.contrastive import dual_encoder_loss
from adapter_stilts.training.merge_head import Plan

_STRIDE = 128


@dataclass(frozen=True)
class Searched(Found):
    """What was found, and on which data: `examples` counts those of the target."""

    examples: int
    target: str
    data: str
    seed: int


def search_merge(engine: Engine, name: str, merge: Call, setter: Setter, plan: Plan) -> Searched:
    """Finds weights, and leaves the module merged with them.

    Args:
        name: of the merged module in the engine; it has a head that fits, or needs none.
        merge: where the search begins: with its weights, or an equal share for each.

    Raises:
        UserError: no example suits the head.
        NotFiniteError: the modules give no loss that could be lowered.
    """
    assert merge.terms is not None
    method, count = MERGES[merge.operator], len(merge.parts)
    batches = _batches(engine, name, plan)
    activate_block(engine, name, name)
    given = full_weights(method, merge.terms, count) if merge.terms.weights else ()
    hidden = True if plan.quiet else None  # None: unless a person watches
    with tqdm(total=plan.budget, desc="merges", disable=hidden, leave=False) as bar:

        def loss(weights: Point) -> float:
            setter(weights)
            value = mean_loss(engine, batches)
            bar.update()
            bar.set_postfix(loss=f"{value:.4f}", refresh=False)
            return value

        found = search_weights(loss, method, count, start=given, budget=plan.budget, seed=plan.seed)
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
        seed=plan.seed,
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
    features = build_features(
        task.head,
        examples,
        fingerprint,
        engine.backbone.tokenizer,
        max_length=engine.backbone.sequence_length(task.max_length),
        stride=_STRIDE,
        tags=labels,
    )
    lengths = np.asarray(features["length"])
    tokens = default_batch_tokens(engine.device)
    plan_ = token_budget_batches(
        np.argsort(-lengths, kind="stable"), lengths, batch_tokens=tokens, batch_examples=tokens
    )
    pad_id = engine.backbone.tokenizer.pad_token_id
    rows: Sequence[Any] = list(features)
    return [collate([rows[number] for number in numbers], pad_id) for numbers in plan_]


def mean_loss(engine: Engine, batches: Sequence[dict[str, Tensor]]) -> float:
    """The active head's loss, the mean over all rows; infinite where it is no number."""
    try:
        return _mean_loss(engine, batches)
    except NotFiniteError:
        return math.inf


def _mean_loss(engine: Engine, batches: Sequence[dict[str, Tensor]]) -> float:
    engine.model.eval()
    total, count = 0.0, 0
    for batch in batches:
        if "query_ids" in batch:
            loss = dual_encoder_loss(lambda **inputs: forward(engine, inputs), batch)
        else:
            loss = forward(engine, batch).loss
        rows = len(batch["input_ids"])
        total += float(loss) * rows
        count += rows
    return total / count
