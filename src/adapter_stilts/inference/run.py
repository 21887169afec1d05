"""Runs a module over features: sorted by length, batched by tokens, without gradients."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import datasets
import numpy as np
import numpy.typing as npt
import torch

from adapter_stilts.features.batch import collate, token_budget_batches
from adapter_stilts.features.span import SpanLogits
from adapter_stilts.modules.engine import Engine, forward
from adapter_stilts.tasks.spec import HeadKind

_INPUTS = ("input_ids", "word_starts")


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
    lengths = np.asarray(features["length"])
    order = np.argsort(-lengths, kind="stable")
    batches = token_budget_batches(
        order, lengths, batch_tokens=batch_tokens, batch_examples=batch_tokens
    )
    pad_id = engine.backbone.tokenizer.pad_token_id
    columns = [column for column in _INPUTS if column in features.column_names]
    inputs = features.select_columns(columns)
    for batch in batches[rank::world]:
        rows = inputs[batch]
        cells = [{"input_ids": ids} for ids in rows["input_ids"]]
        output = forward(engine, collate(cells, pad_id))
        yield from zip(batch, _split(kind, output, rows), strict=True)


def _split(kind: HeadKind, output: Any, rows: dict[str, list[Any]]) -> list[Any]:
    if kind in ("classification", "choice"):
        return list(_numpy(output.logits))
    if kind == "tagging":
        best = output.logits.argmax(-1).cpu().numpy()
        return [tags[starts] for tags, starts in zip(best, rows["word_starts"], strict=True)]
    start, end = _numpy(output.start_logits), _numpy(output.end_logits)
    sizes = map(len, rows["input_ids"])
    return [SpanLogits(s[:n], e[:n]) for s, e, n in zip(start, end, sizes, strict=True)]


def _numpy(tensor: torch.Tensor) -> npt.NDArray[np.float32]:
    return tensor.float().cpu().numpy()
