"""Scores of retrieval: F1 of mined sentence pairs, and mean average precision at twenty."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

from adapter_stilts.metrics import metric, precision_recall_f1

Pair = tuple[str, str]
K = 20
"""How many candidates count."""


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
    """Rows as a set of pairs; a row that is no source and target id is a `ValueError`."""
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


@metric(
    primary="f1",
    summary="F1, precision and recall of mined pairs, in percent (0 to 100).",
    rows="predictions, references: a source and a target id a row.",
    form=(["string"], ["string"]),
    paired=False,
    citation=(
        "Zweigenbaum et al. 2018, Overview of the Third BUCC Shared Task: Spotting Parallel "
        "Sentences in Comparable Corpora, BUCC"
    ),
    url="https://github.com/google-research/xtreme",
)
def bitext_f1(predictions: Sequence[Any], references: Sequence[Any]) -> dict[str, float]:
    """`{"f1", "precision", "recall"}` in percent, of predicted pairs against gold pairs.

    Both are sets: order does not matter, and a pair named twice counts once. Source: `bucc_f1`
    of XTREME's evaluate.py (https://github.com/google-research/xtreme). Nothing right is 0.
    """
    return precision_recall_f1(_pairs(predictions, "prediction"), _pairs(references, "reference"))


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
    """The ids of a row; what is no list of strings is a `ValueError`."""
    ids = row.tolist() if hasattr(row, "tolist") else row
    if not isinstance(ids, list | tuple) or not all(isinstance(name, str) for name in ids):
        raise ValueError(f"{what} {index} (counted from 0) must be a list of candidate ids")
    return list(ids)


@metric(
    primary="map_at_20",
    summary="Mean average precision at 20, in percent (0 to 100).",
    rows=(
        "predictions: a list of candidate ids a query, best first; "
        "references: the ids of the relevant candidates."
    ),
    form=(["string"], ["string"]),
    citation=(
        "Ruder et al. 2021, XTREME-R: Towards More Challenging and Nuanced Multilingual "
        "Evaluation, EMNLP"
    ),
    url="https://github.com/google-research/xtreme",
)
def map_at_20(
    predictions: Sequence[Sequence[str]], references: Sequence[Sequence[str]]
) -> dict[str, float]:
    """`{"map_at_20": percent}`: the mean of the queries' average precision at 20.

    XTREME-R scores LAReQA so (utils_lareqa.py in https://github.com/google-research/xtreme).
    Mewsli-X it scores by the mean reciprocal rank among the first 20 (utils_mewslix.py), which is
    the same number where one candidate is relevant, as it is there. A query without predictions, an
    empty list, counts 0 in both. A reference that names no candidate is a `ValueError`.
    """
    total = 0.0
    for index, (prediction, reference) in enumerate(zip(predictions, references, strict=True)):
        ranked = _ids(prediction, "prediction", index)
        relevant = _ids(reference, "reference", index)
        if not relevant:
            raise ValueError(f"reference {index} (counted from 0) names no candidate")
        total += average_precision(ranked, relevant, K)
    # the mean first, as XTREME-R's mean reciprocal rank, so that the last digit is its own
    return {"map_at_20": 100.0 * (total / len(references))}
