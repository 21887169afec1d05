"""F1 of sentence pairs mined from two corpora, as BUCC and XTREME score them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import evaluate
from datasets import Features, List, Value

from adapter_stilts.metrics._base import BufferedMetric
from adapter_stilts.metrics._scores import precision_recall_f1

CITATION = (
    "Zweigenbaum et al. 2018, Overview of the Third BUCC Shared Task: Spotting Parallel Sentences "
    "in Comparable Corpora, BUCC"
)

Pair = tuple[str, str]


def best_threshold(scored_pairs: Mapping[Pair, float], gold: Iterable[Pair]) -> float:
    """The score from which on pairs are taken, for the best F1 on dev data.

    Pairs are gone through from the highest score down, equal scores in the order given. Where F1
    is best, at the first such place, the threshold is the middle between that pair's score and
    the next one's. Where no pair is right it is 0.

    This is `bucc_optimize` of XTREME's utils_retrieve.py. There the best place cannot be
    the last pair (it fails with an index error); here the threshold is then that pair's score.

    Args:
        scored_pairs: the score of each pair of a source and a target id.
        gold: the right pairs.
    """
    right = set(gold)
    items = sorted(scored_pairs.items(), key=lambda item: -item[1])
    lower = [*(score for _, score in items[1:]), *(score for _, score in items[-1:])]
    correct, best, threshold = 0, 0.0, 0.0
    for extracted, ((pair, score), next_score) in enumerate(
        zip(items, lower, strict=True), start=1
    ):
        correct += pair in right
        if correct:
            precision, recall = correct / extracted, correct / len(right)
            f1 = 2 * precision * recall / (precision + recall)
            if f1 > best:
                best, threshold = f1, (score + next_score) / 2
    return threshold


def above(scored_pairs: Mapping[Pair, float], threshold: float) -> list[Pair]:
    """The pairs that score at least the threshold, in their order."""
    return [pair for pair, score in scored_pairs.items() if score >= threshold]


def _pairs(rows: Sequence[Any], what: str) -> set[Pair]:
    """Rows as a set of pairs.

    Raises:
        ValueError: a row is not a source and a target id.
    """
    pairs = set()
    for index, row in enumerate(rows):
        if (
            not isinstance(row, list | tuple)
            or len(row) != 2
            or not all(isinstance(name, str) for name in row)
        ):
            raise ValueError(f"{what} {index} (counted from 0) is no pair of two ids: {row!r}")
        pairs.add((row[0], row[1]))
    return pairs


class BitextF1(BufferedMetric):
    """`{"f1", "precision", "recall"}` in percent, of predicted pairs against gold pairs.

    Both are sets: order does not matter, and a pair named twice counts once. Source: `bucc_f1`
    of XTREME's evaluate.py (https://github.com/google-research/xtreme). Nothing right is 0.
    """

    primary = "f1"
    paired = False

    def _info(self) -> evaluate.MetricInfo:
        pair = List(Value("string"))
        return evaluate.MetricInfo(
            description="F1, precision and recall of mined pairs, in percent (0 to 100).",
            citation=CITATION,
            inputs_description="predictions, references: a source and a target id a row.",
            features=Features({"predictions": pair, "references": pair}),
            reference_urls=["https://github.com/google-research/xtreme"],
        )

    def _compute(
        self, *, predictions: Sequence[Any], references: Sequence[Any]
    ) -> dict[str, float]:
        return precision_recall_f1(
            _pairs(predictions, "prediction"), _pairs(references, "reference")
        )


METRIC = BitextF1
