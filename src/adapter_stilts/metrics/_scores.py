"""Precision, recall and F1 of two sets."""

from __future__ import annotations

from collections.abc import Set


def precision_recall_f1(predicted: Set[object], gold: Set[object]) -> dict[str, float]:
    """`{"f1", "precision", "recall"}` in percent; 0 where nothing is right."""
    right = len(predicted & gold)
    if not right:
        return {"f1": 0.0, "precision": 0.0, "recall": 0.0}
    precision, recall = right / len(predicted), right / len(gold)
    # in this order seqeval and XTREME compute it, so that the last digit is theirs
    f1 = 2 * precision * recall / (precision + recall)
    return {"f1": 100 * f1, "precision": 100 * precision, "recall": 100 * recall}
