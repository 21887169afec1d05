"""Accuracy of tagging, token by token."""

from __future__ import annotations

from collections.abc import Sequence

import evaluate
from datasets import Features, List, Value

from adapter_stilts.metrics._base import BufferedMetric


def count_equal_tags(predictions: Sequence[str], references: Sequence[str]) -> int:
    """The number of right tags of one sentence.

    Raises:
        ValueError: the numbers of tags differ, or a side is no list of tags.
    """
    for tags in (predictions, references):
        if isinstance(tags, str) or not all(isinstance(tag, str) for tag in tags):
            raise ValueError(f"tags must be a list of strings, got {tags!r}")
    if len(predictions) != len(references):
        raise ValueError(f"{len(predictions)} predicted tags, {len(references)} gold tags")
    return sum(a == b for a, b in zip(predictions, references, strict=True))


class TagAccuracy(BufferedMetric):
    """The share of right tags over all words: `{"tag_accuracy": percent}`.

    Every word weighs the same, whatever the length of its sentence. It stands beside seqeval's
    F1, which takes a run of equal part-of-speech tags for one entity.
    """

    primary = "tag_accuracy"

    def _info(self) -> evaluate.MetricInfo:
        sentence = List(Value("string"))
        return evaluate.MetricInfo(
            description="The share of right tags over all words, in percent (0 to 100).",
            citation="",
            inputs_description="predictions, references: a list of tags a sentence.",
            features=Features({"predictions": sentence, "references": sentence}),
        )

    def _compute(
        self, *, predictions: Sequence[Sequence[str]], references: Sequence[Sequence[str]]
    ) -> dict[str, float]:
        right = 0
        for index, (predicted, gold) in enumerate(zip(predictions, references, strict=True)):
            try:
                right += count_equal_tags(predicted, gold)
            except (TypeError, ValueError) as error:
                raise ValueError(f"sentence {index} (counted from 0): {error}") from None
        total = sum(len(gold) for gold in references)
        if not total:
            raise ValueError("tag_accuracy: no sentence has a word")
        return {"tag_accuracy": 100.0 * right / total}


METRIC = TagAccuracy
