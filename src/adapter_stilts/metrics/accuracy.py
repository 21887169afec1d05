"""Accuracy of classification and multiple choice."""

from __future__ import annotations

from collections.abc import Sequence

import evaluate
import numpy as np
from datasets import Features, Value
from numpy.typing import NDArray

from adapter_stilts.metrics._base import BufferedMetric


def label_array(values: Sequence[int], what: str) -> NDArray[np.integer]:
    """Labels as one array.

    Raises:
        ValueError: they are not one whole number a row.
    """
    try:
        labels = np.asarray(values)
    except ValueError:  # rows of different lengths
        labels = np.asarray(values, dtype=object)
    if labels.dtype.kind not in "iub" or labels.ndim != 1:
        raise ValueError(
            f"{what} must be one whole number a row (of scores, take the argmax first), "
            f"got {labels.dtype} of shape {labels.shape}"
        )
    return labels


def percent_equal(predictions: NDArray[np.integer], references: NDArray[np.integer]) -> float:
    """The share of equal labels, in percent."""
    # the share first, as XTREME and scikit-learn, so that the last digit is theirs
    return 100.0 * (int(np.count_nonzero(predictions == references)) / len(references))


class Accuracy(BufferedMetric):
    """The share of right labels: `{"accuracy": percent}`."""

    primary = "accuracy"

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="The share of right labels, in percent (0 to 100).",
            citation="",
            inputs_description="predictions, references: one whole number a row.",
            features=Features({"predictions": Value("int64"), "references": Value("int64")}),
        )

    def _compute(
        self, *, predictions: Sequence[int], references: Sequence[int]
    ) -> dict[str, float]:
        predicted = label_array(predictions, "predictions")
        gold = label_array(references, "references")
        return {"accuracy": percent_equal(predicted, gold)}


METRIC = Accuracy
