"""Extractive question answering: windows over the context."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypedDict

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
)
from adapter_stilts.heads.sequences import inner

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


def _cut(questions: list[str], tokenizer: PreTrainedTokenizerFast, tokens: int) -> list[str]:
    """Questions of at most that many tokens; nearly all pass unchanged."""
    encoded = tokenizer(questions, add_special_tokens=False, return_offsets_mapping=True)
    return [
        question if len(offsets) <= tokens else question[: offsets[tokens - 1][1]]
        for question, offsets in zip(questions, encoded["offset_mapping"], strict=True)
    ]


def _context_tokens(parts: Sequence[int | None]) -> list[int]:
    """Where a window's second sequence stands."""
    return [place for place, part in enumerate(parts) if part == 1]


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
        places = [_context_tokens(encoded.sequence_ids(window)) for window in range(len(rows))]
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
        from adapter_stilts.heads.answers import SpanLogits

        start, end = (
            each.float().cpu().numpy() for each in (output.start_logits, output.end_logits)
        )
        sizes = map(len, columns["input_ids"])
        return [SpanLogits(s[:n], e[:n]) for s, e, n in zip(start, end, sizes, strict=True)]

    def decode(self, outputs: Outputs) -> Decoded:
        """The best spans of each example, over all of its windows."""
        from adapter_stilts.heads.answers import decode

        return list(decode(outputs.rows, outputs.windows, len(outputs.examples))), None

    def scored(
        self, task: TaskLike, values: Sequence[Any], examples: Any
    ) -> tuple[list[Any], list[Any]]:
        """Texts and right answers as `evaluate`'s SQuAD metrics take them, by the example's id."""
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

    def say(self, predicted: Prediction) -> dict[str, Any]:
        """The best answer, where it starts in characters (-1: no answer), and its score."""
        from adapter_stilts.heads.answers import answer_text

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
        from adapter_stilts.heads.answers import predicted_text

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
