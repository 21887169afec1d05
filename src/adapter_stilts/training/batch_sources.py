"""What batches are drawn from: the examples of a task, or text in which words are masked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import datasets
import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import Dataset
from transformers import PreTrainedTokenizerFast

from adapter_stilts.errors import UserError
from adapter_stilts.heads.sequences import padded_length
from adapter_stilts.heads.tagging import IGNORED
from adapter_stilts.training.batching import PlannedBatch

Ids = npt.NDArray[np.int64]

SHARE = 0.15


def mask_tokens(
    ids: Ids, rng: np.random.Generator, *, mask_id: int, ordinary: Ids, share: float = SHARE
) -> tuple[Ids, Ids]:
    """Hides tokens of a sequence (Devlin et al. 2019, section 3.1, arXiv:1810.04805).

    Of the ordinary tokens `share` are to be told, at least one: 80% of them become `mask_id`,
    10% a random ordinary token, 10% stay as they are.

    Args:
        ids: (L,).
        ordinary: ids of all tokens that are not special, in rising order.

    Returns:
        What is read, and what is to be told (`IGNORED` where nothing is): both (L,).
    """
    near = np.minimum(np.searchsorted(ordinary, ids), len(ordinary) - 1)
    places = np.flatnonzero(ordinary[near] == ids)
    count = max(1, round(share * len(places)))
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
        """With a tokenizer's tokens; with `among`, labels number those of these that are ordinary.

        Raises:
            UserError: it has none for a masked one.
        """
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
        """Tokens of every feature row."""
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

    def scaled(self, loss: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
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
