"""Texts and pairs of texts as token sequences for a classification head."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypedDict

from adapter_stilts.heads.base import (
    Example,
    Head,
    Rows,
    TargetLike,
    TaskLike,
    check_label,
)

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


class PairExample(TypedDict):
    """Classification of a text or of a pair of texts (`text_b` empty for a single text)."""

    id: str
    text_a: str
    text_b: str
    label: int


def encode(
    examples: Mapping[str, Sequence[Any]],
    tokenizer: PreTrainedTokenizerFast,
    *,
    max_length: int,
) -> dict[str, list[Any]]:
    """One feature an example: `<s> a </s></s> b </s>`, the longer text cut first.

    Args:
        examples: columns of `PairExample` (`label` may be missing at prediction time).
        max_length: tokens a sequence at most, special ones included.

    Returns:
        Columns `input_ids` (list of ints), `length`, `example` (row number within this call)
        and, where given, `labels`.
    """
    pairs = zip(examples["text_a"], examples["text_b"], strict=True)
    texts = [(a, b) if b else a for a, b in pairs]
    encoded = tokenizer(texts, truncation="longest_first", max_length=max_length)
    features: dict[str, list[Any]] = {
        "input_ids": encoded["input_ids"],
        "length": [len(ids) for ids in encoded["input_ids"]],
        "example": list(range(len(texts))),
    }
    if "label" in examples:
        features["labels"] = list(examples["label"])
    return features


class _Classification(Head):
    name = "classification"
    columns = {"id": "text", "text_a": "text", "text_b": "text", "label": "whole"}
    has_labels = True
    library = "classification"
    auto_class = "AutoModelForSequenceClassification"
    peft_task = "SEQ_CLS"
    peft_layers = {
        "bert": {"1": "pooler.dense", "4": "classifier"},
        "xlm-roberta": {"1": "classifier.dense", "4": "classifier.out_proj"},
    }
    pipeline = "text-classification"
    inputs = ("text_a", "text_b")
    needs = ("text_a",)
    takes = ("text_b",)
    aliases = {"text_a": ("premise", "text"), "text_b": ("hypothesis",)}
    parts = ("text", "label")
    optional_parts = ("text_b", "id")
    metrics = ("accuracy", "f1")

    def check(self, task: TaskLike, example: Example) -> None:
        check_label(task, example["label"], len(task.labels))
        check_texts(example)

    def encode(
        self,
        examples: Mapping[str, Sequence[Any]],
        tokenizer: PreTrainedTokenizerFast,
        *,
        max_length: int,
        stride: int,
        tags: Sequence[str] | None,
    ) -> dict[str, list[Any]]:
        return encode(examples, tokenizer, max_length=max_length)

    def add(self, model: Any, name: str, labels: Sequence[str], choices: int) -> None:
        model.add_classification_head(
            name, num_labels=len(labels), layers=2, id2label=dict(enumerate(labels))
        )

    def owns(self, config: Mapping[str, Any]) -> bool:
        return super().owns(config) and config.get("num_labels") != 1  # one is a regression

    def read(self, rows: Rows) -> dict[str, list[Any]]:
        return read_pairs(rows)

    def say(
        self,
        row: Mapping[str, Any],
        value: Any,
        scores: list[float] | None,
        *,
        labels: Sequence[str],
        threshold: float | None,
    ) -> dict[str, Any]:
        assert scores is not None
        pairs = sorted(zip(labels, scores, strict=True), key=lambda pair: -pair[1])
        return {"labels": dict(pairs)}

    def line(self, answer: Mapping[str, Any]) -> str:
        return ", ".join(f"{name} {share:.2f}" for name, share in answer["labels"].items())

    def written(self, target: TargetLike, values: Sequence[Any], examples: Any) -> list[str]:
        names = target.submitted or target.labels
        return [names[value] for value in values]

    def example(self, row: Any) -> PairExample:
        label = row.label(row.labels)
        text_b = row.text("text_b") if "text_b" in row.columns else ""
        return {"id": row.id(), "text_a": row.text("text"), "text_b": text_b, "label": label}


def check_texts(example: Example) -> None:
    """Refuses a pair without a text.

    Raises:
        ValueError: both are empty.
    """
    # One text may be empty: Quora's own release has such questions.
    if not example["text_a"] and not example["text_b"]:
        raise ValueError("both texts are empty")


def read_pairs(rows: Rows) -> dict[str, list[Any]]:
    """Inputs of one or two texts as columns."""
    pairs = [(row["text_a"], row.get("text_b", "")) for row in rows]
    return {"text_a": [a for a, _ in pairs], "text_b": [b for _, b in pairs]}


HEAD = _Classification()
