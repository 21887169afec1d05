"""Scores and thresholds of mined pairs against values worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapter_stilts.metrics import get_metric
from adapter_stilts.metrics.retrieval import Pair, above, best_threshold

GOLD = [("d1", "e1"), ("d2", "e2"), ("d3", "e3")]


def score(predicted: list[Any], gold: list[Any]) -> dict[str, float]:
    return get_metric("bitext_f1").compute(predictions=predicted, references=gold)


def test_scores() -> None:
    # one of two predicted, of three gold: P 1/2, R 1/3, F1 2/5
    assert score([("d1", "e1"), ("d2", "e3")], GOLD) == {
        "f1": pytest.approx(40.0),
        "precision": 50.0,
        "recall": pytest.approx(100 / 3),
    }


def test_pairs_are_sets() -> None:
    doubled = [["d3", "e3"], ["d1", "e1"], ("d1", "e1"), ("d2", "e2")]
    assert score(doubled, [*GOLD, GOLD[0]]) == {"f1": 100.0, "precision": 100.0, "recall": 100.0}


def test_a_pair_has_a_direction() -> None:
    assert score([("e1", "d1")], GOLD)["f1"] == 0.0


@pytest.mark.parametrize("predicted", [[], [("d1", "e2")]])
def test_nothing_right_is_zero(predicted: list[Pair]) -> None:
    assert score(predicted, GOLD) == {"f1": 0.0, "precision": 0.0, "recall": 0.0}


@pytest.mark.parametrize("row", ["d1", ["d1"], ["d1", "e1", "x"], ["d1", 1]])
def test_malformed_rows(row: Any) -> None:
    with pytest.raises(ValueError, match=r"prediction 1 .* is no pair of two ids"):
        score([GOLD[0], row], GOLD)
    with pytest.raises(ValueError, match=r"reference 0 .* is no pair of two ids"):
        score([GOLD[0]], [row])


@pytest.mark.parametrize(
    ("scores", "threshold"),
    [
        # right .9, right .7, wrong .5: F1 1/2, 4/5, 2/3: between .7 and .5
        ({GOLD[0]: 0.9, GOLD[1]: 0.7, ("d3", "e1"): 0.5}, 0.6),
        # the order given does not matter
        ({("d3", "e1"): 0.5, GOLD[1]: 0.7, GOLD[0]: 0.9}, 0.6),
        # wrong .9, right .8, wrong .7: F1 0, 2/5, 1/3: between .8 and .7
        ({("d1", "e2"): 0.9, GOLD[0]: 0.8, ("d3", "e1"): 0.7}, 0.75),
        # the last pair is best: its own score
        ({GOLD[0]: 0.9, GOLD[1]: 0.7}, 0.7),
        ({GOLD[0]: 0.9}, 0.9),
        # nothing right, nothing at all
        ({("d1", "e2"): 0.9}, 0.0),
        ({}, 0.0),
        # right .9; wrong .8, .7, .6; right .5: F1 1/2, ..., 4/8: the first of equals: .85
        (
            {
                GOLD[0]: 0.9,
                ("a", "b"): 0.8,
                ("c", "d"): 0.7,
                ("e", "f"): 0.6,
                GOLD[1]: 0.5,
                ("g", "h"): 0.4,
            },
            0.85,
        ),
        # equal scores in the order given: right, wrong of .8: best between them, at .8 itself
        ({GOLD[0]: 0.8, ("a", "b"): 0.8}, 0.8),
        # negative scores
        ({GOLD[0]: -1.0, ("a", "b"): -3.0}, -2.0),
    ],
)
def test_best_threshold(scores: dict[Pair, float], threshold: float) -> None:
    assert best_threshold(scores, GOLD) == pytest.approx(threshold)


def test_above_keeps_equal_scores_and_the_order() -> None:
    scores = {GOLD[2]: 0.5, GOLD[0]: 0.9, GOLD[1]: 0.4}
    assert above(scores, 0.5) == [GOLD[2], GOLD[0]]


pairs = st.tuples(st.sampled_from("abc"), st.sampled_from("xyz"))


@given(st.dictionaries(pairs, st.integers(), min_size=1), st.sets(pairs, min_size=1))
def test_no_threshold_is_better(scores: dict[Pair, int], gold: set[Pair]) -> None:
    """Where no two scores are equal; with equal ones the official search sees inside the tie."""
    ranked = {pair: 2.0 * i for i, pair in enumerate(sorted(scores, key=lambda p: -scores[p]))}
    reached = [
        get_metric("bitext_f1").compute(predictions=above(ranked, t), references=list(gold))["f1"]
        for t in [-1.0, *(value + 1.0 for value in ranked.values())]
    ]
    best = above(ranked, best_threshold(ranked, gold))
    assert get_metric("bitext_f1").compute(predictions=best, references=list(gold))["f1"] == max(
        reached
    )
