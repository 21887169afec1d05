"""Extractive question answering: windows over the context."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypedDict

from adapter_stilts.errors import shown
from adapter_stilts.heads.base import (
    Decoded,
    Example,
    Head,
    TargetLike,
    TaskLike,
)
from adapter_stilts.heads.edges import inner

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


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
    """Refuses an answer that does not stand at its offset.

    Raises:
        OffsetError: says what stands there.
    """
    there = context[start : start + len(answer)] if start >= 0 else ""
    if not answer.strip() or there != answer:
        raise OffsetError(
            f"the answer {shown(answer)} is not at its offset {start}, {shown(there)} stands there"
        )


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
    import numpy as np

    edges = np.asarray(offsets)
    for begin, end in spans:
        if begin < edges[0, 0] or end > edges[-1, 1]:
            continue
        # Tokens may begin with a space or end early: take those that overlap the span.
        inside = np.flatnonzero((edges[:, 0] < end) & (edges[:, 1] > begin))
        if inside.size:
            return int(inside[0]), int(inside[-1])
    return -1, -1


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
    metrics = ("squad", "squad_v2", "mlqa")
    category = "qa"
    suffix = "json"

    def check(self, task: TaskLike, example: Example) -> None:
        named = example["id"] or task.identity  # a user's own rows are numbered
        if not named or not example["question"] or not example["context"]:
            raise ValueError("the id, the question or the context is empty")
        if len(example["answers"]) != len(example["answer_starts"]):
            raise ValueError("as many answers as answer_starts were expected")
        if not example["answers"] and not (task.unanswerable or task.unlabelled):
            raise ValueError("the question has no answer (squad-v2 is the task for these)")
        if not all(example["answers"]):
            raise ValueError("an answer is empty")

    def check_learnt(self, example: Example) -> None:
        """Only what is learnt from needs its answers' offsets."""
        for answer, start in zip(example["answers"], example["answer_starts"], strict=True):
            check_offset(example["context"], answer, start)

    def encode(
        self,
        examples: Mapping[str, Sequence[Any]],
        tokenizer: PreTrainedTokenizerFast,
        *,
        max_length: int,
        stride: int,
        tags: Sequence[str] | None,
    ) -> dict[str, list[Any]]:
        return encode(examples, tokenizer, max_length=max_length, stride=stride)

    def add(self, model: Any, name: str, labels: Sequence[str], choices: int) -> None:
        model.add_qa_head(name, num_labels=2, layers=1)

    def split(self, output: Any, columns: Mapping[str, Sequence[Any]]) -> list[Any]:
        """`SpanLogits` of every row's own length."""
        from adapter_stilts.heads.answers import SpanLogits

        start, end = (
            each.float().cpu().numpy() for each in (output.start_logits, output.end_logits)
        )
        sizes = map(len, columns["input_ids"])
        return [SpanLogits(s[:n], e[:n]) for s, e, n in zip(start, end, sizes, strict=True)]

    def decode(
        self,
        outputs: list[Any],
        windows: Mapping[str, Sequence[Any]],
        examples: Any,
        tags: Sequence[str],
    ) -> Decoded:
        from adapter_stilts.heads.answers import decode

        return list(decode(outputs, windows, len(examples))), None

    def scored(
        self, task: TaskLike, values: Sequence[Any], examples: Any
    ) -> tuple[list[Any], list[Any]]:
        from adapter_stilts.heads.answers import predicted_text

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

    def say(
        self,
        row: Mapping[str, Any],
        value: Any,
        scores: list[float] | None,
        *,
        labels: Sequence[str],
        threshold: float | None,
    ) -> dict[str, Any]:
        from adapter_stilts.heads.answers import answer_text

        if not value.spans or (threshold is not None and value.no_answer > threshold):
            return {"answer": "", "start": -1, "score": value.null_score}
        best, context = value.spans[0], row["context"]
        begin, _ = inner(context, best.begin, best.end)
        return {"answer": answer_text(context, best), "start": begin, "score": best.score}

    def line(self, answer: Mapping[str, Any]) -> str:
        return str(answer["answer"]) or "(no answer in the context)"

    def written(self, target: TargetLike, values: Sequence[Any], examples: Any) -> list[str]:
        from adapter_stilts.heads.answers import predicted_text

        rows = examples.select_columns(["id", "context"])
        return [
            f"{_json(row['id'])}: {_json(predicted_text(answer, row['context']))}"
            for answer, row in zip(values, rows, strict=True)
        ]

    def example(self, row: Any) -> SpanExample:
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
