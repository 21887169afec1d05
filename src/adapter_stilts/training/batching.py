"""Batches of a bounded number of padded tokens, of examples of like length, of many sources."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, TypedDict, Unpack

import datasets
import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import Dataset, Sampler
from transformers import PreTrainedTokenizerFast

from adapter_stilts.errors import UserError
from adapter_stilts.features import token_budget_batches
from adapter_stilts.heads.base import padded_length
from adapter_stilts.heads.tagging import IGNORED


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
    keep the order random. Deterministic in the seed and `epoch`. `lengths` are in tokens, (rows,).
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


def task_shares(sizes: Sequence[int], *, temperature: float) -> npt.NDArray[np.float64]:
    """Part of the batches that each task gets: min(n, `CAP`)^(1/T), made to add up to 1.

    Examples-proportional mixing with a cap and a temperature (Raffel et al. 2020, section 3.5.2,
    arXiv:1910.10683). T = 1 is proportional to size; the higher T, the more equal the tasks.
    """
    return _normalise(np.minimum(sizes, CAP) ** (1 / temperature))


def language_shares(sizes: Sequence[int]) -> npt.NDArray[np.float64]:
    """Part of the text that comes from each language, (languages,): size^`LANGUAGE_EXPONENT`."""
    return _normalise(np.asarray(sizes, dtype=np.float64) ** LANGUAGE_EXPONENT)


def _normalise(weights: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    shares: npt.NDArray[np.float64] = weights / weights.sum()
    return shares


def quotas(shares: npt.NDArray[np.float64], total: int) -> npt.NDArray[np.int64]:
    """How many of `total` batches each source gets: the largest remainders get what is left.

    None gets less than one, so that every head learns; a very short training becomes longer.
    `shares` and the result are (sources,).
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


Ids = npt.NDArray[np.int64]

MASKED = 0.15
"""The part of the ordinary tokens that is to be told."""


def mask_tokens(
    ids: Ids, rng: np.random.Generator, *, mask_id: int, ordinary: Ids
) -> tuple[Ids, Ids]:
    """Hides tokens of a sequence (Devlin et al. 2019, section 3.1, arXiv:1810.04805).

    Of the ordinary tokens `MASKED` are to be told, at least one: 80% of them become `mask_id`,
    10% a random ordinary token, 10% stay as they are.

    Args:
        ids: (L,).
        ordinary: ids of all tokens that are not special, in rising order.

    Returns:
        What is read, and what is to be told (`IGNORED` where nothing is): both (L,).
    """
    near = np.minimum(np.searchsorted(ordinary, ids), len(ordinary) - 1)
    places = np.flatnonzero(ordinary[near] == ids)
    count = max(1, round(MASKED * len(places)))
    asked = rng.permutation(places)[:count]
    fate = rng.random(len(asked))
    seen, labels = ids.copy(), np.full_like(ids, IGNORED)
    labels[asked] = ids[asked]
    seen[asked[fate < 0.8]] = mask_id
    random = asked[fate >= 0.9]
    seen[random] = ordinary[rng.integers(len(ordinary), size=len(random))]
    return seen, labels


@dataclass(frozen=True)
class Masking:
    """The same tokens hidden in the same row of the same pass, whatever was done before.

    So a resumed training needs no state of it, and the processes of one training none of each
    other's.
    """

    mask_id: int
    ordinary: Ids
    seed: int
    words: Ids | None = None
    """In rising order, the ids that labels number; None: labels are ids."""

    @classmethod
    def of(
        cls, tokenizer: PreTrainedTokenizerFast, seed: int, *, among: Ids | None = None
    ) -> Masking:
        """With a tokenizer's tokens; with `among`, labels number the ordinary ones of these."""
        if tokenizer.mask_token_id is None:
            raise UserError("masked language modelling: the backbone's tokenizer has no mask token")
        ordinary = np.setdiff1d(np.arange(len(tokenizer)), tokenizer.all_special_ids)
        words = None if among is None else np.intersect1d(among, ordinary)
        return cls(int(tokenizer.mask_token_id), ordinary, seed, words)

    def __call__(self, ids: Sequence[int], epoch: int, row: int) -> dict[str, list[int]]:
        """The row as it is read and what is to be told of it."""
        rng = np.random.default_rng((self.seed, epoch, row))
        seen, labels = mask_tokens(
            np.asarray(ids), rng, mask_id=self.mask_id, ordinary=self.ordinary
        )
        if self.words is not None:
            numbers = np.searchsorted(self.words, labels)
            labels = np.where(labels == IGNORED, IGNORED, numbers)
        return {"input_ids": seen.tolist(), "labels": labels.tolist()}


@dataclass(frozen=True)
class BatchSource:
    """Features, and the head (by its name in the engine) that learns from them.

    `examples` is the size that counts when sources are mixed. `classes` is the number of answers
    that the loss is measured against (0: as many as the text has tokens); None leaves it as it is.
    """

    head: str
    features: datasets.Dataset
    examples: int
    classes: int | None = None
    masking: Masking | None = None

    @cached_property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Tokens of every feature row, (rows,)."""
        return np.asarray(self.features["length"])

    def tokens(self, rows: Sequence[int]) -> int:
        """Tokens of some rows, each padded for itself."""
        return sum(padded_length(int(self.lengths[row])) for row in rows)

    def rows(self, batch: PlannedBatch) -> list[dict[str, Any]]:
        """The rows of a batch."""
        found: list[dict[str, Any]] = self.features.__getitems__(batch.rows)
        if self.masking is None:
            return found
        pairs = zip(batch.rows, found, strict=True)
        return [self.masking(row["input_ids"], batch.epoch, number) for number, row in pairs]

    def scale(self, loss: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """The loss over that of a guess, where losses are to be alike.

        loss / log n, with n the number of possible answers: whatever the task, a model that says
        all are equally likely has a loss of 1 (Aghajanyan et al. 2021, "Muppet",
        arXiv:2101.11038). A span's ends are chosen among the tokens of the text.
        """
        if self.classes is None:
            return loss
        if self.classes:
            return loss / float(np.log(self.classes))
        return loss / attention_mask.sum(-1).float().log().mean()


class BatchSources(Dataset[Any]):
    """All sources of a training as one data set, whose items are whole batches of a plan."""

    def __init__(self, sources: Sequence[BatchSource]) -> None:
        self.all = tuple(sources)

    def __len__(self) -> int:
        return sum(len(source.features) for source in self.all)

    def __getitems__(self, batch: PlannedBatch) -> list[dict[str, Any]]:
        """The rows of a batch, each with the number of its source."""
        return [{**row, "source": batch.source} for row in self.all[batch.source].rows(batch)]
