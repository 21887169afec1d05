"""Mean average precision of the first twenty candidates retrieved."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import evaluate
from datasets import Features, List, Value

from adapter_stilts.metrics._base import BufferedMetric

CITATION = (
    "Ruder et al. 2021, XTREME-R: Towards More Challenging and Nuanced Multilingual Evaluation, "
    "EMNLP"
)
K = 20


def average_precision(ranked: Sequence[Hashable], relevant: Sequence[Hashable], k: int) -> float:
    """Average precision (0 to 1) of the first k candidates, of distinct relevant ones.

    The sum, over the places where a relevant candidate stands, of the share of relevant ones up
    to there, divided by min(number of relevant candidates, k): a ranking can reach 1 also where
    more than k are relevant. A candidate named twice counts where it first stands, but takes
    both places.
    """
    wanted = set(relevant)
    divisor = min(len(wanted), k)
    hits, total = 0, 0.0
    for place, candidate in enumerate(ranked[:k], start=1):
        if candidate in wanted:
            wanted.remove(candidate)
            hits += 1
            total += hits / place
    return total / divisor


def _ids(row: Any, what: str, index: int) -> list[Hashable]:
    """The ids of a row.

    Raises:
        ValueError: they are not a list of strings.
    """
    ids = row.tolist() if hasattr(row, "tolist") else row
    if not isinstance(ids, list | tuple) or not all(isinstance(name, str) for name in ids):
        raise ValueError(f"{what} {index} (counted from 0) must be a list of candidate ids")
    return list(ids)


class MapAt20(BufferedMetric):
    """`{"map_at_20": percent}`: the mean of the queries' average precision at 20.

    XTREME-R scores LAReQA so (utils_lareqa.py in https://github.com/google-research/xtreme).
    Mewsli-X it scores by the mean reciprocal rank among the first 20 (utils_mewslix.py), which
    is the same number where one candidate is relevant, as it is there. A query without
    predictions, an empty list, counts 0 in both.
    """

    primary = "map_at_20"

    def _info(self) -> evaluate.MetricInfo:
        ids = List(Value("string"))
        return evaluate.MetricInfo(
            description="Mean average precision at 20, in percent (0 to 100).",
            citation=CITATION,
            inputs_description=(
                "predictions: a list of candidate ids a query, best first; "
                "references: the ids of the relevant candidates."
            ),
            features=Features({"predictions": ids, "references": ids}),
            reference_urls=["https://github.com/google-research/xtreme"],
        )

    def _compute(
        self, *, predictions: Sequence[Sequence[str]], references: Sequence[Sequence[str]]
    ) -> dict[str, float]:
        total = 0.0
        for index, (prediction, reference) in enumerate(zip(predictions, references, strict=True)):
            ranked = _ids(prediction, "prediction", index)
            relevant = _ids(reference, "reference", index)
            if not relevant:
                raise ValueError(f"reference {index} (counted from 0) names no candidate")
            total += average_precision(ranked, relevant, K)
        # the mean first, as XTREME-R's mean reciprocal rank, so that the last digit is its own
        return {"map_at_20": 100.0 * (total / len(references))}


METRIC = MapAt20
