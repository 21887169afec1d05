"""Batches of a bounded number of padded tokens, of examples of similar length."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from torch.utils.data import Sampler

from adapter_stilts.features.batch import token_budget_batches


def epoch_batches(
    lengths: npt.NDArray[np.int64],
    *,
    batch_tokens: int,
    batch_examples: int,
    seed: int,
    epoch: int,
    pool: int = 4096,
) -> list[list[int]]:
    """One pass over the data: rows shuffled, sorted by length within pools, batches shuffled.

    Sorting within a pool of rows keeps padding to a few percent; the pools and the final shuffle
    keep the order random. Deterministic in `seed` and `epoch`.
    """
    rng = np.random.default_rng((seed, epoch))
    order = rng.permutation(len(lengths))
    batches: list[list[int]] = []
    for start in range(0, len(order), pool):
        part = order[start : start + pool]
        part = part[np.argsort(-lengths[part], kind="stable")]
        batches += token_budget_batches(
            part, lengths, batch_tokens=batch_tokens, batch_examples=batch_examples
        )
    return [batches[place] for place in rng.permutation(len(batches))]


class PlannedBatch(NamedTuple):
    """A batch as it is planned: which rows of which source, and in which pass over it."""

    source: int
    epoch: int
    rows: list[int]


def count_batches(
    lengths: npt.NDArray[np.int64],
    *,
    batch_tokens: int,
    batch_examples: int,
    epochs: float,
    seed: int,
) -> int:
    """The batches of a number of passes over the data, one at least."""
    size = {"batch_tokens": batch_tokens, "batch_examples": batch_examples, "seed": seed}
    whole = math.floor(epochs)
    total = sum(len(epoch_batches(lengths, **size, epoch=epoch)) for epoch in range(whole))
    if epochs > whole:
        total += round((epochs - whole) * len(epoch_batches(lengths, **size, epoch=whole)))
    return max(1, total)


def planned_batches(
    lengths: npt.NDArray[np.int64],
    *,
    batch_tokens: int,
    batch_examples: int,
    total: int,
    seed: int,
) -> list[PlannedBatch]:
    """All `total` batches of a training on one source, epoch after epoch."""
    size = {"batch_tokens": batch_tokens, "batch_examples": batch_examples, "seed": seed}
    batches: list[PlannedBatch] = []
    epoch = 0
    while len(batches) < total:
        batches += [
            PlannedBatch(0, epoch, rows) for rows in epoch_batches(lengths, **size, epoch=epoch)
        ]
        epoch += 1
    return batches[:total]


class BatchPlan(Sampler[PlannedBatch]):
    """All batches of a training, in order, for one of `world` processes.

    The whole training is laid out before it starts, so its number of steps is known and a resumed
    run finds its place by counting. With several processes, step `i` takes batches
    `i * world ... i * world + world - 1`, one each; the last few are dropped where they do not
    fill a step.
    """

    def __init__(self, batches: Sequence[PlannedBatch], *, rank: int = 0, world: int = 1) -> None:
        steps = max(1, len(batches) // world)
        self.batches = [batches[(step * world + rank) % len(batches)] for step in range(steps)]

    def __iter__(self) -> Iterator[PlannedBatch]:
        return iter(self.batches)

    def __len__(self) -> int:
        return len(self.batches)
