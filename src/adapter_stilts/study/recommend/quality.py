"""How good rankings were, given what every module brought in the end."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean

from adapter_stilts.study.statistics.regret import regret_at

Matrix = Mapping[str, Mapping[str, float]]
"""By target, what each source brought: a score in percent."""
Rankings = Mapping[str, Sequence[str]]
"""By target, the sources, best first."""


def ndcg_at(scores: Mapping[str, float], ranking: Sequence[str], k: int) -> float:
    """How much of the gain that the best order has among its first `k` a ranking has, in percent.

    Vu et al. 2020 and Poth et al. 2021 rate rankings of source tasks by it: the gain of a source
    at place i is (2^score - 1) / log2(i + 1), the score as a fraction of 1.

    >>> ndcg_at({"squad": 60.0, "mnli": 60.0}, ["mnli", "squad"], 2)
    100.0

    Raises:
        ValueError: a ranking of other things, or k below 1.
    """
    if k < 1 or set(ranking) != set(scores):
        raise ValueError(f"a ranking of {', '.join(scores)} was expected, got {list(ranking)}")
    best = _gain(sorted(scores.values(), reverse=True)[:k])
    return 100 * _gain([scores[name] for name in ranking[:k]]) / best if best else 100.0


def _gain(values: Sequence[float]) -> float:
    return sum(
        (2 ** (value / 100) - 1) / math.log2(place + 2) for place, value in enumerate(values)
    )


@dataclass(frozen=True)
class Quality:
    """Means over targets, in percent: low regret and high nDCG are good."""

    regret_at_1: float
    regret_at_3: float
    ndcg_at_3: float
    targets: int

    @classmethod
    def mean(cls, each: Sequence[tuple[float, float, float]]) -> Quality:
        """Of the three figures of every target."""
        one, three, gain = (fmean(column) for column in zip(*each, strict=True))
        return cls(one, three, gain, len(each))


def quality(matrix: Matrix, rankings: Rankings) -> Quality:
    """How good one rule's rankings were, over the targets that they are for.

    Raises:
        ValueError: a ranking is not of the sources that the target's scores are of.
    """
    return Quality.mean([_of(matrix[target], list(order)) for target, order in rankings.items()])


def _of(scores: Mapping[str, float], order: Sequence[str]) -> tuple[float, float, float]:
    return (
        regret_at(scores, order, 1),
        regret_at(scores, order, min(3, len(order))),
        ndcg_at(scores, order, min(3, len(order))),
    )


def quality_of_chance(matrix: Matrix) -> Quality:
    """What a ranking drawn by lot has on average: exactly, over all orders."""
    return Quality.mean([_by_lot(scores) for scores in matrix.values()])


def _by_lot(scores: Mapping[str, float]) -> tuple[float, float, float]:
    k = min(3, len(scores))
    one = fmean(regret_at(scores, [name], 1) for name in scores)
    three = fmean(regret_at(scores, list(names), k) for names in combinations(scores, k))
    # Every source is at every place equally often.
    gain = fmean(2 ** (value / 100) - 1 for value in scores.values())
    drawn = gain * sum(1 / math.log2(place + 2) for place in range(k))
    best = _gain(sorted(scores.values(), reverse=True)[:k])
    return one, three, 100 * drawn / best if best else 100.0


def always(first: str, sources: Sequence[str], sizes: Mapping[str, int]) -> list[str]:
    """The ranking that has one source first, and the others by the size of their data."""
    others = sorted((name for name in sources if name != first), key=lambda n: (-sizes[n], n))
    return [first, *others] if first in sources else others
