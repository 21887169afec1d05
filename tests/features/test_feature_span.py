"""Windows, answer positions, and decoding against a brute-force reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapter_stilts.data.load import load_examples
from adapter_stilts.features.span import (
    Answer,
    Span,
    SpanLogits,
    answer_text,
    best_spans,
    decode,
    encode,
)
from adapter_stilts.tasks.registry import get_task

CONTEXT = " ".join(f"word{number}" for number in range(100))


def one(question: str, context: str, *answers: str) -> dict[str, list[Any]]:
    starts = [context.index(answer) for answer in answers]
    return {
        "question": [question],
        "context": [context],
        "answers": [list(answers)],
        "answer_starts": [starts],
    }


def peaked(features: dict[str, list[Any]], window: int) -> SpanLogits:
    """Logits of a model that is sure of the gold positions."""
    length = len(features["input_ids"][window])
    start, end = (np.zeros(length, dtype=np.float32) for _ in range(2))
    start[features["start_positions"][window]] = 10
    end[features["end_positions"][window]] = 10
    return SpanLogits(start, end)


def test_windows_cover_the_context_and_overlap_by_the_stride(tokenizer: Any) -> None:
    features = encode(one("who?", CONTEXT), tokenizer, max_length=40, stride=7)
    windows = len(features["input_ids"])
    assert windows > 2
    assert features["length"] == [len(ids) for ids in features["input_ids"]]
    assert max(features["length"]) == 40
    assert features["example"] == [0] * windows
    question = tokenizer("who?", add_special_tokens=False)["input_ids"]
    begin = len(question) + 3  # <s> question </s></s>
    assert features["context_start"] == [begin] * windows
    whole = tokenizer(CONTEXT, add_special_tokens=False)["input_ids"]
    joined: list[int] = []
    for ids in features["input_ids"]:
        assert ids[:begin] == [0, *question, 2, 2]
        assert ids[-1] == 2
        part = ids[begin:-1]
        if joined:
            assert joined[-7:] == part[:7]
        joined += part[7:] if joined else part
    assert joined == whole
    for ids, flat in zip(features["input_ids"], features["offsets"], strict=True):
        assert len(flat) == 2 * (len(ids) - begin - 1)


def test_answer_is_marked_only_in_the_windows_that_hold_it(tokenizer: Any) -> None:
    examples = one("who?", CONTEXT, "word50 word51")
    features = encode(examples, tokenizer, max_length=40, stride=7)
    marked = []
    for window, flat in enumerate(features["offsets"]):
        offsets = [(flat[n], flat[n + 1]) for n in range(0, len(flat), 2)]
        start, end = features["start_positions"][window], features["end_positions"][window]
        at = CONTEXT.index("word50")
        holds = offsets[0][0] <= at and offsets[-1][1] >= at + len("word50 word51")
        assert (start > 0) == (end > 0) == holds
        if holds:
            begin = features["context_start"][window]
            text = CONTEXT[offsets[start - begin][0] : offsets[end - begin][1]]
            assert text.strip() == "word50 word51"
            marked.append(window)
    assert marked
    assert len(marked) < len(features["offsets"])


def test_first_annotated_answer_counts(tokenizer: Any) -> None:
    context = "Ann and Bob met Cy."
    features = encode(one("who?", context, "Cy", "Ann"), tokenizer, max_length=64)
    (answer,) = decode([peaked(features, 0)], features, 1)
    assert answer_text(context, answer.spans[0]) in ("Cy", "Cy.")


@pytest.mark.usefixtures("features_cache")
@pytest.mark.parametrize("task", ["squad", "squad-v2"])
@pytest.mark.parametrize("max_length", [64, 256])
def test_gold_positions_of_the_samples_decode_to_their_answers(
    task: str, max_length: int, embedded_tokenizer: Any
) -> None:
    inexact = 0
    for split in ("train", "dev"):
        rows = load_examples(get_task(task), split, "sample").examples
        features = encode(rows[:], embedded_tokenizer, max_length=max_length, stride=24)
        logits = [peaked(features, window) for window in range(len(features["input_ids"]))]
        answers = decode(logits, features, len(rows), max_answer_tokens=60)
        for row, answer in zip(rows, answers, strict=True):
            if not row["answers"]:
                assert answer.null_score == 20
                assert answer.no_answer >= 0
                continue
            found = answer_text(row["context"], answer.spans[0])
            assert answer.spans[0].score == 20
            assert row["answers"][0] in found
            if found != row["answers"][0]:
                # The vocabulary has pieces such as "1996.": no token ends where the answer does.
                begin = answer.spans[0].begin
                piece = embedded_tokenizer.tokenize(row["context"][begin : answer.spans[0].end])
                assert piece[-1].endswith(".")
                assert found == row["answers"][0] + "."
                inexact += 1
    assert inexact <= 2


def test_unanswerable_points_at_the_first_token(tokenizer: Any) -> None:
    features = encode(one("who?", "Nobody came."), tokenizer, max_length=64)
    assert features["start_positions"] == features["end_positions"] == [0]
    unlabelled = encode(
        {"question": ["who?"], "context": ["Nobody came."]}, tokenizer, max_length=64
    )
    assert "start_positions" not in unlabelled
    assert unlabelled["input_ids"] == features["input_ids"]


def test_empty_context(tokenizer: Any) -> None:
    features = encode(one("who?", ""), tokenizer, max_length=64)
    assert features["offsets"] == [[]]
    length = features["length"][0]
    logits = [SpanLogits(np.full(length, 1.5, np.float32), np.ones(length, np.float32))]
    assert decode(logits, features, 1) == [Answer((), 2.5)]
    assert decode(logits, features, 1)[0].no_answer > 1e8


@pytest.mark.parametrize("max_length", [12, 16, 48])
def test_question_longer_than_the_window_is_cut(tokenizer: Any, max_length: int) -> None:
    question = " ".join(["why"] * 200)
    features = encode(one(question, CONTEXT), tokenizer, max_length=max_length, stride=128)
    assert len(features["input_ids"]) > 1
    assert max(features["length"]) <= max_length
    edges = [flat[-1] for flat in features["offsets"]]
    assert edges == sorted(set(edges))  # every window goes on
    assert edges[-1] == len(CONTEXT)


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


@settings(max_examples=300, deadline=None)
@given(
    logits=st.lists(st.tuples(st.integers(-3, 3), st.integers(-3, 3)), min_size=0, max_size=12),
    n_best=st.integers(1, 25),
    width=st.integers(1, 14),
)
def test_best_spans_are_those_of_brute_force_ties_too(
    logits: list[tuple[int, int]], n_best: int, width: int
) -> None:
    start, end = np.array(logits, np.float32).reshape(-1, 2).T
    found = best_spans(start, end, n_best=n_best, max_answer_tokens=width)
    assert found == brute_force(start, end, n_best, width)


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
    assert best_spans(start, end, n_best=7, max_answer_tokens=5) == brute_force(start, end, 7, 5)


def test_longest_answer_is_kept_to() -> None:
    start = np.array([9, 0, 0, 0], np.float32)
    end = np.array([0, 0, 0, 9], np.float32)
    assert best_spans(start, end, max_answer_tokens=4)[0] == (0, 3, 18)
    best = best_spans(start, end, max_answer_tokens=3)
    assert best[0] == (0, 0, 9)
    assert all(last - first < 3 for first, last, _ in best)
    assert len(best) == 9  # 3 + 3 + 2 + 1 spans


def test_answer_text_has_no_white_space_at_its_ends() -> None:
    assert answer_text("in  Paris now", Span(2, 10, 0.0)) == "Paris"
