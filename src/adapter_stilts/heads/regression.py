"""How alike two texts are, or how much of something a text has: one number a text or pair."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypedDict

from adapter_stilts.errors import shown
from adapter_stilts.heads import classification
from adapter_stilts.heads.base import Decoded, Example, Head, Rows, TargetLike, TaskLike

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


class ScoredExample(TypedDict):
    """A text or a pair of texts (`text_b` empty for a single text); no score: it is not known."""

    id: str
    text_a: str
    text_b: str
    score: float | None


class _Regression(Head):
    name = "regression"
    columns = {"id": "text", "text_a": "text", "text_b": "text", "score": "number"}
    gold = "score"
    library = "classification"  # with one label, whose loss is the squared error
    auto_class = classification.HEAD.auto_class
    peft_task = classification.HEAD.peft_task
    peft_layers = classification.HEAD.peft_layers
    pipeline = "text-classification"
    inputs = ("text_a", "text_b")
    needs = ("text_a",)
    takes = ("text_b",)
    parts = ("text", "score")
    optional_parts = ("text_b", "id")
    metrics = ("correlation",)

    def is_labelled(self, example: Example) -> bool:
        return example["score"] is not None

    def check(self, task: TaskLike, example: Example) -> None:
        classification.check_texts(example)
        if example["score"] is None and not task.unlabelled:
            raise ValueError("there is no score to learn from")

    def encode(
        self,
        examples: Mapping[str, Sequence[Any]],
        tokenizer: PreTrainedTokenizerFast,
        *,
        max_length: int,
        stride: int,
        tags: Sequence[str] | None,
    ) -> dict[str, list[Any]]:
        features = classification.encode(examples, tokenizer, max_length=max_length)
        if "score" in examples and None not in examples["score"]:
            features["labels"] = [float(score) for score in examples["score"]]
        return features

    def add(self, model: Any, name: str, labels: Sequence[str], choices: int) -> None:
        model.add_classification_head(name, num_labels=1, layers=2)

    def owns(self, config: Mapping[str, Any]) -> bool:
        return super().owns(config) and config.get("num_labels") == 1

    def library_options(self, labels: int) -> str:
        return ", num_labels=1"

    def decode(
        self,
        outputs: list[Any],
        windows: Mapping[str, Sequence[Any]],
        examples: Any,
        tags: Sequence[str],
    ) -> Decoded:
        return [float(output[0]) for output in outputs], None

    def read(self, rows: Rows) -> dict[str, list[Any]]:
        return classification.read_pairs(rows)

    def say(
        self,
        row: Mapping[str, Any],
        value: Any,
        scores: list[float] | None,
        *,
        labels: Sequence[str],
        threshold: float | None,
    ) -> dict[str, Any]:
        return {"score": value}

    def line(self, answer: Mapping[str, Any]) -> str:
        return f"{answer['score']:.3f}"

    def written(self, target: TargetLike, values: Sequence[Any], examples: Any) -> list[str]:
        return [f"{value:.6f}" for value in values]

    def loss_classes(self, labels: int, choices: int) -> None:
        """A guess has no number of answers to choose among: the loss stays as it is."""

    def example(self, row: Any) -> ScoredExample:
        text_b = row.text("text_b") if "text_b" in row.columns else ""
        score = _number(row.given("score"), is_needed=not row.reader.unlabelled)
        return {"id": row.id(), "text_a": row.text("text"), "text_b": text_b, "score": score}


def _number(value: Any, *, is_needed: bool) -> float | None:
    if value is None and not is_needed:
        return None
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"score {shown(value)} is no number")
    return number


HEAD = _Regression()
