"""The difference of two arms: over all targets, on each, in each language."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

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
from adapter_stilts.study.statistics.sample import Floats, Sample

Table = dict[Factors, Floats]


@dataclass(frozen=True)
class Contrast:
    """First less second, in points.

    `overall` is the mean over targets of the mean over languages, `without` the same with one
    target left out, `adjusted` Holm's p of every target. `chosen` says of an arm that English dev
    chooses in what share of the draws it is which.
    """

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
        {str(arm): _shares(draws, arm) for arm in (first, second) if isinstance(arm, Best)},
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


def _shares(draws: Draws, arm: Best) -> dict[str, dict[str, float]]:
    found = {}
    for place, target in enumerate(draws.targets):
        times = np.bincount(draws.choose(arm, place, draws.factors), minlength=len(arm.of))
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
