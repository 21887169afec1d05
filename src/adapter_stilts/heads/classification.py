"""Texts and pairs of texts as token sequences for a classification head."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from adapter_stilts.heads.base import (
    Columns,
    Encoding,
    Example,
    Features,
    Head,
    Prediction,
    Rows,
    TargetLike,
    TaskLike,
    check_label,
)


class PairExample(TypedDict):
    """Classification of a text or of a pair of texts (`text_b` empty for a single text)."""

    id: str
    text_a: str
    text_b: str
    label: int


class Pairs(Head):
    """What heads over a text or a pair of texts share."""

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
    optional_parts = ("text_b", "id")

    def check(self, task: TaskLike, example: Example) -> None:
        """Two empty texts are a `ValueError`; one may be: Quora's release has such questions."""
        if not example["text_a"] and not example["text_b"]:
            raise ValueError("both texts are empty")

    def encode(self, examples: Columns, how: Encoding) -> Features:
        """One feature an example: `<s> a </s></s> b </s>`, the longer text cut first.

        Returns:
            Columns `input_ids` (list of ints), `length`, `example` and, where what examples are
            scored by is known of all, `labels`.
        """
        pairs = zip(examples["text_a"], examples["text_b"], strict=True)
        texts = [(a, b) if b else a for a, b in pairs]
        encoded = how.tokenizer(texts, truncation="longest_first", max_length=how.max_length)
        features: Features = {
            "input_ids": encoded["input_ids"],
            "length": [len(ids) for ids in encoded["input_ids"]],
            "example": list(range(len(texts))),
        }
        if None not in examples.get(self.gold, (None,)):
            features["labels"] = list(examples[self.gold])
        return features

    def read(self, rows: Rows) -> Features:
        """A single text stands before an empty one."""
        pairs = [(row["text_a"], row.get("text_b", "")) for row in rows]
        return {"text_a": [a for a, _ in pairs], "text_b": [b for _, b in pairs]}

    def texts(self, row: Any) -> dict[str, str]:
        """The id and the texts in a row of a user's own file; all empty is a `ValueError`."""
        text_a = row.text("text")
        text_b = row.text("text_b") if "text_b" in row.columns else ""
        if not text_a.strip() and not text_b.strip():
            raise ValueError(
                "both texts are empty" if "text_b" in row.columns else "the text is empty"
            )
        return {"id": row.id(), "text_a": text_a, "text_b": text_b}


class _Classification(Pairs):
    name = "classification"
    columns = {"id": "text", "text_a": "text", "text_b": "text", "label": "whole"}
    has_labels = True
    aliases = {"text_a": ("premise", "text"), "text_b": ("hypothesis",)}
    parts = ("text", "label")
    metrics = ("accuracy", "f1")
    of_two = ("f1",)

    def check(self, task: TaskLike, example: Example) -> None:
        """Refuses a label outside the task's, and two empty texts."""
        check_label(task, example["label"], len(task.labels))
        super().check(task, example)

    def add(self, model: Any, name: str, labels: Sequence[str], choices: int) -> None:
        """Two linear layers with one logit a label."""
        model.add_classification_head(
            name, num_labels=len(labels), layers=2, id2label=dict(enumerate(labels))
        )

    def owns(self, config: Mapping[str, Any]) -> bool:
        """Whether it has several labels: a head of the same kind with one is a regression."""
        return super().owns(config) and config.get("num_labels") != 1  # one is a regression

    def say(self, predicted: Prediction) -> dict[str, Any]:
        """The probability of every label, the likeliest first."""
        assert predicted.scores is not None
        pairs = zip(predicted.labels, predicted.scores, strict=True)
        return {"labels": dict(sorted(pairs, key=lambda pair: -pair[1]))}

    def line(self, answer: Mapping[str, Any]) -> str:
        """Every label with its probability."""
        return ", ".join(f"{name} {share:.2f}" for name, share in answer["labels"].items())

    def written(self, target: TargetLike, values: Sequence[Any], examples: Any) -> list[str]:
        """The label's name a line, as the benchmark spells it."""
        names = target.submitted or target.labels
        return [names[value] for value in values]

    def example(self, row: Any) -> Example:
        """The texts, and the number of the label among the task's."""
        return {**self.texts(row), "label": row.label(row.labels)}


HEAD = _Classification()
