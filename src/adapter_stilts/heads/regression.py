"""How alike two texts are, or how much of something a text has: one number a text or pair."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from types import MethodType
from typing import Any

from adapter_stilts.errors import shown
from adapter_stilts.heads.base import Decoded, Example, Outputs, Prediction, TargetLike, TaskLike
from adapter_stilts.heads.classification import Pairs

_LARGEST = 1e15
"""Of a score, so that squared errors and their sums stay finite in single precision."""


class _Regression(Pairs):
    name = "regression"
    columns = {"id": "text", "text_a": "text", "text_b": "text", "score": "number"}
    gold = "score"
    parts = ("text", "score")
    aliases = {"text_a": ("text",)}
    metrics = ("correlation",)

    def is_labelled(self, example: Example) -> bool:
        """Whether it has a score; zero is one."""
        return example["score"] is not None

    def check(self, task: TaskLike, example: Example) -> None:
        """Refuses an example without a score to learn from, and two empty texts."""
        super().check(task, example)
        if example["score"] is None and not task.unlabelled:
            raise ValueError("there is no score to learn from")

    def add(self, model: Any, name: str, labels: Sequence[str], choices: int) -> None:
        """Two linear layers with one output, learnt with the squared error."""
        # One label: the loss is the squared error then.
        model.add_classification_head(name, num_labels=1, layers=2)

    def settle(self, head: Any) -> None:
        """Lets its layers compute in float32, whatever the trunk does.

        In bfloat16, which has 8 bits, different texts would get the same score, and every score
        from 2 to 4 would be a multiple of 1/64.
        """
        from torch.nn import Linear

        layers: list[Any] = [each for each in head.modules() if isinstance(each, Linear)]
        for layer in layers:
            layer.forward = MethodType(_in_single, layer)

    def owns(self, config: Mapping[str, Any]) -> bool:
        """Whether it has one output: a head of the same kind with several is a classification."""
        return super().owns(config) and config.get("num_labels") == 1

    def library_options(self, labels: int) -> str:
        """One label, whatever their number is: that makes it a regression."""
        return ", num_labels=1"

    def decode(self, outputs: Outputs) -> Decoded:
        """The output itself, one number an example; there are no probabilities."""
        return [float(output[0]) for output in outputs.rows], None

    def say(self, predicted: Prediction) -> dict[str, Any]:
        """The score that was predicted, on the scale of the training data."""
        return {"score": predicted.value}

    def line(self, answer: Mapping[str, Any]) -> str:
        """The score with three decimals."""
        return f"{answer['score']:.3f}"

    def written(self, target: TargetLike, values: Sequence[Any], examples: Any) -> list[str]:
        """The score with six decimals a line."""
        return [f"{value:.6f}" for value in values]

    def loss_classes(self, labels: int, choices: int) -> None:
        """A guess has no number of answers to choose among: the loss stays as it is."""

    def example(self, row: Any) -> Example:
        """The texts, and the score as a number; a `ValueError` where it is none."""
        score = _number(row.given("score"), is_needed=not row.reader.unlabelled)
        return {**self.texts(row), "score": score}


def _in_single(layer: Any, inputs: Any) -> Any:
    """A linear layer's output in float32, whatever autocast does around it."""
    import torch

    with torch.autocast(inputs.device.type, enabled=False):
        return torch.nn.functional.linear(inputs.float(), layer.weight, layer.bias)


def _number(value: Any, *, is_needed: bool) -> float | None:
    if value is None and not is_needed:
        return None
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        comma = isinstance(value, str) and re.fullmatch(r"\s*[+-]?\d+,\d+\s*", value)
        remedy = ": write a point before its decimals" if comma else ""
        raise ValueError(f"score {shown(value)} is no number{remedy}")
    if abs(number) > _LARGEST:
        what = f"is over {_LARGEST:g}, and its squared error cannot be computed"
        raise ValueError(f"score {shown(value)} {what}: divide all scores by one number")
    return number


HEAD = _Regression()
