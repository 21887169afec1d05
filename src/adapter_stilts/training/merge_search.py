"""The weights of a merge, found without gradients on a few examples (LoraHub, Huang et al. 2023).

The loss on the examples, with a penalty for large weights, is minimised over the weights. The
module is merged in place for each, from what was prepared once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor
from tqdm import tqdm

from adapter_stilts.data.cache import digest
from adapter_stilts.errors import NotFiniteError, UserError
from adapter_stilts.features.batch import collate, token_budget_batches
from adapter_stilts.features.build import build_features
from adapter_stilts.heads import get_head
from adapter_stilts.inference.run import default_batch_tokens
from adapter_stilts.modules.composition import Call
from adapter_stilts.modules.engine import Engine, activate_block, forward
from adapter_stilts.modules.merge_terms import MERGES, MergeMethod, full_weights
from adapter_stilts.modules.merged import Setter
from adapter_stilts.modules.native import head_labels
from adapter_stilts.training.contrastive import dual_encoder_loss
from adapter_stilts.training.merge_head import Plan
from adapter_stilts.training.minimise import Point, minimise

PENALTY = 0.05
"""On the mean size of the weights, as in LoraHub."""
LARGEST = 1.5
"""No weight is larger, nor below its negative (LoraHub); a mean has none below 0."""
_STRIDE = 128


@dataclass(frozen=True)
class Searched:
    """What a search found: weights in the order of the merge's parts, and losses without penalty.

    `penalised` is what was minimised, before and after: it never rises, as a loss may where
    smaller weights do nearly as well. `evaluations` counts the weights that were tried,
    `examples` those that they were tried on.
    """

    weights: Point
    loss_before: float
    loss_after: float
    penalised: tuple[float, float]
    evaluations: int
    examples: int
    target: str
    data: str
    seed: int


def search_weights(engine: Engine, name: str, merge: Call, setter: Setter, plan: Plan) -> Searched:
    """Finds weights, and leaves the module merged with them.

    Args:
        name: of the merged module in the engine; it has a head that fits, or needs none.
        merge: where the search begins: with its weights, or an equal share for each.

    Raises:
        UserError: no example suits the head.
    """
    method, count = MERGES[merge.operator], len(merge.parts)
    batches = _batches(engine, name, plan)
    activate_block(engine, name, name)
    losses: dict[Point, float] = {}

    def penalised(weights: Point) -> float:
        return losses[weights] + PENALTY * sum(map(abs, _counting(method, weights))) / count

    def loss(weights: Point) -> float:
        if weights not in losses:
            if not _allowed(method, weights):
                return float("inf")
            setter(_counting(method, weights))
            losses[weights] = mean_loss(engine, batches)
        bar.update()
        bar.set_postfix(loss=f"{losses[weights]:.4f}", refresh=False)
        return penalised(weights)

    assert merge.terms is not None
    given = full_weights(method, merge.terms, count) if merge.terms.weights else ()
    start = given or (_share(method, count),) * count
    bounds = (0.0 if method.mean else -LARGEST, LARGEST)
    hidden = True if plan.quiet else None  # None: unless a person watches
    with tqdm(total=plan.budget, desc="merges", disable=hidden, leave=False) as bar:
        best = minimise(
            loss,
            [min(max(each, bounds[0]), bounds[1]) for each in start],
            bounds=bounds,
            budget=plan.budget,
            seed=plan.seed,
        )
    setter(_counting(method, best))
    begun = next(iter(losses))
    if not math.isfinite(losses[begun]) or not math.isfinite(losses[best]):
        raise NotFiniteError(
            f"the loss of '{name}' on {plan.target.name} is no finite number, so no weights can be "
            "searched: its modules do not fit each other"
        )
    return Searched(
        weights=best,
        loss_before=losses[begun],
        loss_after=losses[best],
        penalised=(penalised(begun), penalised(best)),
        evaluations=len(losses),
        examples=len(plan.examples.examples),
        target=plan.target.name,
        data=plan.examples.fingerprint,
        seed=plan.seed,
    )


def _share(method: MergeMethod, count: int) -> float:
    """Weights to begin with: sums begin as the mean; TIES takes means of its own."""
    return 1.0 if method.density else round(1 / count, 4)


def _allowed(method: MergeMethod, weights: Point) -> bool:
    return any(weights) and (not method.mean or sum(weights) > 1e-3)


def _counting(method: MergeMethod, weights: Point) -> Point:
    total = sum(weights) if method.mean else 1.0
    return tuple(weight / total for weight in weights)


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
        examples, fingerprint = examples.select(known), digest([fingerprint, "rows", known])[:32]
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
