"""The weights of a merge, found without gradients (LoraHub, Huang et al. 2023, arXiv:2307.13269).

The loss, with a penalty for large weights, is minimised by CMA-ES (Hansen and Ostermeier 2001,
the package `cma`).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from adapter_stilts.merging.methods import MergeMethod

PENALTY = 0.05
"""On the mean size of the weights, as in LoraHub."""
LARGEST = 1.5
"""No weight is larger, nor below its negative (LoraHub); where signs are not free, below 0."""
DIGITS = 4
"""Points are tried as they are written down later: rounded to so many digits."""
_STEP = 0.3
_WRONG = 1e9

Point = tuple[float, ...]


@dataclass(frozen=True)
class Found:
    """What a search found: weights, and the losses without penalty.

    `penalised` is what was minimised, before and after: it never rises, as a loss may where
    smaller weights do nearly as well. `evaluations` counts the weights that were tried.
    """

    weights: Point
    loss_before: float
    loss_after: float
    penalised: tuple[float, float]
    evaluations: int


def search_weights(
    loss: Callable[[Point], float],
    method: MergeMethod,
    count: int,
    *,
    start: Sequence[float] = (),
    budget: int,
    seed: int,
) -> Found:
    """Searches the weights of a merge of `count` modules.

    Args:
        loss: of the merge with these weights; those of a mean add up to 1.
        start: where the search begins; by default at an equal share for each.
    """
    losses: dict[Point, float] = {}

    def counting(weights: Point) -> Point:
        total = sum(weights) if method.mean else 1.0
        return tuple(weight / total for weight in weights)

    def penalised(weights: Point) -> float:
        return losses[weights] + PENALTY * sum(map(abs, counting(weights))) / count

    def tried(weights: Point) -> float:
        if weights not in losses:
            if not any(weights) or (method.mean and sum(weights) <= 1e-3):
                return math.inf
            losses[weights] = loss(counting(weights))
        return penalised(weights)

    # Sums begin as the mean.
    share = 1.0 if method.averages else round(1 / count, DIGITS)
    bounds = (0.0 if method.mean else -LARGEST, LARGEST)
    first = [min(max(each, bounds[0]), bounds[1]) for each in start or (share,) * count]
    best = minimise(tried, first, bounds=bounds, budget=budget, seed=seed)
    begun = next(iter(losses))
    return Found(
        weights=best,
        loss_before=losses[begun],
        loss_after=losses[best],
        penalised=(penalised(begun), penalised(best)),
        evaluations=len(losses),
    )


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
    best = _round(start)
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
            tried = [_round(point) for point in points]
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


def _round(point: Sequence[float]) -> Point:
    return tuple(round(float(value), DIGITS) for value in point)


def _finite(value: float) -> float:
    return value if math.isfinite(value) else _WRONG
