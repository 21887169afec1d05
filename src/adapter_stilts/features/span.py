"""Extractive question answering: windows over the context."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from transformers import PreTrainedTokenizerFast

from adapter_stilts.features.edges import inner


def encode(
    examples: Mapping[str, Sequence[Any]],
    tokenizer: PreTrainedTokenizerFast,
    *,
    max_length: int,
    stride: int = 128,
) -> dict[str, list[Any]]:
    """Windows `<s> question </s></s> part of the context </s>` that overlap by `stride` tokens.

    Training positions point at the first annotated answer that lies in the window, without the
    white space at its edges, else at the first token (as for SQuAD 2.0's unanswerable
    questions). A question longer than a third of the window is cut.

    Returns:
        Columns `input_ids`, `length`, `example`, `context_start` (position of the first context
        token), `offsets` (begin and end in characters of every context token, flat), and, where
        answers are given, `start_positions`, `end_positions`.
    """
    # Some room is left beside question and overlap, or windows would never move on.
    stride = max(0, min(stride, max_length // 3, max_length - max_length // 3 - 8))
    questions = _cut([q.strip() for q in examples["question"]], tokenizer, max_length // 3)
    encoded = tokenizer(
        questions,
        list(examples["context"]),
        truncation="only_second",
        max_length=max_length,
        stride=stride,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
    )
    features: dict[str, list[Any]] = {
        "input_ids": encoded["input_ids"],
        "length": [len(ids) for ids in encoded["input_ids"]],
        "example": list(encoded["overflow_to_sample_mapping"]),
        "context_start": [],
        "offsets": [],
    }
    labelled = "answers" in examples
    if labelled:
        features["start_positions"], features["end_positions"] = [], []
    for window, row in enumerate(features["example"]):
        context = [place for place, part in enumerate(encoded.sequence_ids(window)) if part == 1]
        begin = context[0] if context else 0
        offsets = [encoded["offset_mapping"][window][place] for place in context]
        features["context_start"].append(begin)
        features["offsets"].append([edge for pair in offsets for edge in pair])
        if labelled:
            answers = zip(examples["answer_starts"][row], examples["answers"][row], strict=True)
            context_text = examples["context"][row]
            spans = [inner(context_text, s, s + len(text)) for s, text in answers]
            start, end = _answer_tokens(offsets, spans)
            features["start_positions"].append(begin + start if start >= 0 else 0)
            features["end_positions"].append(begin + end if end >= 0 else 0)
    return features


def _cut(questions: list[str], tokenizer: PreTrainedTokenizerFast, tokens: int) -> list[str]:
    """Questions of at most that many tokens; nearly all pass unchanged."""
    encoded = tokenizer(questions, add_special_tokens=False, return_offsets_mapping=True)
    return [
        question if len(offsets) <= tokens else question[: offsets[tokens - 1][1]]
        for question, offsets in zip(questions, encoded["offset_mapping"], strict=True)
    ]


def _answer_tokens(
    offsets: Sequence[tuple[int, int]], spans: Sequence[tuple[int, int]]
) -> tuple[int, int]:
    """First and last context token of the first span that lies wholly in the window, or -1, -1."""
    if not offsets:
        return -1, -1
    edges = np.asarray(offsets)
    for begin, end in spans:
        if begin < edges[0, 0] or end > edges[-1, 1]:
            continue
        # Tokens may begin with a space or end early: take those that overlap the span.
        inside = np.flatnonzero((edges[:, 0] < end) & (edges[:, 1] > begin))
        if inside.size:
            return int(inside[0]), int(inside[-1])
    return -1, -1
