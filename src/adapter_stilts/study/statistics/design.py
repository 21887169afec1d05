"""What difference a design can detect, before anything is run."""

from __future__ import annotations

import math
from dataclasses import dataclass

from adapter_stilts.study.statistics.distributions import t_quantile


@dataclass(frozen=True)
class Design:
    """A comparison on one target: how much of everything, and how much it varies, in points.

    `item_sd` is that of an item's difference between the arms (or of its score, for the error of
    a score); `correlation` that of the same item in two languages, 0 where test sets are not
    parallel. `intermediate_sd` and `target_sd` are those of the difference from seed to seed.
    """

    items: int
    languages: int
    item_sd: float
    correlation: float = 0.0
    intermediate_seeds: int = 1
    target_seeds: int = 1
    intermediate_sd: float = 0.0
    target_sd: float = 0.0

    def __post_init__(self) -> None:
        counts = (self.items, self.languages, self.intermediate_seeds, self.target_seeds)
        if min(counts) < 1 or not 0 <= self.correlation <= 1:
            raise ValueError(f"no such design: {self}")

    @property
    def components(self) -> list[tuple[float, float]]:
        """Variance of the mean, and degrees of freedom, of items and both stages' seeds."""
        shared = self.correlation + (1 - self.correlation) / self.languages
        parts = [(self.item_sd**2 * shared / self.items, self.items - 1.0)]
        for sd, count in (
            (self.intermediate_sd, self.intermediate_seeds),
            (self.target_sd, self.target_seeds),
        ):
            parts.append((sd**2 / count, count - 1.0))
        return parts

    @property
    def error(self) -> float:
        """The standard error of the mean over languages."""
        return math.sqrt(sum(variance for variance, _ in self.components))


def detectable_difference(design: Design, *, alpha: float = 0.05, power: float = 0.8) -> float:
    """The smallest true difference that is found with that probability, in points.

    Bloom 1995, "Minimum detectable effects", Evaluation Review 19: the standard error times the
    sum of two quantiles of Student's t. Seeds that vary and of which there is one leave no degree
    of freedom, and nothing can be detected.
    """
    parts = [(variance, df) for variance, df in design.components if variance > 0]
    if any(df == 0 for _, df in parts):
        return math.inf
    if not parts:
        return 0.0
    df = design.error**4 / sum(variance**2 / free for variance, free in parts)
    return design.error * (t_quantile(1 - alpha / 2, df) + t_quantile(power, df))
