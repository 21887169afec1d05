"""What a guess reaches, and whether a module's score can be told from it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from math import sqrt

from adapter_stilts.zoo.record import ModuleRecord

ERRORS = 2.0
"""Standard errors above a guess that a score needs to count as more."""


def majority(answers: Sequence[object]) -> float:
    """The percentage of examples that the most frequent answer gets right.

    >>> majority([0, 1, 1, 2])
    50.0
    """
    return 100 * max(Counter(answers).values()) / len(answers)


def at_chance(record: ModuleRecord) -> list[str]:
    """The tasks of a module whose score is within noise of the best constant guess.

    Records that do not say what a guess reaches (`data.dev.chance`) count as better.
    """
    tasks = [record.at(task) for task in record.heads] or [record]
    return [each.task for each in tasks if _is_at_chance(each)]


def _is_at_chance(record: ModuleRecord) -> bool:
    dev = record.data.get("dev")
    guess = dev.get("chance") if isinstance(dev, dict) else None
    if not isinstance(dev, dict) or not isinstance(guess, dict):
        return False
    for metric, value in guess.items():
        score, examples = record.scores.get(metric), dev.get("examples")
        if score is None or not isinstance(value, int | float) or not isinstance(examples, int):
            continue
        share = min(max(value / 100, 0.0), 1.0)
        noise = 100 * sqrt(share * (1 - share) / max(1, examples))
        if score < value + ERRORS * noise:
            return True
    return False


def chance_note(record: ModuleRecord) -> str:
    """What follows a score in a list where it is no better than a guess; else an empty text."""
    found = at_chance(record)
    if not found:
        return ""
    return f" ({len(found)}/{len(record.heads)} chance)" if record.heads else " (chance)"
