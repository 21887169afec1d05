"""Minimising without gradients."""

from __future__ import annotations

import math

import numpy as np
import pytest

from adapter_stilts.merging.blend import Point, minimise
from adapter_stilts.merging.methods import least_budget


def _bowl(point: Point) -> float:
    return (point[0] - 0.4) ** 2 + 3 * (point[1] + 0.7) ** 2 + abs(point[0] * point[1] + 0.28)


def test_finds_the_lowest_point_and_the_same_one_again() -> None:
    np.random.seed(5)
    following = np.random.random()
    np.random.seed(5)
    tried: list[Point] = []

    def watched(point: Point) -> float:
        tried.append(point)
        return _bowl(point)

    best = minimise(watched, (1.0, 1.0), bounds=(-1.5, 1.5), budget=150, seed=0)
    assert best == pytest.approx((0.4, -0.7), abs=0.03)
    assert tried[0] == (1.0, 1.0) and len(tried) <= 150
    assert all(abs(x) <= 1.5 and round(x, 4) == x for point in tried for x in point)
    assert np.random.random() == following
    assert minimise(_bowl, (1.0, 1.0), bounds=(-1.5, 1.5), budget=150, seed=0) == best
    other = minimise(_bowl, (1.0, 1.0), bounds=(-1.5, 1.5), budget=30, seed=1)
    assert other != minimise(_bowl, (1.0, 1.0), bounds=(-1.5, 1.5), budget=30, seed=0)


def test_keeps_the_start_where_nothing_is_better() -> None:
    def refuses(point: Point) -> float:
        return 0.0 if point == (0.5, 0.5, 0.5) else math.nan

    assert minimise(refuses, (0.5, 0.5, 0.5), bounds=(0.0, 1.5), budget=20, seed=0) == (
        0.5,
        0.5,
        0.5,
    )


@pytest.mark.parametrize("count", [2, 3, 9])
def test_the_least_budget_is_one_generation(count: int) -> None:
    calls: list[Point] = []

    def counted(point: Point) -> float:
        calls.append(point)
        return sum(point)

    minimise(counted, (0.1,) * count, bounds=(-1, 1), budget=least_budget(count), seed=0)
    assert len(calls) == least_budget(count)
