"""What every item brings to a task's score: a numerator and a denominator.

Pure functions. A score is 100 * sum of numerators / sum of denominators, so that items can be
drawn anew and the score recomputed. A mean has the item's score (0 to 1) and 1; F1 of chunks has
2 tp and 2 tp + fp + fn, sentence by sentence.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

from adapter_stilts.metrics.bitext_f1 import Pair
from adapter_stilts.metrics.mlqa import LANGUAGES, mlqa_scores
from adapter_stilts.metrics.seqeval_f1 import chunks
from adapter_stilts.metrics.squad import squad_scores

Counts = list[tuple[float, float]]


def equal_counts(predictions: Sequence[Any], references: Sequence[Any]) -> Counts:
    """Of accuracy: labels, options, places."""
    return [(float(p == r), 1.0) for p, r in zip(predictions, references, strict=True)]


def answer_counts(
    predictions: Sequence[str], golds: Sequence[Sequence[str]], *, metric: str, language: str
) -> Counts:
    """Of the answers' F1, as the metrics `squad` and `mlqa` have it, or of their exact match.

    Args:
        language: of the answers; MLQA's metric treats articles by it.
    """
    known = language if language in LANGUAGES else "hi"  # as it is scored: without articles
    found = []
    for text, gold in zip(predictions, golds, strict=True):
        if metric == "mlqa":
            exact, f1 = mlqa_scores(text, gold, language=known)
        else:
            exact, f1 = squad_scores(text, gold)
        found.append((exact if metric == "exact_match" else f1, 1.0))
    return found


def chunk_counts(predictions: Sequence[Sequence[str]], gold: Sequence[Sequence[str]]) -> Counts:
    """Of seqeval's F1: a chunk counts where it begins."""
    # There is a place between two sentences; see `chunks`.
    starts = [0, *accumulate(len(sentence) + 1 for sentence in gold)][:-1]
    found, right = chunks(predictions), chunks(gold)
    true = Counter(bisect_right(starts, first) - 1 for _, first, _ in found & right)
    wrong = Counter(bisect_right(starts, first) - 1 for _, first, _ in found ^ right)
    return [(2.0 * true[k], 2.0 * true[k] + wrong[k]) for k in range(len(gold))]


def pair_counts(
    predictions: Sequence[Pair], gold: Sequence[Pair], sources: Sequence[str]
) -> Counts:
    """Of the F1 of mined pairs: a pair counts at its first sentence."""
    found, right = set(predictions), set(gold)
    true = Counter(source for source, _ in found & right)
    wrong = Counter(source for source, _ in found ^ right)
    return [(2.0 * true[name], 2.0 * true[name] + wrong[name]) for name in sources]
