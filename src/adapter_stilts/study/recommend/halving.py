"""Successive halving: many short trainings, few long ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Rung:
    """One round: so many steps for each candidate, and what each then scored."""

    steps: int
    scores: dict[str, float]


def successive_halving(
    names: Sequence[str], score: Callable[[str, int], float], *, least: int, keep: int = 1
) -> list[Rung]:
    """Trains all candidates for a few steps, the better half for twice as many, and so on.

    Jamieson and Talwalkar 2016, "Non-stochastic Best Arm Identification and Hyperparameter
    Optimization" (AISTATS): every round costs the same, and there are log2(n) of them. A learning
    rate that falls to zero does not let a short training go on as a long one, so that each round
    begins anew; that costs as much again, at most.

    Args:
        names: the candidates; of those with equal scores, earlier ones stay.
        score: trains one for so many steps, and says how good it is.
        least: steps of the first round.
        keep: how many are left when no more rounds are needed.

    Returns:
        The rounds; the last one has the candidates that stayed to the end.
    """
    if least < 1 or keep < 1 or not names:
        raise ValueError("names, steps and candidates to keep are needed")
    left, steps, rungs = list(names), least, []
    while True:
        rung = Rung(steps, {name: score(name, steps) for name in left})
        rungs.append(rung)
        if len(left) <= keep:
            return rungs
        half = max(keep, (len(left) + 1) // 2)
        left = sorted(left, key=lambda name: -rung.scores[name])[:half]
        if len(left) <= keep:
            return rungs
        steps *= 2


def standing(rungs: Sequence[Rung]) -> list[str]:
    """All candidates, best first: by the round they reached, then by their score in it."""
    reached = {name: (number, rung.scores[name]) for number, rung in enumerate(rungs)
               for name in rung.scores}  # fmt: skip
    return sorted(reached, key=lambda name: (-reached[name][0], -reached[name][1]))
