"""The rules that predict a good source: against direct computations, and planted best sources."""

from __future__ import annotations

from statistics import fmean

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import multivariate_normal, rankdata

from adapter_stilts.study.recommend_rules import (
    centre,
    half_samples,
    logme,
    one_hot,
    parameter_similarity,
    text_similarity,
)
from adapter_stilts.study.recommender import (
    mean_ranks,
    ranks,
    standing,
    successive_halving,
    sureness,
)
from adapter_stilts.study.sample import Floats


def _largest_evidence(features: Floats, column: Floats) -> float:
    """The Gaussian density of the labels themselves, maximised numerically."""
    product, eye = features @ features.T, np.eye(len(column))

    def lost(logs: Floats) -> float:
        covariance = eye * np.exp(-logs[1]) + product * np.exp(-logs[0])
        return -float(multivariate_normal.logpdf(column, None, covariance))

    starts = [(0.0, 0.0), (3.0, 1.0), (-2.0, 3.0)]
    found = [minimize(lost, start, method="Nelder-Mead", options=_EXACT) for start in starts]
    return -min(float(each.fun) for each in found) / len(column)


_EXACT = {"xatol": 1e-7, "fatol": 1e-9, "maxiter": 4000}


@pytest.mark.parametrize(("rows", "width"), [(40, 6), (25, 60)])
def test_logme_is_the_largest_evidence(rows: int, width: int) -> None:
    chance = np.random.default_rng(3)
    features = chance.normal(size=(rows, width)) * chance.uniform(0.2, 2, width) + 0.4
    hidden = features[:, :3] @ chance.normal(size=(3, 3)) + chance.normal(size=(rows, 3))
    targets = one_hot(hidden.argmax(1))
    expected = fmean(_largest_evidence(features, column) for column in targets.T)
    assert logme(features, targets) == pytest.approx(expected, abs=1e-4)


def test_logme_finds_the_planted_source() -> None:
    chance = np.random.default_rng(0)
    labels = chance.integers(0, 4, 200)
    codes = chance.normal(size=(4, 32))
    scores = [
        logme(codes[labels] * strength + chance.normal(size=(200, 32)), one_hot(labels))
        for strength in (0.0, 0.3, 1.0, 3.0)
    ]
    assert scores == sorted(scores) and scores[3] - scores[0] > 0.5


def test_labels_that_are_all_the_same_tell_nothing() -> None:
    features = np.random.default_rng(0).normal(size=(9, 4))
    with pytest.raises(ValueError, match="two kinds"):
        logme(features, one_hot(np.zeros(9, dtype=np.int64)))
    some = np.column_stack([np.ones(9), np.arange(9) % 2]).astype(np.float64)
    assert logme(features, some) == logme(features, some[:, 1:])
    assert np.isfinite(logme(np.zeros((9, 4)), some))
    assert np.isfinite(logme(np.eye(9), some))  # the labels are reached wholly


def test_what_a_group_shares_does_not_count() -> None:
    """A softmax over a question's options does not see it, and in LogME it would be noise."""
    chance = np.random.default_rng(1)
    groups = np.repeat(np.arange(60), 4)
    right = (np.arange(240) % 4 == np.repeat(chance.integers(0, 4, 60), 4)).astype(np.float64)
    features = right[:, None] * chance.normal(size=16) * 0.5 + chance.normal(size=(240, 16))
    shared = features + 20 * chance.normal(size=(60, 16))[groups]
    own, same = (logme(centre(x, groups), centre(right[:, None], groups)) for x in
                 (features, shared))  # fmt: skip
    assert own == pytest.approx(same, abs=1e-6)
    assert logme(shared, right[:, None]) < logme(features, right[:, None]) - 0.01


def test_parameters_are_compared_by_what_they_do() -> None:
    chance = np.random.default_rng(2)

    def module() -> dict[str, tuple[Floats, Floats]]:
        return {p: (chance.normal(size=(3, 8)), chance.normal(size=(6, 3))) for p in "ab"}

    one, other = module(), module()
    flat = [np.concatenate([(up @ down).ravel() for down, up in each.values()])
            for each in (one, other)]  # fmt: skip
    expected = flat[0] @ flat[1] / np.linalg.norm(flat[0]) / np.linalg.norm(flat[1])
    assert parameter_similarity(one, other) == pytest.approx(expected)
    renumbered = {p: (down[::-1] * 2, up[:, ::-1]) for p, (down, up) in one.items()}
    assert parameter_similarity(one, renumbered) == pytest.approx(1)
    half = {"a": one["a"]}
    lengths = [np.linalg.norm(up @ down) ** 2 for down, up in one.values()]
    expected = np.sqrt(lengths[0] / sum(lengths))
    assert parameter_similarity(one, half) == pytest.approx(expected)
    assert parameter_similarity(one, {"a": (np.zeros((3, 8)), np.zeros((6, 3)))}) == 0


def test_texts_are_compared_by_their_means() -> None:
    first = np.array([[1.0, 0.0], [3.0, 0.0]])
    assert text_similarity(first, np.array([[1.0, 1.0]])) == pytest.approx(np.sqrt(0.5))
    assert text_similarity(first, np.zeros((2, 2))) == 0


def test_ranks_are_scipys() -> None:
    chance = np.random.default_rng(5)
    for _ in range(20):
        scores = chance.integers(0, 4, 7).astype(float).tolist()
        assert ranks(scores).tolist() == rankdata([-score for score in scores]).tolist()
    assert mean_ranks([[3.0, 2.0, 1.0], [1.0, None, 2.0]]).tolist() == [2.0, 2.0, 2.0]
    assert mean_ranks([[3.0, 2.0, 1.0], [None, None, None]]).tolist() == [1.0, 2.0, 3.0]


def test_half_samples_vary_like_the_whole() -> None:
    values = np.random.default_rng(7).normal(size=400)
    means = [values[rows].mean() for rows in half_samples(400, 4000)]
    assert np.std(means) == pytest.approx(values.std() / np.sqrt(400), rel=0.05)
    rows = list(half_samples(9, 50))
    assert all(len(set(each)) == 4 for each in rows) and len({tuple(each) for each in rows}) > 20


def test_sureness_counts_draws() -> None:
    drawn = np.array([[1.0, 2, 3], [1, 3, 2], [2, 1, 3], [1.5, 1.5, 3]])
    found = sureness(drawn)
    assert [each.first for each in found] == [0.625, 0.375, 0.0]
    assert [(each.low, each.high) for each in found] == [(1, 2), (1, 3), (2, 3)]
    alike = sureness(np.array([[1.5, 1.5]] * 4))
    assert [(each.first, each.low, each.high) for each in alike] == [(0.5, 1, 2)] * 2


def test_halving_spends_little_on_the_worst() -> None:
    spent: list[tuple[str, int]] = []

    def score(name: str, steps: int) -> float:
        spent.append((name, steps))
        return ord(name) + (200 if name == "c" and steps > 10 else 0)  # a late starter

    rungs = successive_halving("abcdefgh", score, least=10)
    assert [(rung.steps, "".join(sorted(rung.scores))) for rung in rungs] == [
        (10, "abcdefgh"), (20, "efgh"), (40, "gh"),
    ]  # fmt: skip
    assert standing(rungs) == list("hgfedcba")
    assert sum(steps for _, steps in spent) == 3 * 80
    rungs = successive_halving("abcde", score, least=10)
    assert standing(rungs)[0] == "c"
    assert len(successive_halving(["a"], score, least=5)) == 1
