"""Windows over contexts, and answer positions within them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from adapter_stilts.data.load import load_examples
from adapter_stilts.heads.span import (
    Answer,
    SpanLogits,
    answer_text,
    decode,
)
from adapter_stilts.tasks.registry import get_task
from features_kit import encode_as

encode = encode_as("span")

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
