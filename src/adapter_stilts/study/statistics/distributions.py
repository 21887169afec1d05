"""Student's t and chi-squared, as far as intervals and tests need them."""

from __future__ import annotations

import math
from statistics import NormalDist


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
