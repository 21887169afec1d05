"""Scores of labels and numbers: accuracy, F1 of sentence pairs, and correlation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from adapter_stilts.metrics.registry import metric


def _label_arrays(
    predictions: Sequence[int], references: Sequence[int]
) -> tuple[NDArray[np.integer], NDArray[np.integer]]:
    """Labels as two arrays.

    Raises:
        ValueError: they are not one whole number a row.
    """
    return _label_array(predictions, "predictions"), _label_array(references, "references")


def _label_array(values: Sequence[int], what: str) -> NDArray[np.integer]:
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


def _percent_equal(predictions: NDArray[np.integer], references: NDArray[np.integer]) -> float:
    """The share of equal labels, in percent."""
    # the share first, as XTREME and scikit-learn, so that the last digit is theirs
    return 100.0 * (int(np.count_nonzero(predictions == references)) / len(references))


@metric(
    primary="accuracy",
    summary="The share of right labels, in percent (0 to 100).",
    rows="predictions, references: one whole number a row.",
    form=("int64", "int64"),
)
def accuracy(predictions: Sequence[int], references: Sequence[int]) -> dict[str, float]:
    """The share of right labels: `{"accuracy": percent}`."""
    return {"accuracy": _percent_equal(*_label_arrays(predictions, references))}


@metric(
    primary="f1",
    summary="F1 of the class 1, and accuracy, in percent (0 to 100).",
    rows="predictions, references: 0 or 1 a row.",
    form=("int64", "int64"),
    citation="Wang et al. 2019, GLUE: A Multi-Task Benchmark and Analysis Platform, ICLR",
    url="https://arxiv.org/abs/1804.07461",
)
def f1(predictions: Sequence[int], references: Sequence[int]) -> dict[str, float]:
    """F1 of the class 1 and accuracy: `{"f1": percent, "accuracy": percent}`.

    Source: GLUE's scoring of QQP (Wang et al. 2019), https://arxiv.org/abs/1804.07461.
    """
    predicted, gold = _label_arrays(predictions, references)
    return {"f1": _binary_f1(predicted, gold), "accuracy": _percent_equal(predicted, gold)}


def _binary_f1(predictions: NDArray[np.integer], references: NDArray[np.integer]) -> float:
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


@metric(
    primary="spearman",
    summary="Spearman's and Pearson's correlation, in percent (-100 to 100).",
    rows="predictions, references: one number a row.",
    form=("float64", "float64"),
)
def correlation(predictions: Sequence[float], references: Sequence[float]) -> dict[str, float]:
    """`{"spearman": percent, "pearson": percent}`, as STS and GLUE's STS-B have them.

    Where one side is the same number throughout, a correlation is not defined: it counts as 0.

    Raises:
        ValueError: a value is no number.
    """
    from scipy.stats import pearsonr, spearmanr

    try:
        found, gold = (np.asarray(each, np.float64) for each in (predictions, references))
    except TypeError as error:
        raise ValueError(f"a correlation is of numbers: {error}") from error
    if not np.isfinite(found).all() or not np.isfinite(gold).all():
        return {"spearman": float("nan"), "pearson": float("nan")}
    if np.ptp(found) == 0 or np.ptp(gold) == 0:
        return {"spearman": 0.0, "pearson": 0.0}
    return {
        "spearman": 100 * float(spearmanr(found, gold).statistic),
        "pearson": 100 * float(pearsonr(found, gold).statistic),
    }
