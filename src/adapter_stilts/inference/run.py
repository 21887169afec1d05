"""Runs a module over features: sorted by length, batched by tokens, without gradients."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import datasets
import numpy as np
import torch

from adapter_stilts.engine.engine import Engine, forward
from adapter_stilts.features.batch import collate, token_budget_batches
from adapter_stilts.heads import get_head
from adapter_stilts.tasks.spec import HeadKind

_INPUTS = ("input_ids", "word_starts")


def default_batch_tokens(device: torch.device) -> int:
    """Padded tokens a batch at most, where nothing is said.

    A GPU wants them many. On a CPU more than some thousand only add padding, and hidden states
    that no longer fit into its caches.
    """
    return 32_768 if device.type == "cuda" else 2048


class Batch(NamedTuple):
    """Feature rows that go through the model together: their numbers, columns and tensors."""

    rows: list[int]
    columns: dict[str, list[Any]]
    tensors: dict[str, torch.Tensor]


def batches(
    features: datasets.Dataset, pad_id: int, *, batch_tokens: int, rank: int = 0, world: int = 1
) -> Iterator[Batch]:
    """Every feature row once, in order of falling length, cut into batches of so many tokens.

    With several processes, each gets its share.
    """
    lengths = np.asarray(features["length"])
    order = np.argsort(-lengths, kind="stable")
    plan = token_budget_batches(
        order, lengths, batch_tokens=batch_tokens, batch_examples=batch_tokens
    )
    inputs = features.select_columns([name for name in _INPUTS if name in features.column_names])
    for numbers in plan[rank::world]:
        columns = inputs[numbers]
        cells = [{"input_ids": ids} for ids in columns["input_ids"]]
        yield Batch(numbers, columns, collate(cells, pad_id))


def run_features(
    engine: Engine,
    features: datasets.Dataset,
    kind: HeadKind,
    *,
    batch_tokens: int = 8192,
    rank: int = 0,
    world: int = 1,
) -> Iterator[tuple[int, Any]]:
    """What the active module's head says of every feature row, in order of falling length.

    Yields:
        The row number and, by head kind: label logits (labels,) or option logits (choices,);
        `SpanLogits` of the row's own length; or the best tag number at each word start.
    """
    engine.model.eval()
    pad_id = engine.backbone.tokenizer.pad_token_id
    for batch in batches(features, pad_id, batch_tokens=batch_tokens, rank=rank, world=world):
        output = forward(engine, batch.tensors)
        yield from zip(batch.rows, split_output(kind, output, batch), strict=True)


def split_output(kind: HeadKind, output: Any, batch: Batch) -> list[Any]:
    """The head's output row by row, as `run_features` yields it."""
    return get_head(kind).split(output, batch.columns)
