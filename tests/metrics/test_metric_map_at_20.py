"""Mean average precision at 20 against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapter_stilts.metrics import get_metric
from adapter_stilts.metrics.retrieval import average_precision

ids = st.sampled_from("abcdefg")


@pytest.mark.parametrize(
    ("ranked", "relevant", "k", "expected"),
    [
        ("abc", "a", 3, 1),
        ("bac", "a", 3, 1 / 2),
        ("bca", "a", 2, 0),  # beyond k
        ("", "a", 3, 0),
        # places 1 and 3: (1/1 + 2/3) / 2
        ("axb", "ab", 3, 5 / 6),
        # one of two found: (1/1) / 2
        ("axy", "ab", 3, 1 / 2),
        # more relevant than k: the divisor is k
        ("ab", "abc", 2, 1),
        ("ax", "abc", 2, 1 / 2),
        # fewer predictions than relevant: the divisor is not their number
        ("a", "abc", 20, 1 / 3),
        # named twice: the second time it is wrong, and keeps its place: (1/1 + 2/3) / 2
        ("aab", "ab", 3, 5 / 6),
        # relevant twice is relevant once
        ("a", "aa", 3, 1),
    ],
)
def test_average_precision(ranked: str, relevant: str, k: int, expected: float) -> None:
    assert average_precision(ranked, relevant, k) == pytest.approx(expected)


def test_mean_over_the_queries() -> None:
    # 1; 1/2; nothing predicted: 0
    scores = get_metric("map_at_20").compute(
        predictions=[["a", "b"], ["b", "a"], []], references=[["a"], ["a"], ["a"]]
    )
    assert scores == {"map_at_20": 50.0}


def test_the_last_digit_is_that_of_xtreme_r() -> None:
    # 1, 1 and 1/2: utils_mewslix.py takes their mean, 2.5 / 3, and that times 100. 250 / 3 is less.
    scores = get_metric("map_at_20").compute(
        predictions=[["a"], ["a"], ["b", "a"]], references=[["a"]] * 3
    )
    assert scores == {"map_at_20": 83.33333333333334}


def test_twenty_are_looked_at() -> None:
    names = [f"c{i}" for i in range(30)]
    # the 20th place: 1/20; the 21st: 0
    scores = get_metric("map_at_20").compute(
        predictions=[names, names], references=[["c19"], ["c20"]]
    )
    assert scores["map_at_20"] == pytest.approx(100 * (1 / 20) / 2)
    # 25 are relevant, the first 20 of them retrieved
    assert (
        get_metric("map_at_20").compute(predictions=[names], references=[names[:25]])["map_at_20"]
        == 100.0
    )


def test_rows_may_be_arrays() -> None:
    scores = get_metric("map_at_20").compute(
        predictions=[np.array(["b", "a"])], references=[("a",)]
    )
    assert scores["map_at_20"] == 50.0


@pytest.mark.parametrize(
    ("predictions", "references", "message"),
    [
        ([["a"]], [[]], "reference 0 .* names no candidate"),
        ([["a"], "b"], [["a"], ["b"]], "prediction 1 .* must be a list of candidate ids"),
        ([[0]], [["0"]], "prediction 0 .* must be a list of candidate ids"),
        ([["a"]], ["a"], "reference 0 .* must be a list of candidate ids"),
    ],
)
def test_malformed_rows(predictions: list[object], references: list[object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        get_metric("map_at_20").compute(predictions=predictions, references=references)


@given(st.lists(ids, max_size=8), st.lists(ids, min_size=1), st.integers(1, 8))
def test_is_the_definition(ranked: list[str], relevant: list[str], k: int) -> None:
    """As the official code says it: a hit is a relevant id that did not stand before."""
    top = ranked[:k]
    hits = [c in relevant and c not in top[:i] for i, c in enumerate(top)]
    expected = sum(sum(hits[: i + 1]) / (i + 1) for i, hit in enumerate(hits) if hit)
    assert average_precision(ranked, relevant, k) == expected / min(len(set(relevant)), k)


@given(st.lists(ids, max_size=8), ids, st.integers(1, 8))
def test_is_the_reciprocal_rank_of_a_single_one(ranked: list[str], only: str, k: int) -> None:
    """So Mewsli-X is scored."""
    rank = next((place for place, c in enumerate(ranked[:k], start=1) if c == only), None)
    assert average_precision(ranked, [only], k) == (1 / rank if rank else 0)
