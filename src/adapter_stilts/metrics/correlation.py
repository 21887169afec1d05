"""How well numbers go with the right ones: Pearson's and Spearman's correlation."""

from __future__ import annotations

from collections.abc import Sequence

import evaluate
import numpy as np
from datasets import Features, Value

from adapter_stilts.metrics._base import BufferedMetric


class Correlation(BufferedMetric):
    """`{"spearman": percent, "pearson": percent}`, as STS and GLUE's STS-B have them.

    Where one side is the same number throughout, a correlation is not defined: it counts as 0.
    """

    primary = "spearman"

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="Spearman's and Pearson's correlation, in percent (-100 to 100).",
            citation="",
            inputs_description="predictions, references: one number a row.",
            features=Features({"predictions": Value("float64"), "references": Value("float64")}),
        )

    def _compute(
        self, *, predictions: Sequence[float], references: Sequence[float]
    ) -> dict[str, float]:
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


METRIC = Correlation
