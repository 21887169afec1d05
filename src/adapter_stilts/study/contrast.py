"""The difference of two arms, what may be concluded of it, and what a choice or a design costs."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.special import stdtrit

from adapter_stilts.study.draws import (
    ITEMS,
    LANGUAGES,
    STAGES,
    Arm,
    Best,
    Draws,
    Estimate,
    Factors,
    estimate,
)
from adapter_stilts.study.sample import Floats, Sample

Table = dict[Factors, Floats]


@dataclass(frozen=True)
class Contrast:
    """First less second, in points.

    `overall` is the mean over targets of the mean over languages, `without` the same with one
    target left out, `adjusted` Holm's p of every target.
    """

    overall: Estimate
    targets: Mapping[str, Estimate]
    languages: Mapping[str, Mapping[str, Estimate]]
    without: Mapping[str, Estimate]
    adjusted: Mapping[str, float]


def contrast(draws: Draws, first: Arm, second: Arm, *, level: float = 0.95) -> Contrast:
    """How much better the first arm is than the second, with intervals.

    A hierarchical, paired bootstrap over targets' items, seeds of both stages and, where asked
    for, languages (Sälevä et al. 2025, arXiv:2509.22612). Targets are fixed: they are what the
    comparison is about. An arm that English dev chooses is chosen again in every draw, with its
    dev examples drawn anew too, so that the luck of the choice is in the interval.
    """
    parts: dict[str, _Part] = {}
    languages: dict[str, dict[str, Estimate]] = {}
    for place, target in enumerate(draws.targets):
        table, free = _differences(draws, first, second, place), draws.free(place)
        languages[target.name] = _languages(target.test, table, free, level)
        rows = {u: (d * draws.language_weights(place, u)).sum(axis=1) for u, d in table.items()}
        parts[target.name] = _Part(rows, free, estimate(rows, free, level=level))
    without = {
        name: _mean([part for other, part in parts.items() if other != name], level)
        for name in (parts if len(parts) > 1 else ())
    }
    return Contrast(
        _mean(list(parts.values()), level),
        {name: part.found for name, part in parts.items()},
        languages,
        without,
        holm({name: part.found.p for name, part in parts.items()}),
    )


class _Part(NamedTuple):
    """What a target has in a mean over targets: its difference in every draw, and by itself."""

    rows: Table
    free: Mapping[str, float]
    found: Estimate


def _differences(draws: Draws, first: Arm, second: Arm, place: int) -> Table:
    return {u: draws.scores(first, place, u) - draws.scores(second, place, u) for u in draws.sets}


def _languages(
    test: Sample, table: Table, free: Mapping[str, float], level: float
) -> dict[str, Estimate]:
    found = {}
    for number, language in enumerate(test.languages):
        own = {**free, ITEMS: test.drawn[language] - 1}
        column = {u: rows[:, number] for u, rows in table.items() if LANGUAGES not in u}
        found[language] = estimate(column, own, level=level)
    return found


def _mean(parts: Sequence[_Part], level: float) -> Estimate:
    """That of the mean over some targets."""
    table: Table = {
        u: np.mean(np.broadcast_arrays(*(each.rows[u] for each in parts)), axis=0)
        for u in parts[0].rows
    }
    pooled: dict[str, float] = {}
    for factor in {factor for each in parts for factor in each.free}:
        known = [
            (each.found.noise.get(factor, 0.0) ** 2, each.free[factor])
            for each in parts
            if factor in each.free
        ]
        pooled[factor] = min(degrees for _, degrees in known)
        total = sum(variance for variance, _ in known)
        # Intermediate seeds and languages are the same for all targets.
        if total and factor not in (STAGES[0], LANGUAGES):
            pooled[factor] = 1 / sum((v / total) ** 2 / degrees for v, degrees in known)
    return estimate(table, pooled, level=level)


def over_languages(
    draws: Draws, first: Arm, second: Arm, languages: Sequence[str], *, level: float = 0.95
) -> Estimate:
    """The difference over some languages alone: the mean over targets that have any of them.

    Raises:
        ValueError: no target has.
    """
    parts = []
    for place, target in enumerate(draws.targets):
        there = [k for k, name in enumerate(target.test.languages) if name in languages]
        if there:
            table, free = _differences(draws, first, second, place), draws.free(place)
            rows = {u: each[:, there].mean(1) for u, each in table.items()}
            parts.append(_Part(rows, free, estimate(rows, free, level=level)))
    if not parts:
        raise ValueError(f"no target has any of {', '.join(languages)}")
    return _mean(parts, level)


ALPHA, POWER = 0.05, 0.8
"""Of the smallest difference that a design can detect."""


def holm(p: Mapping[str, float]) -> dict[str, float]:
    """Adjusted p-values: at most alpha for what is significant among all at alpha.

    Holm 1979, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of
    Statistics 6. Valid however the tests depend on each other.

    >>> holm({"a": 0.01, "b": 0.04, "c": 0.03})
    {'a': 0.03, 'b': 0.06, 'c': 0.06}
    """
    adjusted: dict[str, float] = {}
    highest = 0.0
    for rank, name in enumerate(sorted(p, key=lambda each: p[each])):
        highest = max(highest, min(1.0, (len(p) - rank) * p[name]))
        adjusted[name] = highest
    return {name: adjusted[name] for name in p}


def equivalence_p(found: Estimate, margin: float = 1.0) -> float:
    """The p of "the true difference is `margin` or more, one way or the other".

    The two one-sided tests of Schuirmann (1987, "A comparison of the two one-sided tests procedure
    and the power approach", Journal of Pharmacokinetics and Biopharmaceutics 15). Only where this
    is below alpha may "no difference" be said; a difference that is not significant says nothing.

    Raises:
        ValueError: the margin is not positive.
    """
    if margin <= 0:
        raise ValueError(f"a margin above zero was expected, got {margin}")
    return max(found.p_above(-margin), found.p_below(margin))


def equivalence_interval(found: Estimate) -> tuple[float, float, float]:
    """The level and the bounds of the interval that goes with `equivalence_p`.

    That is at most alpha just where the interval of level 1 - 2 alpha lies within the margin, both
    ways: of an interval of 95 %, the one of 90 %.
    """
    level = max(0.0, 2 * found.level - 1)
    return level, *found.interval(level)


def effects_count(p: Sequence[float], alpha: float = 0.05) -> int:
    """In how many languages, at least, an effect holds, with confidence 1 - alpha.

    Partial conjunction (Benjamini and Heller 2008, "Screening for partial conjunction hypotheses",
    Biometrics 64), counted as by Dror et al. (2017, "Replicability analysis for natural language
    processing: testing significance with multiple datasets", TACL 5): the p of "fewer than u have
    an effect" is Bonferroni's over the largest n - u + 1, as test sets may be translations of each
    other.

    Args:
        p: one-sided, one a language.
    """
    ordered = sorted(p)
    count = 0
    for u in range(1, len(ordered) + 1):
        rest = ordered[u - 1 :]
        # What is said of u effects must have been said of fewer.
        if len(rest) * rest[0] > alpha:
            break
        count = u
    return count


def better_and_worse(found: Iterable[Estimate], alpha: float) -> tuple[int, int]:
    """In how many languages a difference is above zero, and below it, at least."""
    each = list(found)
    return (
        effects_count([one.p_above(0) for one in each], alpha),
        effects_count([one.p_below(0) for one in each], alpha),
    )


@dataclass(frozen=True)
class Design:
    """A comparison on one target: how much of everything, and how much it varies, in points.

    `item_sd` is that of an item's difference between the arms (or of its score, for the error of
    a score); `correlation` that of the same item in two languages, 0 where test sets are not
    parallel. `intermediate_sd` and `target_sd` are those of the difference from seed to seed.
    """

    items: int
    languages: int
    item_sd: float
    correlation: float = 0.0
    intermediate_seeds: int = 1
    target_seeds: int = 1
    intermediate_sd: float = 0.0
    target_sd: float = 0.0

    def __post_init__(self) -> None:
        counts = (self.items, self.languages, self.intermediate_seeds, self.target_seeds)
        if min(counts) < 1 or not 0 <= self.correlation <= 1:
            raise ValueError(f"no such design: {self}")

    @property
    def components(self) -> list[tuple[float, float]]:
        """Variance of the mean, and degrees of freedom, of items and both stages' seeds."""
        shared = self.correlation + (1 - self.correlation) / self.languages
        parts = [(self.item_sd**2 * shared / self.items, self.items - 1.0)]
        for sd, count in (
            (self.intermediate_sd, self.intermediate_seeds),
            (self.target_sd, self.target_seeds),
        ):
            parts.append((sd**2 / count, count - 1.0))
        return parts

    @property
    def error(self) -> float:
        """The standard error of the mean over languages."""
        return math.sqrt(sum(variance for variance, _ in self.components))


def detectable_difference(design: Design) -> float:
    """The smallest true difference, in points, that is found 4 times in 5, at 5 %.

    Bloom 1995, "Minimum detectable effects", Evaluation Review 19: the standard error times the
    sum of two quantiles of Student's t. Seeds that vary and of which there is one leave no degree
    of freedom, and nothing can be detected.
    """
    parts = [(variance, df) for variance, df in design.components if variance > 0]
    if any(df == 0 for _, df in parts):
        return math.inf
    if not parts:
        return 0.0
    df = design.error**4 / sum(variance**2 / free for variance, free in parts)
    return design.error * float(stdtrit(df, 1 - ALPHA / 2) + stdtrit(df, POWER))


Rule = Arm | Mapping[str, str]
"""Always this arm, the one that English dev chooses, or an arm for every target."""


def regret(draws: Draws, rules: Mapping[str, Rule], among: Collection[str]) -> dict[str, Estimate]:
    """By rule, how many points below the best of `among` its choices are, in the mean of targets.

    A target need not have all of them.

    The best is that of the test scores as they are, on every target: it does not change from draw
    to draw, so that it has no luck of the draw. What it had in the test itself remains, and makes
    regret seem larger than it is, for all rules alike.

    Raises:
        ValueError: a rule says nothing of a target, or this has none of `among`.
    """
    whole: Factors = frozenset()
    best = [
        max(
            (arm for arm in target.test.arms if arm in among),
            key=lambda arm: float(draws.scores(arm, place, whole).mean()),
        )
        for place, target in enumerate(draws.targets)
    ]
    return {
        name: estimate({u: _mean_regret(draws, rule, best, u) for u in draws.sets}, _free(draws))
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
