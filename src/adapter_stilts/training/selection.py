"""Which evaluation of a training counts, and when its scores say that no better one will come."""

from __future__ import annotations

from collections.abc import Sequence

RULES = 2
"""Raised when the same scores come to stop a training elsewhere or to keep another step."""


def place_of_best(scores: Sequence[float]) -> int:
    """The evaluation to keep: the first with the highest score.

    Where no score has risen above the first one, it is the last that equals it: on a plateau, as
    that of the majority class, what was trained longest is the better guess.
    """
    best = max(scores)
    if best > scores[0]:
        return scores.index(best)
    return max(place for place, score in enumerate(scores) if score == best)


def is_worn_out(scores: Sequence[float], *, patience: int, step: int, steps: int) -> bool:
    """Whether to stop: `patience` evaluations in a row brought no better score (0: never).

    Never before half of the steps, nor before any score has risen: many trainings begin on a
    plateau, and the learning rate is at its highest in the first half.

    >>> is_worn_out([50.0, 60.0, 60.0, 55.0], patience=2, step=40, steps=80)
    True
    >>> is_worn_out([50.0, 50.0, 50.0, 50.0], patience=2, step=40, steps=80)
    False
    """
    if not patience or 2 * step < steps or not scores or max(scores) <= scores[0]:
        return False
    return len(scores) - 1 - scores.index(max(scores)) >= patience
