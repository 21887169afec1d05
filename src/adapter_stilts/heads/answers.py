"""Extractive question answering: from the logits of windows to answers, many windows at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from adapter_stilts.heads.sequences import inner

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

_BLOCK = 64
"""Windows decoded at a time: their scores stay within the processor's cache."""


class SpanLogits(NamedTuple):
    """Logits of one window: `start` and `end` have one value a token of the sequence."""

    start: Floats
    end: Floats


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


class TokenSpans(NamedTuple):
    """Spans of several windows: window, first and last token, score; arrays of one length."""

    window: Ints
    first: Ints
    last: Ints
    score: Floats


def best_spans(
    start: Floats, end: Floats, *, n_best: int = 20, max_answer_tokens: int = 30
) -> TokenSpans:
    """Each window's `n_best` spans with `start <= end < start + max_answer_tokens`, best first.

    Ties go to the earlier, then to the shorter span, at the cut too.

    Args:
        start, end: logits of the context tokens, shape (windows, tokens); -inf where a window
            has no token.
    """
    windows, tokens = start.shape
    width = min(max_answer_tokens, tokens)
    if not tokens:
        nothing = np.zeros(0, np.int64)
        return TokenSpans(nothing, nothing, nothing, np.zeros(0, np.float32))
    padded = np.pad(end, ((0, 0), (0, width - 1)), constant_values=-np.inf)
    ends = np.lib.stride_tricks.sliding_window_view(padded, width, axis=1)
    # The best span from each token on: the n best of these are already n spans, so that all of
    # the n best spans score at least as much as the last of them. With no more tokens than n, or
    # with less in a window, any span may be among them.
    highest = start + _sliding_max(padded, width)
    least = (
        np.partition(highest, -n_best, axis=1)[:, -n_best]
        if n_best < tokens
        else np.full(windows, -np.inf, np.float32)
    )
    window, first = np.nonzero((highest >= least[:, None]) & np.isfinite(highest))
    # scores[i, k] is the span of window[i] from token first[i], k tokens further.
    scores = start[window, first][:, None] + ends[window, first]
    row, further = np.nonzero((scores >= least[window][:, None]) & np.isfinite(scores))
    window, first, last, score = window[row], first[row], first[row] + further, scores[row, further]
    order = np.lexsort((last, first, -score, window))
    begins = np.searchsorted(window, np.arange(windows))
    kept = order[np.arange(len(order)) - begins[window[order]] < n_best]
    return TokenSpans(window[kept], first[kept], last[kept], score[kept])


def _sliding_max(padded: Floats, width: int) -> Floats:
    """The maximum of every `width` neighbours along the last axis."""
    maximum, reach = padded, 1
    while reach < width:
        step = min(reach, width - reach)
        maximum = np.maximum(maximum[:, :-step], maximum[:, step:])
        reach += step
    return maximum


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
        windows: the columns `example`, `context_start` and `offsets` of a span head's `encode`.
        examples: number of questions.

    Returns:
        One `Answer` a question, in order.
    """
    rows = np.asarray(windows["example"], dtype=np.int64)
    null = np.full(examples, np.inf)
    if logits:
        np.minimum.at(null, rows, [float(start[0] + end[0]) for start, end in logits])
    found = [
        _characters(logits, windows, block, n_best=n_best, max_answer_tokens=max_answer_tokens)
        for block in _blocks(len(logits))
    ]
    if not found:
        return [Answer((), float(low)) for low in null]
    window, begin, end = (np.concatenate([block[part] for block in found]) for part in range(3))
    score = np.concatenate([block[3] for block in found])
    spans = _merge(rows[window], begin, end, score, examples, n_best)
    return [Answer(each, float(low)) for each, low in zip(spans, null, strict=True)]


def _blocks(count: int) -> Iterator[range]:
    for first in range(0, count, _BLOCK):
        yield range(first, min(first + _BLOCK, count))


def _characters(
    logits: Sequence[SpanLogits], windows: Mapping[str, Sequence[Any]], block: range, **options: int
) -> tuple[Ints, Ints, Ints, Floats]:
    """The best spans of a block of windows: window, begin and end in characters, score."""
    flat = [windows["offsets"][number] for number in block]
    sizes = [len(offsets) // 2 for offsets in flat]
    start, end = (np.full((len(flat), max(sizes)), -np.inf, np.float32) for _ in range(2))
    for row, (number, size) in enumerate(zip(block, sizes, strict=True)):
        begin = windows["context_start"][number]
        start[row, :size] = logits[number].start[begin : begin + size]
        end[row, :size] = logits[number].end[begin : begin + size]
    found = best_spans(start, end, **options)
    pairs = list(zip(found.window.tolist(), found.first.tolist(), found.last.tolist(), strict=True))
    begins = np.array([flat[row][2 * first] for row, first, _ in pairs], dtype=np.int64)
    ends = np.array([flat[row][2 * last + 1] for row, _, last in pairs], dtype=np.int64)
    return found.window + block.start, begins, ends, found.score


def _merge(
    example: Ints, begin: Ints, end: Ints, score: Floats, examples: int, n_best: int
) -> list[tuple[Span, ...]]:
    """Each question's best spans; one found in several windows counts once, at its best."""
    order = np.lexsort((-score, end, begin, example))
    keys = np.stack([example, begin, end])[:, order]
    fresh = np.ones(len(order), dtype=bool)
    fresh[1:] = (keys[:, 1:] != keys[:, :-1]).any(axis=0)
    order = order[fresh]
    order = order[np.lexsort((end[order], begin[order], -score[order], example[order]))]
    edges = np.searchsorted(example[order], np.arange(examples + 1))
    columns = (begin[order].tolist(), end[order].tolist(), score[order].tolist())
    merged = []
    for first, last in pairwise(edges.tolist()):
        last = min(last, first + n_best)
        spans = map(Span, *(column[first:last] for column in columns))
        merged.append(tuple(span for span in spans if span.end > span.begin))
    return merged


def answer_text(context: str, span: Span) -> str:
    """The characters of a span without what is not seen at its ends."""
    begin, end = inner(context, span.begin, span.end)
    return context[begin:end]


def predicted_text(answer: Answer, context: str) -> str:
    """The text of the best span; empty where there is none."""
    return answer_text(context, answer.spans[0]) if answer.spans else ""
