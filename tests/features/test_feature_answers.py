"""Decoding spans against a brute-force reference."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from adapter_stilts.heads.span import (
    Answer,
    Span,
    SpanLogits,
    answer_text,
    best_spans,
    decode,
)


def test_windows_of_several_questions_are_decoded_together() -> None:
    # Question 0: windows 0 and 2; question 1: window 1. Three context tokens from position 2.
    windows: dict[str, list[Any]] = {
        "example": [0, 1, 0],
        "context_start": [2, 2, 2],
        "offsets": [[0, 3, 4, 7, 8, 11], [0, 3, 4, 7, 8, 11], [8, 11, 12, 15, 16, 19]],
    }

    def logits(null: float, start: list[float], end: list[float]) -> SpanLogits:
        return SpanLogits(
            np.array([null, 50, *start, 50], np.float32), np.array([0, 50, *end, 50], np.float32)
        )

    answers = decode(
        [
            logits(4, [0, 2, 0], [0, 0, 3]),
            logits(-1, [1, 0, 0], [2, 0, 0]),
            logits(2.5, [0, 6, 0], [0, 5, 0]),
        ],
        windows,
        2,
    )
    assert answers[0].spans[0] == Span(12, 15, 11)  # second window, (6 + 5)
    assert answers[0].spans[1] == Span(12, 19, 6)  # 6 + 0
    assert Span(8, 15, 5) in answers[0].spans  # 0 + 5
    assert Span(4, 11, 5) in answers[0].spans  # first window, 2 + 3
    assert answers[0].null_score == 2.5  # the lower of 4 and 2.5
    assert answers[0].no_answer == 2.5 - 11
    assert answers[1].spans[0] == Span(0, 3, 3)
    assert answers[1].null_score == -1


def test_same_span_in_two_windows_counts_once_at_its_best() -> None:
    windows: dict[str, list[Any]] = {
        "example": [0, 0],
        "context_start": [1, 1],
        "offsets": [[0, 2], [0, 2]],
    }
    low = SpanLogits(np.array([0, 1], np.float32), np.array([0, 1], np.float32))
    high = SpanLogits(np.array([0, 2], np.float32), np.array([0, 3], np.float32))
    (answer,) = decode([high, low], windows, 1)
    assert answer.spans == (Span(0, 2, 5),)


def brute_force(
    start: np.ndarray[Any, Any], end: np.ndarray[Any, Any], n_best: int, width: int
) -> list[tuple[int, int, float]]:
    pairs = [
        (i, j, float(start[i] + end[j]))
        for i in range(len(start))
        for j in range(i, min(len(start), i + width))
    ]
    return sorted(pairs, key=lambda pair: (-pair[2], pair[0], pair[1]))[:n_best]


def found_in(
    logits: list[tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]], n_best: int, width: int
) -> list[list[tuple[int, int, float]]]:
    """The spans of every window, decoded together."""
    tokens = max(len(start) for start, _ in logits)
    start, end = (np.full((len(logits), tokens), -np.inf, np.float32) for _ in range(2))
    for row, (starts, ends) in enumerate(logits):
        start[row, : len(starts)], end[row, : len(ends)] = starts, ends
    spans = best_spans(start, end, n_best=n_best, max_answer_tokens=width)
    found: list[list[tuple[int, int, float]]] = [[] for _ in logits]
    for window, first, last, score in zip(*spans, strict=True):
        found[window].append((int(first), int(last), float(score)))
    return found


@settings(max_examples=300, deadline=None)
@given(
    windows=st.lists(
        st.lists(st.tuples(st.integers(-3, 3), st.integers(-3, 3)), min_size=0, max_size=12),
        min_size=1,
        max_size=4,
    ),
    n_best=st.integers(1, 25),
    width=st.integers(1, 14),
)
def test_best_spans_of_windows_together_are_those_of_brute_force_ties_too(
    windows: list[list[tuple[int, int]]], n_best: int, width: int
) -> None:
    logits = [tuple(np.array(each, np.float32).reshape(-1, 2).T) for each in windows]
    found = found_in(logits, n_best, width)  # type: ignore[arg-type]
    assert found == [brute_force(start, end, n_best, width) for start, end in logits]


@settings(max_examples=100, deadline=None)
@given(
    logits=st.lists(
        st.tuples(st.floats(-20, 20, width=32), st.floats(-20, 20, width=32)),
        min_size=1,
        max_size=30,
    )
)
def test_best_spans_with_any_floats(logits: list[tuple[float, float]]) -> None:
    start, end = np.array(logits, np.float32).T
    assert found_in([(start, end)], 7, 5) == [brute_force(start, end, 7, 5)]


def test_longest_answer_is_kept_to() -> None:
    start = np.array([9, 0, 0, 0], np.float32)
    end = np.array([0, 0, 0, 9], np.float32)
    assert found_in([(start, end)], 20, 4)[0][0] == (0, 3, 18)
    (best,) = found_in([(start, end)], 20, 3)
    assert best[0] == (0, 0, 9)
    assert all(last - first < 3 for first, last, _ in best)
    assert len(best) == 9  # 3 + 3 + 2 + 1 spans


def test_more_windows_than_are_decoded_at_a_time() -> None:
    random = np.random.default_rng(0)
    sizes = random.integers(1, 9, 150)
    windows = {
        "example": random.integers(0, 40, 150).tolist(),
        "context_start": [1] * 150,
        "offsets": [[edge for k in range(size) for edge in (2 * k, 2 * k + 1)] for size in sizes],
    }
    logits = [SpanLogits(*random.normal(size=(2, size + 2)).astype(np.float32)) for size in sizes]
    together = decode(logits, windows, 40)
    for question in range(40):
        mine = [row for row, example in enumerate(windows["example"]) if example == question]
        alone = {
            "example": [0] * len(mine),
            "context_start": [1] * len(mine),
            "offsets": [windows["offsets"][row] for row in mine],
        }
        assert decode([logits[row] for row in mine], alone, 1) == [together[question]]
    assert decode([], {"example": [], "context_start": [], "offsets": []}, 2) == [
        Answer((), np.inf),
        Answer((), np.inf),
    ]


def test_answer_text_has_no_white_space_at_its_ends() -> None:
    assert answer_text("in  Paris now", Span(2, 10, 0.0)) == "Paris"
