"""Nearest neighbours, ranking and mining against plain versions of the same."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from adapter_stilts.inference.search import distinct, mine, nearest, rank, unit

Array = NDArray[Any]


def integers(seed: int, rows: int, width: int = 3, most: int = 2) -> Array:
    """Vectors of small whole numbers: products are exact, and many are equal."""
    drawn = np.random.default_rng(seed).integers(-most, most + 1, (rows, width))
    return drawn.astype(np.float32)


def sorted_in_full(queries: Array, candidates: Array, k: int) -> tuple[Array, Array]:
    scores = queries.astype(np.float64) @ candidates.astype(np.float64).T
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return order, np.take_along_axis(scores, order, axis=1)


def test_unit_leaves_zero_and_its_argument() -> None:
    given = np.array([[3.0, 4.0], [0.0, 0.0]])
    assert unit(given).tolist() == [[np.float32(0.6), np.float32(0.8)], [0, 0]]
    assert given.tolist() == [[3, 4], [0, 0]]
    assert unit(given).dtype == np.float32


class TestNearest:
    def test_goes_by_angle_not_by_length(self) -> None:
        # the inner products are 2 and 10, the cosines 1 and 0.995
        assert nearest(np.array([[1.0, 0.0]]), np.array([[2.0, 0.0], [10.0, 1.0]])).tolist() == [0]

    def test_the_first_of_equals(self) -> None:
        candidates = np.array([[0.0, 1.0], [1.0, 0.0], [4.0, 0.0]])
        assert nearest(np.array([[2.0, 0.0], [0.0, 0.5]]), candidates).tolist() == [1, 0]

    def test_finds_each_its_own(self) -> None:
        vectors = np.random.default_rng(0).normal(size=(50, 8))
        noise = np.random.default_rng(1).normal(size=(50, 8)) * 1e-3
        order = np.random.default_rng(2).permutation(50)
        assert nearest(vectors[order] + noise, vectors).tolist() == order.tolist()


class TestRank:
    @settings(deadline=None)
    @given(
        st.integers(0, 2**32 - 1),
        st.integers(0, 9),
        st.integers(1, 30),
        st.integers(1, 12),
        st.integers(1, 12),
        st.integers(1, 5),
    )
    def test_blocks_equal_the_full_sort(
        self, seed: int, queries: int, candidates: int, k: int, block: int, batch: int
    ) -> None:
        x, y = integers(seed, queries), integers(seed + 1, candidates)
        indices, scores = rank(x, y, k, block=block, batch=batch)
        expected, values = sorted_in_full(x, y, k)
        assert indices.tolist() == expected.tolist()
        assert scores.tolist() == values.tolist()

    @given(st.lists(st.floats(width=32, allow_nan=False), min_size=1), st.integers(1, 5))
    def test_scores_of_any_size_and_sign_sort(self, values: list[float], k: int) -> None:
        """Infinite, tiny and negative ones; 0.0 and -0.0 are equal."""
        pool = np.array(values, dtype=np.float32)[:, None]
        indices, scores = rank(np.ones((1, 1)), pool, k, block=2)
        expected = np.argsort(-pool[:, 0], kind="stable")[:k]
        assert indices[0].tolist() == expected.tolist()
        assert scores[0].tolist() == pool[expected, 0].tolist()

    def test_half_precision_is_summed_in_single(self) -> None:
        # 1 + 3000 * 0.0004883 = 2.465; summed in half precision nothing would be added to 1 ...
        candidates = np.full((2, 3001), 2**-11, dtype=np.float16)
        candidates[:, 0] = 1
        candidates[1, 1] = 0
        indices, scores = rank(np.ones((1, 3001), dtype=np.float16), candidates)
        # ... and the candidates would score the same
        assert indices.tolist() == [[0, 1]]
        assert scores.tolist() == [[1 + 3000 / 2048, 1 + 2999 / 2048]]

    def test_a_mapped_file(self, tmp_path: Path) -> None:
        pool = integers(3, 100, 8).astype(np.float16)
        np.save(tmp_path / "pool.npy", pool)
        mapped = np.load(tmp_path / "pool.npy", mmap_mode="r")
        queries = integers(4, 7, 8)
        found = rank(queries, mapped, 5, block=16)
        assert found.indices.tolist() == sorted_in_full(queries, pool, 5)[0].tolist()

    def test_fewer_candidates_than_asked_for(self) -> None:
        found = rank(integers(0, 2), integers(1, 3))
        assert found.indices.shape == found.scores.shape == (2, 3)

    def test_memory_is_as_stated(self) -> None:
        n, d, block, batch, k = 600, 64, 1500, 250, 20
        queries = np.random.default_rng(0).normal(size=(n, d)).astype(np.float16)
        pool = np.random.default_rng(1).normal(size=(10_000, d)).astype(np.float16)
        tracemalloc.start()
        found = rank(queries, pool, k, block=block, batch=batch)
        peak = tracemalloc.get_traced_memory()[1] - sum(part.nbytes for part in found)
        tracemalloc.stop()
        stated = 12 * block * batch + 4 * d * (block + batch) + 32 * n * k
        assert 0.5 * stated < peak < stated + 200_000

    @pytest.mark.parametrize(
        ("queries", "candidates", "k", "message"),
        [
            (np.ones((1, 2)), np.ones((1, 3)), 1, r"rows of one length, got \(1, 2\) and \(1, 3\)"),
            (np.ones(2), np.ones((1, 2)), 1, "rows of one length"),
            (np.ones((1, 2)), np.ones((0, 2)), 1, "cannot take 1 of 0 candidates"),
            (np.ones((1, 2)), np.ones((1, 2)), 0, "cannot take 0 of 1 candidates"),
            (np.full((1, 2), np.nan), np.ones((1, 2)), 1, "not numbers"),
        ],
    )
    def test_bad_input(self, queries: Array, candidates: Array, k: int, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            rank(queries, candidates, k)


class TestDistinct:
    def test_rows_and_once(self) -> None:
        rows, once = distinct(["b", "a", "b", "c", " c"])
        # "c" and " c" are two texts, but their ids could not be told apart
        assert rows.tolist() == [2, 1, 3, 4]
        assert once.tolist() == [False, True, False, False]

    def test_nothing(self) -> None:
        rows, once = distinct([])
        assert (len(rows), len(once)) == (0, 0)


def mined_plainly(x: Array, y: Array, k: int) -> list[tuple[int, int, float]]:
    """Every step in loops, as the paper has it."""
    x = x / np.linalg.norm(x, axis=1, keepdims=True)
    y = y / np.linalg.norm(y, axis=1, keepdims=True)
    cosine = x @ y.T
    near_x = [sorted(range(len(y)), key=lambda j: -cosine[i, j])[:k] for i in range(len(x))]
    near_y = [sorted(range(len(x)), key=lambda i: -cosine[i, j])[:k] for j in range(len(y))]
    mean_x = [np.mean([cosine[i, j] for j in near]) for i, near in enumerate(near_x)]
    mean_y = [np.mean([cosine[i, j] for i in near]) for j, near in enumerate(near_y)]

    def score(i: int, j: int) -> float:
        return float(cosine[i, j] / ((mean_x[i] + mean_y[j]) / 2))

    proposals = {(i, max(near, key=lambda j: score(i, j))) for i, near in enumerate(near_x)}
    proposals |= {(max(near, key=lambda i: score(i, j)), j) for j, near in enumerate(near_y)}
    kept: list[tuple[int, int, float]] = []
    for i, j in sorted(proposals, key=lambda pair: -score(*pair)):
        if all(i != a and j != b for a, b, _ in kept):
            kept.append((i, j, score(i, j)))
    return [pair for pair in kept if pair[2] > 0]


class TestMine:
    @settings(deadline=None, derandomize=True)  # equal scores up to rounding are a matter of luck
    @given(st.integers(0, 10_000), st.integers(1, 12), st.integers(1, 12), st.integers(1, 5))
    def test_is_the_plain_version(self, seed: int, sources: int, targets: int, k: int) -> None:
        random = np.random.default_rng(seed)
        x, y = random.random((sources, 4)), random.random((targets, 4))  # positive cosines
        found = mine(x, y, k)
        expected = mined_plainly(x, y, k)
        pairs = list(zip(found.source.tolist(), found.target.tolist(), strict=True))
        scores = dict(zip(pairs, found.scores.tolist(), strict=True))
        assert scores == pytest.approx({(i, j): score for i, j, score in expected}, abs=1e-5)
        assert list(scores.values()) == sorted(scores.values(), reverse=True)

    def test_by_hand(self) -> None:
        x = np.array([[1.0, 0.0], [0.96, 0.28]])
        y = np.array([[2.0, 0.0], [0.6, -0.8]])
        # cosines: x0y0 1, x0y1 .6, x1y0 .96, x1y1 .352; two neighbours are all, so the means are
        # x0 .8, x1 .656, y0 .98, y1 .476; scores: 1 / .89 = 1.124, .6 / .638 = .940,
        # .96 / .818 = 1.174, .352 / .566 = .622. Proposals: x0y0, x1y0 and x0y1: the best is x1y0,
        # x0y0 holds a sentence of it, and x0y1 is left.
        found = mine(x, y, 2)
        assert (found.source.tolist(), found.target.tolist()) == ([1, 0], [0, 1])
        assert found.scores == pytest.approx([0.96 / 0.818, 0.6 / 0.638])

    def test_every_sentence_once(self) -> None:
        random = np.random.default_rng(0)
        found = mine(random.random((300, 8)), random.random((200, 8)))
        assert 0 < len(found.scores) <= 200
        assert len(set(found.source.tolist())) == len(set(found.target.tolist()))
        assert len(set(found.source.tolist())) == len(found.scores)
        assert found.scores.tolist() == sorted(found.scores.tolist(), reverse=True)

    def test_finds_translations(self) -> None:
        random = np.random.default_rng(0)
        source = random.normal(size=(100, 16))
        order = random.permutation(100)
        target = source[order] + random.normal(size=(100, 16)) * 0.05
        found = mine(source, target)
        truth = dict(zip(order.tolist(), range(100), strict=True))
        assert dict(zip(found.source.tolist(), found.target.tolist(), strict=True)) == truth

    def test_changes_nothing_given(self) -> None:
        x, y = np.ones((2, 2), dtype=np.float32) * 3, np.ones((3, 2), dtype=np.float32)
        mine(x, y)
        assert (x == 3).all()
        assert (y == 1).all()

    def test_bad_input(self) -> None:
        with pytest.raises(ValueError, match="cannot take 4 of 0"):
            mine(np.ones((0, 2)), np.ones((1, 2)))
