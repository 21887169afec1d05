"""F1 and accuracy of sentence pairs, as GLUE scores QQP."""

from __future__ import annotations

from collections.abc import Sequence

import evaluate
import numpy as np
from datasets import Features, Value
from numpy.typing import NDArray

from adapter_stilts.metrics._base import BufferedMetric
from adapter_stilts.metrics.accuracy import label_array, percent_equal

CITATION = "Wang et al. 2019, GLUE: A Multi-Task Benchmark and Analysis Platform, ICLR"


def binary_f1(predictions: NDArray[np.integer], references: NDArray[np.integer]) -> float:
    """F1 of the class 1, in percent: 2 TP / (2 TP + FP + FN).

    0 where neither side has a 1, as scikit-learn's `f1_score`, which GLUE uses.

    Raises:
        ValueError: a label is neither 0 nor 1.
    """
    for what, labels in (("predictions", predictions), ("references", references)):
        outside = np.setdiff1d(labels, [0, 1])
        if outside.size:
            raise ValueError(f"f1 is defined for the labels 0 and 1: {what} hold {outside[0]}")
    both = int(np.count_nonzero((predictions == 1) & (references == 1)))
    either = int(np.count_nonzero(predictions == 1)) + int(np.count_nonzero(references == 1))
    return 100.0 * 2 * both / either if either else 0.0


class PairF1(BufferedMetric):
    """F1 of the class 1 and accuracy: `{"f1": percent, "accuracy": percent}`.

    Source: GLUE's scoring of QQP (Wang et al. 2019), https://arxiv.org/abs/1804.07461.
    """

    primary = "f1"

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="F1 of the class 1, and accuracy, in percent (0 to 100).",
            citation=CITATION,
            inputs_description="predictions, references: 0 or 1 a row.",
            features=Features({"predictions": Value("int64"), "references": Value("int64")}),
            reference_urls=["https://arxiv.org/abs/1804.07461"],
        )

    def _compute(
        self, *, predictions: Sequence[int], references: Sequence[int]
    ) -> dict[str, float]:
        predicted = label_array(predictions, "predictions")
        gold = label_array(references, "references")
        return {"f1": binary_f1(predicted, gold), "accuracy": percent_equal(predicted, gold)}


METRIC = PairF1
