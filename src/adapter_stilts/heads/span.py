"""Extractive question answering: windows over the context, and from their logits to answers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict

import numpy as np
import numpy.typing as npt

from adapter_stilts.errors import shown
from adapter_stilts.heads.base import (
    Columns,
    Decoded,
    Encoding,
    Example,
    Features,
    Head,
    Outputs,
    Prediction,
    TargetLike,
    TaskLike,
    inner,
)

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

_BLOCK = 64
"""Windows decoded at a time: their scores stay within the processor's cache."""


class SpanExample(TypedDict):
    """Extractive question answering. No answers means: the context does not answer it."""

    id: str
    question: str
    context: str
    answers: list[str]
    answer_starts: list[int]


class OffsetError(ValueError):
    """An answer that is not where it is said to be."""


def check_offset(context: str, answer: str, start: int) -> None:
    """Raises `OffsetError` for an answer that does not stand at its offset."""
    there = context[start : start + len(answer)] if start >= 0 else ""
    if not answer.strip() or there != answer:
        raise OffsetError(
            f"the answer {shown(answer)} is not at its offset {start}, {shown(there)} stands there"
        )


def _cut(questions: list[str], tokenizer: PreTrainedTokenizerFast, tokens: int) -> list[str]:
    """Questions of at most that many tokens; nearly all pass unchanged."""
    encoded = tokenizer(questions, add_special_tokens=False, return_offsets_mapping=True)
    return [
        question if len(offsets) <= tokens else question[: offsets[tokens - 1][1]]
        for question, offsets in zip(questions, encoded["offset_mapping"], strict=True)
    ]


def _spans(examples: Columns) -> list[list[tuple[int, int]]]:
    """Every example's answers, as characters of its context without what is not seen."""
    rows = zip(examples["context"], examples["answers"], examples["answer_starts"], strict=True)
    return [
        [inner(context, s, s + len(text)) for text, s in zip(answers, starts, strict=True)]
        for context, answers, starts in rows
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
        for block in (range(len(logits))[at : at + _BLOCK] for at in range(0, len(logits), _BLOCK))
    ]
    if not found:
        return [Answer((), float(low)) for low in null]
    window, begin, end = (np.concatenate([block[part] for block in found]) for part in range(3))
    score = np.concatenate([block[3] for block in found])
    spans = _merge(rows[window], begin, end, score, examples, n_best)
    return [Answer(each, float(low)) for each, low in zip(spans, null, strict=True)]


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


