"""From draws to a standard error, an interval and a test."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np
from scipy.special import stdtr, stdtrit

from adapter_stilts.study.statistics.sample import Floats

ITEMS = "items"
Factors = frozenset[str]
"""What was drawn anew: items, seeds of a stage, languages."""


@dataclass(frozen=True)
class Estimate:
    """A value, its standard error, the degrees of freedom of that, and the interval.

    `noise` is the part of the standard error that each factor brings; a factor that is not named
    was not drawn anew, and the interval says nothing of it.
    """

    value: float
    error: float
    df: float
    low: float
    high: float
    level: float
    noise: Mapping[str, float]

    @property
    def p(self) -> float:
        """Two-sided, against zero."""
        return min(1.0, 2 * min(self.p_above(0), self.p_below(0)))

    def p_above(self, bound: float) -> float:
        """One-sided: how likely a value as high is where the true one is `bound` or lower."""
        if self.error == 0:
            return float(self.value <= bound)
        return float(stdtr(self.df, (bound - self.value) / self.error))

    def p_below(self, bound: float) -> float:
        """One-sided: how likely a value as low is where the true one is `bound` or higher."""
        if self.error == 0:
            return float(self.value >= bound)
        return float(stdtr(self.df, (self.value - bound) / self.error))

    def as_dict(self) -> dict[str, Any]:
        """As JSON has it; without limit to the degrees of freedom, there is no number."""
        return {**asdict(self), "df": self.df if math.isfinite(self.df) else None, "p": self.p}


def subsets(factors: Factors) -> list[Factors]:
    """All sets of these factors, the empty one first."""
    names = sorted(factors)
    return [frozenset(each) for k in range(len(names) + 1) for each in combinations(names, k)]


def estimate(
    draws: Mapping[Factors, Floats], free: Mapping[str, float], *, level: float = 0.95
) -> Estimate:
    """The interval of a value whose factors were drawn anew alone and together.

    Where factors are crossed (every seed answers every item), drawing all of them counts what is
    peculiar to a seed *and* an item three times (Owen 2007, "The pigeonhole bootstrap", Annals of
    Applied Statistics 1). So the draws are taken apart as in an analysis of variance: what two
    factors bring together is the draw of both, less the draws of each. Its variance is in that
    of each factor, and is taken off once. The interval is Student's, with the degrees of
    freedom of Satterthwaite (1946, "An approximate distribution of estimates of variance
    components", Biometrics Bulletin 2): three seeds are few, however many items there are.

    Args:
        draws: by the factors drawn anew, the value in every draw, (draws,); under the empty set
            the value itself. Under larger sets, the weights of each factor are the same.
        free: degrees of freedom of every factor.
    """
    factors: Factors = frozenset().union(*draws)
    value = float(draws[frozenset()].ravel()[0])
    variance = {u: float(np.var(_own(draws, u))) for u in subsets(factors) if u}
    # Of a component that several factors share, each of them has the whole.
    parts = {
        factor: sum((-1) ** (len(u) - 1) * v for u, v in variance.items() if factor in u)
        for factor in factors
    }
    parts = {factor: max(0.0, part) for factor, part in parts.items()}
    alone = [variance[frozenset([factor])] for factor in factors]
    total = max(sum((-1) ** (len(u) + 1) * v for u, v in variance.items()), *alone, 0.0)
    error = math.sqrt(total)
    # The items bring what is peculiar to a seed and an item, too.
    parts[ITEMS] = variance.get(frozenset([ITEMS]), 0.0)
    squares = sum(part**2 / free[factor] for factor, part in parts.items() if part)
    df = total**2 / squares if squares else math.inf
    half = error * float(stdtrit(df, (1 + level) / 2)) if error else 0.0
    noise = {factor: math.sqrt(part) for factor, part in sorted(parts.items())}
    return Estimate(value, error, df, value - half, value + half, level, noise)


def _own(draws: Mapping[Factors, Floats], factors: Factors) -> Floats:
    """What these factors bring together, beyond what some of them bring."""
    signed = [(-1) ** (len(factors) - len(u)) * draws[u] for u in subsets(factors)]
    return np.asarray(np.sum(np.broadcast_arrays(*signed), axis=0))
