"""How several sources share a training: whose batch comes next, and how often."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from adapter_stilts.training.batching import PlannedBatch, epoch_batches

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
    *,
    batch_tokens: int,
    batch_examples: int,
    seed: int,
) -> list[PlannedBatch]:
    """Batches of several sources in random order; each is of one source.

    Every source is gone through pass after pass, as often as its share of the batches takes.
    Deterministic in `seed`.
    """
    counts = quotas(shares, total)
    rng = np.random.default_rng((seed, len(lengths)))
    order = rng.permutation(np.repeat(np.arange(len(counts)), counts))
    streams = [
        _passes(source, each, batch_tokens=batch_tokens, batch_examples=batch_examples, seed=seed)
        for source, each in enumerate(lengths)
    ]
    return [next(streams[source]) for source in order]


def _passes(
    source: int,
    lengths: npt.NDArray[np.int64],
    *,
    batch_tokens: int,
    batch_examples: int,
    seed: int,
) -> Iterator[PlannedBatch]:
    epoch = 0
    while True:
        for rows in epoch_batches(
            lengths,
            batch_tokens=batch_tokens,
            batch_examples=batch_examples,
            seed=seed,
            epoch=epoch,
        ):
            yield PlannedBatch(source, epoch, rows)
        epoch += 1
