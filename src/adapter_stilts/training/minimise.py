"""Minimising without gradients: CMA-ES (Hansen and Ostermeier 2001), by the package `cma`."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence

import numpy as np

DIGITS = 4
"""Points are tried as they are written down later: rounded to so many digits."""
_STEP = 0.3
_WRONG = 1e9

Point = tuple[float, ...]


def least_budget(count: int) -> int:
    """Evaluations that one generation needs, with that of the start."""
    return 5 + int(3 * math.log(count))


def minimise(
    function: Callable[[Point], float],
    start: Sequence[float],
    *,
    bounds: tuple[float, float],
    budget: int,
    seed: int,
) -> Point:
    """The best point found with `budget` evaluations at most, the start among them.

    Args:
        function: a value that is not finite counts as very bad.
        start: two numbers or more.
        seed: the same one finds the same point.
    """
    best = _rounded(start)
    lowest = _finite(function(best))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it cannot plot without matplotlib
        import cma
    options = {"bounds": list(bounds), "seed": seed + 1, "verbose": -9, "verb_log": 0}
    state = np.random.get_state()  # `cma` draws from, and seeds, NumPy's one generator
    try:
        search = cma.CMAEvolutionStrategy(list(start), _STEP, options)
        for _ in range((budget - 1) // search.popsize):
            points = search.ask()
            tried = [_rounded(point) for point in points]
            values = [_finite(function(point)) for point in tried]
            search.tell(points, values)
            if min(values) < lowest:
                lowest = min(values)
                best = tried[values.index(lowest)]
            if search.stop():
                break
    finally:
        np.random.set_state(state)
    return best


def _rounded(point: Sequence[float]) -> Point:
    return tuple(round(float(value), DIGITS) for value in point)


def _finite(value: float) -> float:
    return value if math.isfinite(value) else _WRONG
