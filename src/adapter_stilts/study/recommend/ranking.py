"""From scores by several rules to one ranking, and how sure it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def ranks(scores: Sequence[float | None]) -> Floats:
    """1 for the highest score; equal ones share the mean of their ranks, NaN where there is none.

    >>> ranks([3.0, 5.0, None, 3.0]).tolist()
    [2.5, 1.0, nan, 2.5]
    """
    values = np.array([np.nan if score is None else score for score in scores], dtype=np.float64)
    found: Floats = rankdata(-values, nan_policy="omit")
    return found


def mean_ranks(rules: Sequence[Sequence[float | None]]) -> Floats:
    """The mean over rules of every candidate's rank; rules that say nothing of it are left out.

    A rank among fewer is stretched to all, or it would be a better one for lack of company.

    >>> mean_ranks([[3.0, 1.0], [2.0, 9.0]]).tolist()
    [1.5, 1.5]
    """
    found = np.array([_stretch(ranks(rule)) for rule in rules])
    there = ~np.isnan(found)
    counts = there.sum(0)
    sums = np.where(there, found, 0.0).sum(0)
    last = found.shape[1]
    result: Floats = np.where(counts > 0, sums / np.maximum(counts, 1), last)
    return result


def _stretch(found: Floats) -> Floats:
    count = int((~np.isnan(found)).sum())
    if count in (0, len(found)):
        return found
    stretched: Floats = 1 + (found - 1) * (len(found) - 1) / max(count - 1, 1)
    return stretched


def half_samples(count: int, draws: int, *, seed: int = 0) -> Iterator[Ints]:
    """Halves of so many examples, drawn without replacement, as sorted row numbers.

    A mean over half of the examples varies from half to half as that over all of them varies from
    sample to sample (Politis and Romano 1994, Annals of Statistics 22: subsampling). A bootstrap
    with replacement would do so too, but holds copies of rows, which evidence takes for as many
    independent ones.
    """
    generator = np.random.default_rng(seed)
    for _ in range(draws):
        yield np.sort(generator.permutation(count)[: max(1, count // 2)])


LEVEL = 0.95
"""Of the interval of a candidate's place."""


@dataclass(frozen=True)
class Sureness:
    """What becomes of a candidate's place when examples are drawn anew.

    Attributes:
        first: the share of draws in which it is first; those that tie share a draw.
        low, high: the interval of its place.
    """

    first: float
    low: int
    high: int


def sureness(drawn: Floats) -> list[Sureness]:
    """How sure every candidate's place is.

    Args:
        drawn: mean ranks, (draws, candidates).
    """
    best = drawn == drawn.min(1, keepdims=True)
    first = (best / best.sum(1, keepdims=True)).mean(0)
    # Those that tie have all of their places.
    better, worse = (rankdata(drawn, method=each, axis=1) for each in ("min", "max"))
    tail = (1 - LEVEL) / 2
    low = np.quantile(better, tail, axis=0, method="inverted_cdf")
    high = np.quantile(worse, 1 - tail, axis=0, method="inverted_cdf")
    return [
        Sureness(float(share), int(least), int(most))
        for share, least, most in zip(first, low, high, strict=True)
    ]


@dataclass(frozen=True)
class Rung:
    """One round: so many steps for each candidate, and what each then scored."""

    steps: int
    scores: dict[str, float]


def successive_halving(
    names: Sequence[str], score: Callable[[str, int], float], *, least: int
) -> list[Rung]:
    """Trains all candidates for a few steps, the better half for twice as many, and so on.

    Jamieson and Talwalkar 2016, "Non-stochastic Best Arm Identification and Hyperparameter
    Optimization" (AISTATS): every round costs the same, and there are log2(n) of them. A learning
    rate that falls to zero does not let a short training go on as a long one, so that each round
    begins anew; that costs as much again, at most.

    Args:
        names: the candidates; of those with equal scores, earlier ones stay.
        score: trains one for so many steps, and says how good it is.
        least: steps of the first round.

    Returns:
        The rounds; the last one has the candidates that stayed to the end.

    Raises:
        ValueError: there is no candidate, or `least` is below 1.
    """
    if least < 1 or not names:
        raise ValueError("names and steps are needed")
    left, steps, rungs = list(names), least, []
    while True:
        rung = Rung(steps, {name: score(name, steps) for name in left})
        rungs.append(rung)
        left = sorted(left, key=lambda name: -rung.scores[name])[: (len(left) + 1) // 2]
        if len(left) == 1:
            return rungs
        steps *= 2


def standing(rungs: Sequence[Rung]) -> list[str]:
    """All candidates, best first: by the round they reached, then by their score in it."""
    reached = {name: (number, rung.scores[name]) for number, rung in enumerate(rungs)
               for name in rung.scores}  # fmt: skip
    return sorted(reached, key=lambda name: (-reached[name][0], -reached[name][1]))
