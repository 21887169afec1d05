"""What batches are drawn from: the examples of a task, or the text of a language."""

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

from adapter_stilts.heads.sequences import padded_length
from adapter_stilts.training.batching import PlannedBatch
from adapter_stilts.training.masking import Masking


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
