"""Runs inputs of several compositions together: sorted by length, in batches of mixed modules."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import groupby
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor
from transformers.modeling_outputs import BaseModelOutput

from adapter_stilts.engine.engine import Engine, activate_block, layer_of
from adapter_stilts.engine.patches import composed_by_rows
from adapter_stilts.engine.vectors import pool, to_unit_length
from adapter_stilts.engine.weights import check_outputs
from adapter_stilts.features.batch import collate
from adapter_stilts.heads import get_head
from adapter_stilts.heads.sequences import padded_length
from adapter_stilts.inference.predictions import Batch, split_output
from adapter_stilts.tasks.spec import HeadKind

_LONG = 128
"""Tokens from which on it pays to run short rows apart: a pass has a cost of its own."""


@dataclass(frozen=True)
class Share:
    """The feature columns of one composition's inputs, and what runs them.

    `block` is what the engine activates, `head` the head's name there. Without `mixes` its rows
    get batches of their own.
    """

    block: Any
    head: str
    kind: HeadKind
    features: Mapping[str, Sequence[Any]]
    mixes: bool = True


class _Row(NamedTuple):
    share: int
    number: int
    sequences: list[list[int]]

    @property
    def longest(self) -> int:
        """The tokens of its longest sequence."""
        return max(map(len, self.sequences))


def run_mixed(engine: Engine, shares: Sequence[Share], *, batch_tokens: int) -> list[list[Any]]:
    """What every composition's head says of each of its feature rows, in their order.

    The outputs are those of `inference.predictions.run_features` for the same kind; for the kind
    `embedding`, sentence vectors (the mean of the last layer, of length 1).
    """
    engine.model.eval()
    outputs: list[list[Any]] = [[None] * len(share.features["input_ids"]) for share in shares]
    for rows in _plan(shares, batch_tokens):
        for row, output in _run(engine, shares, rows):
            outputs[row.share][row.number] = output
    return outputs


def _plan(shares: Sequence[Share], batch_tokens: int) -> Iterator[list[_Row]]:
    """Batches in order of falling length, the rows of one composition side by side in each."""
    pools: dict[int, list[_Row]] = {}
    for place, share in enumerate(shares):
        nested = get_head(share.kind).nested
        pool_ = pools.setdefault(-1 if share.mixes else place, [])
        for number, ids in enumerate(share.features["input_ids"]):
            pool_.append(_Row(place, number, ids if nested else [ids]))
    for rows in pools.values():
        batch: list[_Row] = []
        for row in sorted(rows, key=lambda row: -row.longest):
            count = sum(len(each.sequences) for each in (*batch, row))
            longest = padded_length(batch[0].longest) if batch else 0
            # Short rows in a batch of long ones would be padding for the most part.
            is_short = longest >= _LONG and 2 * padded_length(row.longest) <= longest
            if batch and (is_short or count * longest > batch_tokens):
                yield sorted(batch, key=lambda row: row.share)
                batch = []
            batch.append(row)
        if batch:
            yield sorted(batch, key=lambda row: row.share)


def _run(
    engine: Engine, shares: Sequence[Share], rows: Sequence[_Row]
) -> Iterator[tuple[_Row, Any]]:
    flat = [{"input_ids": ids} for row in rows for ids in row.sequences]
    tensors = collate(flat, engine.backbone.pad_id)
    groups = [(number, list(own)) for number, own in groupby(rows, key=lambda row: row.share)]
    counts = [sum(len(row.sequences) for row in own) for _, own in groups]
    parts = [
        Part(shares[number].block, count) for (number, _), count in zip(groups, counts, strict=True)
    ]
    output = mixed_hidden(engine, tensors, parts)
    mask, first = tensors["attention_mask"].to(engine.device), 0
    for (number, own), count in zip(groups, counts, strict=True):
        cut = slice(first, first + count)
        first += count
        pooled = getattr(output, "pooler_output", None)
        seen = _Seen(
            output.last_hidden_state[cut], mask[cut], None if pooled is None else pooled[cut]
        )
        yield from zip(own, _said(engine, shares[number], own, seen), strict=True)


def _check(share: Share, values: Iterable[Any]) -> None:
    check_outputs(values, of=f"module '{share.head}'", module=share.head)


class _Seen(NamedTuple):
    """What the trunk made of one composition's sequences."""

    hidden: Tensor
    mask: Tensor
    pooled: Tensor | None


def _said(engine: Engine, share: Share, rows: Sequence[_Row], seen: _Seen) -> list[Any]:
    """A head's outputs for the hidden states of its own rows.

    Raises:
        NotFiniteError: they are no numbers.
    """
    _check(share, [seen.hidden])
    if not get_head(share.kind).has_weights:
        vectors = to_unit_length(
            pool(seen.hidden, seen.mask), of=f"module '{share.head}'", module=share.head
        )
        return list(vectors.half().cpu().numpy())
    with engine.running():
        output = engine.model.heads[share.head](
            BaseModelOutput(last_hidden_state=cast(torch.FloatTensor, seen.hidden)),
            attention_mask=seen.mask,
            return_dict=True,
            pooled_output=seen.pooled,
        )
    _check(share, output.values())
    columns = {"input_ids": [row.sequences[0] for row in rows]}
    if "word_starts" in share.features:
        columns["word_starts"] = [share.features["word_starts"][row.number] for row in rows]
    return split_output(share.kind, output, Batch([], columns, {}))


_INSIDE = (".adapters.", ".loras.", ".adapter_fusion_layer.", ".fusions.")


class Part(NamedTuple):
    """The next so many sequences of a batch, and the block they go through (None: no module)."""

    block: Any
    sequences: int


def can_mix(engine: Engine, modules: Iterable[str]) -> bool:
    """Whether a composition of these modules (by name in the engine) can share a batch.

    All of a module must lie in bottlenecks, LoRAs and fusions of the trunk's layers. Invertible
    adapters act on the embeddings, prefixes on the attention: these run by themselves.
    """
    return all(
        key.startswith("heads.")
        or (layer_of(key) is not None and any(place in key for place in _INSIDE))
        for name in modules
        for key in engine.modules[name]
    )


def mixed_hidden(engine: Engine, batch: dict[str, Tensor], parts: Sequence[Part]) -> Any:
    """What leaves the trunk's last layer, every part's sequences having met its own modules.

    Args:
        batch: `input_ids` and `attention_mask`, (S, L), the parts' sequences one after the other.

    Returns:
        The trunk's output, with `last_hidden_state` (S, L, D) and `pooler_output`.
    """
    trunk = engine.model.base_model
    alone = len(parts) == 1
    activate_block(engine, parts[0].block if alone else None, "")
    with nullcontext() if alone else composed_by_rows(trunk, parts), engine.running():
        return trunk(**engine.moved(batch))
