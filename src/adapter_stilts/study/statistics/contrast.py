"""The difference of two arms: over all targets, on each, in each language."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from adapter_stilts.study.statistics.decisions import holm
from adapter_stilts.study.statistics.draws import (
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
from adapter_stilts.study.statistics.sample import Floats

Table = dict[Factors, Floats]


@dataclass(frozen=True)
class Contrast:
    """First less second, in points.

    `overall` is the mean over targets of the mean over languages, `without` the same with one
    target left out, `adjusted` Holm's p of every target. `chosen` says of an arm that English dev
    chooses in what share of the draws it is which.
    """

    first: str
    second: str
    overall: Estimate
    targets: Mapping[str, Estimate]
    languages: Mapping[str, Mapping[str, Estimate]]
    without: Mapping[str, Estimate]
    adjusted: Mapping[str, float]
    chosen: Mapping[str, Mapping[str, Mapping[str, float]]]


def contrast(draws: Draws, first: Arm, second: Arm, *, level: float = 0.95) -> Contrast:
    """How much better the first arm is than the second, with intervals.

    A hierarchical, paired bootstrap over targets' items, seeds of both stages and, where asked
    for, languages (Sälevä et al. 2025, arXiv:2509.22612). Targets are fixed: they are what the
    comparison is about. An arm that English dev chooses is chosen again in every draw, with its
    dev examples drawn anew too, so that the luck of the choice is in the interval.
    """
    places = range(len(draws.targets))
    names = [target.name for target in draws.targets]
    by_language: list[Table] = [
        {u: draws.scores(first, place, u) - draws.scores(second, place, u) for u in draws.sets}
        for place in places
    ]
    by_target: list[Table] = [
        {u: (rows * draws.language_weights(place, u)).sum(axis=1) for u, rows in table.items()}
        for place, table in enumerate(by_language)
    ]
    free = [draws.free(place) for place in places]
    targets = {
        names[place]: estimate(by_target[place], free[place], level=level) for place in places
    }
    languages = {
        names[place]: _languages(draws, place, by_language[place], free[place], level)
        for place in places
    }
    without = {}
    for left_out in places if len(names) > 1 else ():
        kept = [place for place in places if place != left_out]
        without[names[left_out]] = _mean(kept, by_target, free, targets, names, level)
    return Contrast(
        str(first),
        str(second),
        _mean(list(places), by_target, free, targets, names, level),
        targets,
        languages,
        without,
        holm({name: each.p for name, each in targets.items()}),
        {str(arm): _shares(draws, arm) for arm in (first, second) if isinstance(arm, Best)},
    )


def _languages(
    draws: Draws, place: int, table: Table, free: Mapping[str, float], level: float
) -> dict[str, Estimate]:
    test = draws.targets[place].test
    fixed = {u: rows for u, rows in table.items() if LANGUAGES not in u}
    found = {}
    for number, language in enumerate(test.languages):
        own = {**free, ITEMS: test.drawn[language] - 1}
        column = {u: rows[:, number] for u, rows in fixed.items()}
        found[language] = estimate(column, own, level=level)
    return found


def _mean(
    places: Sequence[int],
    by_target: Sequence[Table],
    free: Sequence[Mapping[str, float]],
    targets: Mapping[str, Estimate],
    names: Sequence[str],
    level: float,
) -> Estimate:
    """That of the mean over some targets."""
    table: Table = {
        u: np.mean(np.broadcast_arrays(*(by_target[place][u] for place in places)), axis=0)
        for u in by_target[places[0]]
    }
    pooled: dict[str, float] = {}
    for factor in {factor for place in places for factor in free[place]}:
        known = [(targets[names[p]].noise.get(factor, 0.0), free[p]) for p in places]
        degrees = [each[factor] for _, each in known if factor in each]
        if factor in (STAGES[0], LANGUAGES):
            pooled[factor] = min(degrees)  # the same for all targets
            continue
        squares = sum(noise**4 / each[factor] for noise, each in known if factor in each)
        total = sum(noise**2 for noise, _ in known)
        pooled[factor] = total**2 / squares if squares else min(degrees)
    return estimate(table, pooled, level=level)


def _shares(draws: Draws, arm: Best) -> dict[str, dict[str, float]]:
    found = {}
    for place, target in enumerate(draws.targets):
        times = np.bincount(draws.chosen(arm, place, draws.factors), minlength=len(arm.of))
        shares = times / times.sum()
        found[target.name] = {name: float(s) for name, s in zip(arm.of, shares, strict=True) if s}
    return found


def over_languages(
    draws: Draws, first: Arm, second: Arm, languages: Sequence[str], *, level: float = 0.95
) -> Estimate:
    """The difference over some languages alone: the mean over targets that have any of them.

    Raises:
        ValueError: no target has.
    """
    by_target: list[Table] = []
    free, names, targets = [], [], {}
    for place, target in enumerate(draws.targets):
        there = [k for k, name in enumerate(target.test.languages) if name in languages]
        if not there:
            continue
        rows: Table = {
            u: (draws.scores(first, place, u) - draws.scores(second, place, u))[:, there].mean(1)
            for u in draws.sets
        }
        by_target.append(rows)
        free.append(draws.free(place))
        names.append(target.name)
        targets[target.name] = estimate(rows, free[-1], level=level)
    if not names:
        raise ValueError(f"no target has any of {', '.join(languages)}")
    return _mean(list(range(len(names))), by_target, free, targets, names, level)
