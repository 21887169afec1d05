"""How well masked words are told."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import datasets
from accelerate.utils import gather_object

from adapter_stilts.engine.engine import Engine, forward
from adapter_stilts.features.batch import collate
from adapter_stilts.heads.tagging import IGNORED
from adapter_stilts.inference.run import batches

Hide = Callable[[Sequence[int], int], dict[str, list[int]]]
"""From a row's ids and its number to what is read (`input_ids`) and to be told (`labels`)."""


def score_masked_words(
    engine: Engine,
    features: datasets.Dataset,
    hide: Hide,
    *,
    batch_tokens: int = 8192,
    rank: int = 0,
    world: int = 1,
) -> dict[str, float]:
    """Accuracy (in percent) and perplexity of the active head for masked words.

    Several processes share the work.
    """
    engine.model.eval()
    pad_id = engine.backbone.tokenizer.pad_token_id
    sums: list[Any] = []
    for batch in batches(features, pad_id, batch_tokens=batch_tokens, rank=rank, world=world):
        rows = zip(batch.rows, batch.columns["input_ids"], strict=True)
        tensors = collate([hide(ids, number) for number, ids in rows], pad_id)
        output = forward(engine, tensors)
        labels = tensors["labels"][tensors["labels"] != IGNORED]
        hits = int((output.logits.argmax(-1).cpu() == labels).sum())
        sums.append((hits, len(labels), float(output.loss) * len(labels)))
    if world > 1:
        sums = gather_object(sums)
    hits, count, loss = (sum(column) for column in zip(*sums, strict=True))
    # Beyond that exponent floats end; a record holds finite numbers.
    return {"accuracy": 100.0 * hits / count, "perplexity": math.exp(min(700.0, loss / count))}
