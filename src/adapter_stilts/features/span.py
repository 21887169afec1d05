"""Extractive question answering: windows over the context, and spans decoded over all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from transformers import PreTrainedTokenizerFast


def encode(
    examples: Mapping[str, Sequence[Any]],
    tokenizer: PreTrainedTokenizerFast,
    *,
    max_length: int,
    stride: int = 128,
) -> dict[str, list[Any]]:
    """Windows `<s> question </s></s> part of the context </s>` that overlap by `stride` tokens.

    Training positions point at the first annotated answer that lies in the window, else at the
    first token (as for SQuAD 2.0's unanswerable questions). A question longer than a third of
    the window is cut.

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
            start, end = _answer_tokens(offsets, [(s, s + len(text)) for s, text in answers])
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


class SpanLogits(NamedTuple):
    """Logits of one window: `start` and `end` have one value a token of the sequence."""

    start: npt.NDArray[np.float32]
    end: npt.NDArray[np.float32]


class Span(NamedTuple):
    """An answer: characters `begin` to `end` of the context, and its score (sum of two logits)."""

    begin: int
    end: int
    score: float


class Answer(NamedTuple):
    """The best spans of one question, best first, and the score of giving no answer.

    `null_score` is the lowest no-answer score among the question's windows (Devlin et al. 2019,
    section 4.3): the question is unanswerable only if every window says so.
    """

    spans: tuple[Span, ...]
    null_score: float

    @property
    def no_answer(self) -> float:
        """How much better no answer is than the best span; the threshold is compared with it."""
        return self.null_score - (self.spans[0].score if self.spans else -1e9)


def best_spans(
    start: npt.NDArray[np.float32],
    end: npt.NDArray[np.float32],
    *,
    n_best: int = 20,
    max_answer_tokens: int = 30,
) -> list[tuple[int, int, float]]:
    """The `n_best` token spans with `start <= end < start + max_answer_tokens`, best first.

    Args:
        start, end: logits of the context tokens only, shape (tokens,).

    Returns:
        Triples of first token, last token and score (start logit + end logit).
    """
    tokens = len(start)
    width = min(max_answer_tokens, tokens)
    if not tokens:
        return []
    # scores[i, k] is the span from token i to token i + k; ends past the last token are -inf.
    padded = np.concatenate([end, np.full(width - 1, -np.inf, dtype=end.dtype)])
    scores = start[:, None] + np.lib.stride_tricks.sliding_window_view(padded, width)
    flat = scores.ravel()
    count = min(n_best, flat.size)
    lowest = np.partition(flat, -count)[-count]
    top = np.flatnonzero(flat >= lowest)
    # Ties go to the earlier, then shorter span, at the cut too.
    top = top[np.lexsort((top, -flat[top]))][:count]
    return [
        (int(place // width), int(place // width + place % width), float(flat[place]))
        for place in top
        if np.isfinite(flat[place])
    ]


def decode(
    logits: Sequence[SpanLogits],
    windows: Mapping[str, Sequence[Any]],
    examples: int,
    *,
    n_best: int = 20,
    max_answer_tokens: int = 30,
) -> list[Answer]:
    """Decodes the windows of every question together.

    Args:
        logits: one entry a window, in the order of `windows`.
        windows: the columns `example`, `context_start` and `offsets` of `encode`.
        examples: number of questions.

    Returns:
        One `Answer` a question, in order.
    """
    spans: list[dict[tuple[int, int], float]] = [{} for _ in range(examples)]
    null = np.full(examples, np.inf)
    for (start, end), row, begin, flat in zip(
        logits, windows["example"], windows["context_start"], windows["offsets"], strict=True
    ):
        null[row] = min(null[row], float(start[0] + end[0]))
        offsets = np.asarray(flat).reshape(-1, 2)
        stop = begin + len(offsets)
        for first, last, score in best_spans(
            start[begin:stop], end[begin:stop], n_best=n_best, max_answer_tokens=max_answer_tokens
        ):
            place = (int(offsets[first, 0]), int(offsets[last, 1]))
            spans[row][place] = max(score, spans[row].get(place, -np.inf))
    answers = []
    for row, found in enumerate(spans):
        ranked = sorted(found.items(), key=lambda item: (-item[1], item[0]))[:n_best]
        best = tuple(Span(begin, end, score) for (begin, end), score in ranked if end > begin)
        answers.append(Answer(best, float(null[row])))
    return answers


def answer_text(context: str, span: Span) -> str:
    """The characters of a span without the white space at its ends."""
    return context[span.begin : span.end].strip()