class _Span(Head):
    name = "span"
    columns = {
        "id": "text",
        "question": "text",
        "context": "text",
        "answers": "texts",
        "answer_starts": "wholes",
    }
    gold = "answers"
    unique_ids = True
    windows = ("example", "context_start", "offsets")
    library = "question_answering"
    auto_class = "AutoModelForQuestionAnswering"
    peft_task = "QUESTION_ANS"
    peft_layers = {"bert": {"1": "qa_outputs"}, "xlm-roberta": {"1": "qa_outputs"}}
    pipeline = "question-answering"
    inputs = ("question", "context")
    needs = ("question", "context")
    parts = ("question", "context", "answer")
    optional_parts = ("start", "id")
    metrics = ("squad", "exact_match", "squad_v2", "mlqa")
    category = "qa"
    suffix = "json"

    def check(self, task: TaskLike, example: Example) -> None:
        """Refuses empty texts, answers without a start, and a needed answer that is not there."""
        named = example["id"] or task.identity  # a user's own rows are numbered
        if not named or not example["question"] or not example["context"]:
            raise ValueError("the id, the question or the context is empty")
        if len(example["answers"]) != len(example["answer_starts"]):
            raise ValueError("as many answers as answer_starts were expected")
        if not example["answers"] and not (task.unanswerable or task.unlabelled):
            remedy = "'unanswerable: true' stands" if task.identity else "squad-v2 is the task"
            raise ValueError(f"the question has no answer ({remedy} for these)")
        if not all(example["answers"]):
            raise ValueError("an answer is empty")

    def check_learnt(self, example: Example) -> None:
        """Only what is learnt from needs its answers' offsets."""
        for answer, start in zip(example["answers"], example["answer_starts"], strict=True):
            check_offset(example["context"], answer, start)

    def encode(self, examples: Columns, how: Encoding) -> Features:
        """Windows `<s> question </s></s> part of the context </s>` that overlap by the stride.

        Training positions point at the first annotated answer that lies in the window, without
        the white space at its edges, else at the first token (as for SQuAD 2.0's unanswerable
        questions). A question longer than a third of the window is cut.

        Returns:
            Columns `input_ids`, `length`, `example`, `context_start` (position of the first
            context token), `offsets` (begin and end in characters of every context token, flat),
            and, where answers are given, `start_positions`, `end_positions`.
        """
        third = how.max_length // 3
        # Some room is left beside question and overlap, or windows would never move on.
        stride = max(0, min(how.stride, third, how.max_length - third - 8))
        encoded = how.tokenizer(
            _cut([q.strip() for q in examples["question"]], how.tokenizer, third),
            list(examples["context"]),
            truncation="only_second",
            max_length=how.max_length,
            stride=stride,
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
        )
        rows = list(encoded["overflow_to_sample_mapping"])
        places = [  # of the context, in each window
            [place for place, part in enumerate(encoded.sequence_ids(window)) if part == 1]
            for window in range(len(rows))
        ]
        offsets = [
            [mapping[place] for place in tokens]
            for mapping, tokens in zip(encoded["offset_mapping"], places, strict=True)
        ]
        features: Features = {
            "input_ids": encoded["input_ids"],
            "length": [len(ids) for ids in encoded["input_ids"]],
            "example": rows,
            "context_start": [tokens[0] if tokens else 0 for tokens in places],
            "offsets": [[edge for pair in each for edge in pair] for each in offsets],
        }
        if "answers" in examples:
            begins, answers = features["context_start"], _spans(examples)
            found = [_answer_tokens(o, answers[row]) for o, row in zip(offsets, rows, strict=True)]
            for name, side in (("start_positions", 0), ("end_positions", 1)):
                features[name] = [
                    begin + edges[side] if edges[side] >= 0 else 0
                    for begin, edges in zip(begins, found, strict=True)
                ]
        return features

    def add(self, model: Any, name: str, labels: Sequence[str], choices: int) -> None:
        """One linear layer that gives every token a logit as the start and one as the end."""
        model.add_qa_head(name, num_labels=2, layers=1)

    def split(self, output: Any, columns: Columns) -> list[Any]:
        """`SpanLogits` of every row's own length."""
        start, end = (
            each.float().cpu().numpy() for each in (output.start_logits, output.end_logits)
        )
        sizes = map(len, columns["input_ids"])
        return [SpanLogits(s[:n], e[:n]) for s, e, n in zip(start, end, sizes, strict=True)]

    def decode(self, outputs: Outputs) -> Decoded:
        """The best spans of each example, over all of its windows."""
        return list(decode(outputs.rows, outputs.windows, len(outputs.examples))), None

    def scored(
        self, task: TaskLike, values: Sequence[Any], examples: Any
    ) -> tuple[list[Any], list[Any]]:
        """Texts and right answers as `evaluate`'s SQuAD metrics take them, by the example's id."""
        found, gold = [], []
        for answer, row in zip(values, examples, strict=True):
            text = predicted_text(answer, row["context"])
            entry: dict[str, Any] = {"id": row["id"], "prediction_text": text}
            if task.unanswerable:
                entry["no_answer_score"] = answer.no_answer
            found.append(entry)
            golds = {"text": row["answers"], "answer_start": row["answer_starts"]}
            gold.append({"id": row["id"], "answers": golds})
        return found, gold

    def say(self, predicted: Prediction) -> dict[str, Any]:
        """The best answer, where it starts in characters (-1: no answer), and its score."""
        value, threshold = predicted.value, predicted.threshold
        if not value.spans or (threshold is not None and value.no_answer > threshold):
            return {"answer": "", "start": -1, "score": value.null_score}
        best, context = value.spans[0], predicted.row["context"]
        begin, _ = inner(context, best.begin, best.end)
        return {"answer": answer_text(context, best), "start": begin, "score": best.score}

    def line(self, answer: Mapping[str, Any]) -> str:
        """The answer, or that there is none."""
        return str(answer["answer"]) or "(no answer in the context)"

    def written(self, target: TargetLike, values: Sequence[Any], examples: Any) -> list[str]:
        """A member `id: answer` a question; an empty text where there is no answer."""
        rows = examples.select_columns(["id", "context"])
        return [
            f"{_json(row['id'])}: {_json(predicted_text(answer, row['context']))}"
            for answer, row in zip(values, rows, strict=True)
        ]

    def example(self, row: Any) -> SpanExample:
        """Starts that the row lacks are found by the answer's text in the context."""
        context = row.text("context")
        answers = row.answers()
        starts = row.starts(context, answers)
        return {
            "id": row.id(),
            "question": row.text("question"),
            "context": context,
            "answers": answers,
            "answer_starts": starts,
        }


def _json(text: str) -> str:
    return json.dumps(text, ensure_ascii=False, allow_nan=False)


HEAD = _Span()
