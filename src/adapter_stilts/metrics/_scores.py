"""What scores share: precision, recall and F1 of two sets; the spread over several seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import asdict, dataclass
from statistics import fmean, stdev
from typing import Any


def precision_recall_f1(predicted: Set[object], gold: Set[object]) -> dict[str, float]:
    """`{"f1", "precision", "recall"}` in percent; 0 where nothing is right."""
    right = len(predicted & gold)
    if not right:
        return {"f1": 0.0, "precision": 0.0, "recall": 0.0}
    precision, recall = right / len(predicted), right / len(gold)
    # in this order seqeval and XTREME compute it, so that the last digit is theirs
    f1 = 2 * precision * recall / (precision + recall)
    return {"f1": 100 * f1, "precision": 100 * precision, "recall": 100 * recall}


@dataclass(frozen=True)
class Spread:
    """The mean of `count` scores and their sample standard deviation, if there are two or more."""

    mean: float
    sd: float | None
    count: int

    @classmethod
    def of(cls, scores: Sequence[float]) -> Spread:
        """That of some scores, at least one.

        >>> str(Spread.of([50.0, 52.0, 54.0]))
        '52.0 ± 2.0'
        """
        return cls(fmean(scores), stdev(scores) if len(scores) > 1 else None, len(scores))

    def __str__(self) -> str:
        return f"{self.mean:.1f}" if self.sd is None else f"{self.mean:.1f} ± {self.sd:.1f}"

    def as_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)


def spreads(scores: Sequence[Mapping[str, float]]) -> dict[str, Spread]:
    """The spread of every metric that all have, over several seeds, say."""
    return {
        metric: Spread.of([each[metric] for each in scores])
        for metric in scores[0]
        if all(metric in each for each in scores)
    }
