"""From draws to a standard error, an interval and a test."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import combinations
from statistics import NormalDist
from typing import Any

import numpy as np

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
        return t_cdf((bound - self.value) / self.error, self.df)

    def p_below(self, bound: float) -> float:
        """One-sided: how likely a value as low is where the true one is `bound` or higher."""
        if self.error == 0:
            return float(self.value >= bound)
        return t_cdf((self.value - bound) / self.error, self.df)

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
    half = error * t_quantile((1 + level) / 2, min(df, 1e6)) if error else 0.0
    noise = {factor: math.sqrt(part) for factor, part in sorted(parts.items())}
    return Estimate(value, error, df, value - half, value + half, level, noise)


def _own(draws: Mapping[Factors, Floats], factors: Factors) -> Floats:
    """What these factors bring together, beyond what some of them bring."""
    signed = [(-1) ** (len(factors) - len(u)) * draws[u] for u in subsets(factors)]
    return np.asarray(np.sum(np.broadcast_arrays(*signed), axis=0))


def t_cdf(value: float, df: float) -> float:
    """The probability that Student's t with `df` degrees of freedom is at most `value`.

    By the incomplete beta function (Abramowitz and Stegun 1964, 26.5.27 and 26.7.1).
    """
    tail = 0.5 * _incomplete_beta(df / 2, 0.5, df / (df + value * value))
    return tail if value < 0 else 1 - tail


def t_quantile(probability: float, df: float) -> float:
    """The value that Student's t stays below with that probability.

    Raises:
        ValueError: the probability is not between 0 and 1.
    """
    if not 0 < probability < 1:
        raise ValueError(f"a probability between 0 and 1 was expected, got {probability}")
    if probability < 0.5:
        return -t_quantile(1 - probability, df)
    low, high = 0.0, 1.0
    while t_cdf(high, df) < probability:
        low, high = high, 2 * high
    value = min(max(NormalDist().inv_cdf(probability), low), high)
    for _ in range(100):
        error = t_cdf(value, df) - probability
        low, high = (value, high) if error < 0 else (low, value)
        step = value - error / _t_density(value, df)
        # Newton's step, or half of what is left where that leads out of it.
        following = step if low <= step <= high else (low + high) / 2
        if abs(following - value) <= 1e-12 * max(1.0, value):
            break
        value = following
    return value


def _t_density(value: float, df: float) -> float:
    scale = math.lgamma((df + 1) / 2) - math.lgamma(df / 2) - 0.5 * math.log(df * math.pi)
    return math.exp(scale - (df + 1) / 2 * math.log1p(value * value / df))


def chi2_above(value: float, half_df: int) -> float:
    """The probability that chi-squared with 2 * `half_df` degrees of freedom exceeds `value`.

    With an even number of degrees the tail is a Poisson sum (Abramowitz and Stegun 1964, 26.4.21).
    """
    mean = value / 2
    if mean == 0:
        return 1.0
    logs = (k * math.log(mean) - math.lgamma(k + 1) - mean for k in range(half_df))
    return min(1.0, math.fsum(map(math.exp, logs)))


def _incomplete_beta(a: float, b: float, x: float) -> float:
    """I_x(a, b), by its continued fraction (DLMF 8.17.22), evaluated as Lentz does."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):
        return 1 - _incomplete_beta(b, a, 1 - x)
    scale = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    front = math.exp(scale + a * math.log(x) + b * math.log1p(-x)) / a
    tiny = 1e-300
    c, d = 1.0, 1 / max(1 - (a + b) * x / (a + 1), tiny)
    fraction = d
    for m in range(1, 2000):
        for term in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1 / (1 + term * d or tiny)
            c = 1 + term / c or tiny
            fraction *= c * d
        if abs(c * d - 1) < 1e-15:
            break
    return front * fraction
