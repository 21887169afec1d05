"""What a rule for choosing an arm costs against the best arm in hindsight."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from adapter_stilts.study.statistics.draws import Arm, Best, Draws
from adapter_stilts.study.statistics.estimate import Estimate, Factors, estimate
from adapter_stilts.study.statistics.sample import Floats

Rule = Arm | Mapping[str, str]
"""Always this arm, the one that English dev chooses, or an arm for every target."""


def regret(
    draws: Draws, rules: Mapping[str, Rule], arms: Sequence[str], *, level: float = 0.95
) -> dict[str, Estimate]:
    """By rule, how many points below the best of `arms` its choices are, in the mean of targets.

    The best is that of the test scores as they are, on every target: it does not change from draw
    to draw, so that it has no luck of the draw. What it had in the test itself remains, and makes
    regret seem larger than it is, for all rules alike.

    Raises:
        ValueError: a rule says nothing of a target.
    """
    whole: Factors = frozenset()
    best = [
        max(arms, key=lambda arm: float(draws.scores(arm, place, whole).mean()))
        for place in range(len(draws.targets))
    ]
    return {
        name: estimate(
            {u: _mean_regret(draws, rule, best, u) for u in draws.sets},
            _free(draws),
            level=level,
        )
        for name, rule in rules.items()
    }


def _mean_regret(draws: Draws, rule: Rule, best: Sequence[str], factors: Factors) -> Floats:
    lost = []
    for place, target in enumerate(draws.targets):
        arm: Arm
        if isinstance(rule, str | Best):
            arm = rule
        elif target.name in rule:
            arm = rule[target.name]
        else:
            raise ValueError(f"a rule says nothing of {target.name}")
        rows = draws.scores(best[place], place, factors) - draws.scores(arm, place, factors)
        lost.append((rows * draws.language_weights(place, factors)).sum(axis=1))
    return np.asarray(np.mean(np.broadcast_arrays(*lost), axis=0))


def _free(draws: Draws) -> dict[str, float]:
    each = [draws.free(place) for place in range(len(draws.targets))]
    return {
        factor: min(one[factor] for one in each if factor in one) for one in each for factor in one
    }
