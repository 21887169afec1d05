"""A score over several seeds: mean and standard deviation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import fmean, stdev
from typing import Any


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
