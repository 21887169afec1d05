"""Batches of a bounded number of padded tokens, of examples of like length, of many tasks."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypedDict, Unpack

import numpy as np
import numpy.typing as npt
from torch.utils.data import Sampler

from adapter_stilts.features.batch import token_budget_batches


class Drawing(TypedDict):
    """How batches are drawn: of so many padded tokens and examples at most, in a seed's order."""

    batch_tokens: int
    batch_examples: int
    seed: int


def epoch_batches(
    lengths: npt.NDArray[np.int64], *, epoch: int, pool: int = 4096, **drawing: Unpack[Drawing]
) -> list[list[int]]:
    """One pass over the data: rows shuffled, sorted by length within pools, batches shuffled.

    Sorting within a pool of rows keeps padding to a few percent; the pools and the final shuffle
    keep the order random. Deterministic in the seed and `epoch`.
    """
    rng = np.random.default_rng((drawing["seed"], epoch))
    order = rng.permutation(len(lengths))
    batches: list[list[int]] = []
    for start in range(0, len(order), pool):
        part = order[start : start + pool]
        part = part[np.argsort(-lengths[part], kind="stable")]
        batches += token_budget_batches(
            part,
            lengths,
            batch_tokens=drawing["batch_tokens"],
            batch_examples=drawing["batch_examples"],
        )
    return [batches[place] for place in rng.permutation(len(batches))]


class PlannedBatch(NamedTuple):
    """A batch as it is planned: which rows of which source, and in which pass over it."""

    source: int
    epoch: int
    rows: list[int]


def count_batches(
    lengths: npt.NDArray[np.int64], *, epochs: float, **drawing: Unpack[Drawing]
) -> int:
    """The batches of a number of passes over the data, one at least."""
    whole = math.floor(epochs)
    total = sum(len(epoch_batches(lengths, epoch=epoch, **drawing)) for epoch in range(whole))
    if epochs > whole:
        total += round((epochs - whole) * len(epoch_batches(lengths, epoch=whole, **drawing)))
    return max(1, total)


def planned_batches(
    lengths: npt.NDArray[np.int64], *, total: int, **drawing: Unpack[Drawing]
) -> list[PlannedBatch]:
    """All `total` batches of a training on one source, epoch after epoch."""
    return list(itertools.islice(_passes(0, lengths, **drawing), total))


def _passes(
    source: int, lengths: npt.NDArray[np.int64], **drawing: Unpack[Drawing]
) -> Iterator[PlannedBatch]:
    """The batches of one pass over a source after the other, without end."""
    for epoch in itertools.count():
        for rows in epoch_batches(lengths, epoch=epoch, **drawing):
            yield PlannedBatch(source, epoch, rows)


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


CAP = 2**17
"""Examples above it do not make a task more frequent (Phang et al. 2020, arXiv:2005.13013)."""

LANGUAGE_EXPONENT = 0.5
"""Languages are drawn in proportion to size to this power (Conneau and Lample 2019, 3.1)."""


def task_shares(
    sizes: Sequence[int], *, temperature: float, cap: int = CAP
) -> npt.NDArray[np.float64]:
    """Part of the batches that each task gets: min(n, cap)^(1/T), made to add up to 1.

    Examples-proportional mixing with a cap and a temperature (Raffel et al. 2020, section 3.5.2,
    arXiv:1910.10683). T = 1 is proportional to size; the higher T, the more equal the tasks.
    """
    return _normalised(np.minimum(sizes, cap) ** (1 / temperature))


def language_shares(sizes: Sequence[int]) -> npt.NDArray[np.float64]:
    """Part of the text that comes from each language."""
    return _normalised(np.asarray(sizes, dtype=np.float64) ** LANGUAGE_EXPONENT)


def _normalised(weights: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    shares: npt.NDArray[np.float64] = weights / weights.sum()
    return shares


def quotas(shares: npt.NDArray[np.float64], total: int) -> npt.NDArray[np.int64]:
    """How many of `total` batches each source gets: the largest remainders get what is left.

    None gets less than one, so that every head learns; a very short training becomes longer.
    """
    exact = shares * total
    counts = np.floor(exact).astype(np.int64)
    left = total - int(counts.sum())
    counts[np.argsort(counts - exact, kind="stable")[:left]] += 1
    return np.maximum(counts, 1)


def mixed_batches(
    lengths: Sequence[npt.NDArray[np.int64]],
    shares: npt.NDArray[np.float64],
    total: int,
    **drawing: Unpack[Drawing],
) -> list[PlannedBatch]:
    """Batches of several sources in random order; each is of one source.

    Every source is gone through pass after pass, as often as its share of the batches takes.
    Deterministic in the seed.
    """
    counts = quotas(shares, total)
    rng = np.random.default_rng((drawing["seed"], len(lengths)))
    order = rng.permutation(np.repeat(np.arange(len(counts)), counts))
    streams = [_passes(source, each, **drawing) for source, each in enumerate(lengths)]
    return [next(streams[source]) for source in order]
