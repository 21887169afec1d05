"""Scores of every arm in every draw of items, seeds and languages, alone and together."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from itertools import combinations
from typing import Any

import numpy as np
from scipy.special import stdtr, stdtrit

from adapter_stilts.study.sample import Floats, Ints, Sample, Target, draw_weights

STAGES = ("intermediate seeds", "target seeds")
LANGUAGES = "languages"


@dataclass(frozen=True)
class Best:
    """An arm that English dev chooses, for every target and in every draw anew."""

    of: tuple[str, ...]

    def __str__(self) -> str:
        return f"the best of {len(self.of)} by English dev"


Arm = str | Best


@dataclass(frozen=True)
class Draws:
    """All draws of a comparison. Whatever is compared in them is paired.

    Items are drawn for all arms at once; seeds for all arms that have as many, since an arm's
    module of seed 1 belongs beside the others' of seed 1. The intermediate modules of a seed
    serve all targets, and are drawn for all at once; languages too, by their names.

    Arms may have different numbers of seeds: each has its own drawn anew, and of an arm with one
    there is nothing to draw, so that what is said holds for that seed. Only where English dev
    chooses among arms, those with fewer seeds vary from seed to seed as the one with most does:
    a draw that chooses another arm than the data did would else have less noise than it.

    Raises:
        ValueError: no target, or two of one name.
    """

    targets: Sequence[Target]
    count: int = 2000
    seed: int = 0
    random_languages: bool = False

    def __post_init__(self) -> None:
        names = [target.name for target in self.targets]
        if not names or len(set(names)) < len(names):
            raise ValueError(f"targets of different names were expected, got {names}")

    @property
    def factors(self) -> Factors:
        """What is drawn anew."""
        arms = [
            each.test.seeds(arm) for each in self.targets for arm in each.test.arms
        ]  # of an arm with one seed, there is nothing to draw
        found = {
            stage for place, stage in enumerate(STAGES) if any(each[place] > 1 for each in arms)
        }
        if self.random_languages:
            found.add(LANGUAGES)
        return frozenset({ITEMS, *found})

    def scores(self, arm: Arm, place: int, factors: Factors) -> Floats:
        """An arm's score on a target in every draw of these factors: (draws or 1, languages)."""
        if isinstance(arm, str):
            return self._over_seeds("test", arm, place, factors)
        chosen = self.choose(arm, place, factors)
        each = [
            self._over_seeds("test", name, place, factors) + self._borrow(name, arm, place, factors)
            for name in arm.of
        ]
        stacked = np.stack(np.broadcast_arrays(*each, np.empty((len(chosen), 1)))[:-1])
        return np.asarray(stacked[chosen, np.arange(len(chosen))])

    def _borrow(self, name: str, arm: Best, place: int, factors: Factors) -> Floats:
        """How far one seed is from the mean of all, as the arm of most seeds has it: (draws, ..).

        That arm's deviation is of the mean of its seeds, so it is as much larger for one seed.
        """
        seeds = {each: self.targets[place].test.seeds(each) for each in arm.of}
        most = max(arm.of, key=lambda each: seeds[each][0] * seeds[each][1])
        lacking = [
            k
            for k, stage in enumerate(STAGES)
            if stage in factors and seeds[name][k] == 1 < seeds[most][k]
        ]
        if not lacking:
            return np.zeros((1, 1))
        without = factors - {STAGES[k] for k in lacking}
        with_all = self._over_seeds("test", most, place, factors)
        larger = np.sqrt(np.prod([seeds[most][k] for k in lacking]))
        return np.asarray(larger * (with_all - self._over_seeds("test", most, place, without)))

    def choose(self, arm: Best, place: int, factors: Factors) -> Ints:
        """Which of its arms is chosen in every draw: (draws or 1,).

        Raises:
            ValueError: the target has no English dev to choose by.
        """
        if self.targets[place].dev is None:
            raise ValueError(f"{self.targets[place].name} has no English dev to choose by")
        each = [self._over_seeds("dev", name, place, factors).mean(axis=1) for name in arm.of]
        return np.asarray(np.argmax(np.stack(np.broadcast_arrays(*each)), axis=0))

    def language_weights(self, place: int, factors: Factors) -> Floats:
        """The weight of every language of a target's test sets: (draws or 1, languages)."""
        languages = self.targets[place].test.languages
        if LANGUAGES not in factors:
            return np.full((1, len(languages)), 1 / len(languages))
        rows = self._languages[:, [self._language_names.index(name) for name in languages]]
        total = rows.sum(axis=1, keepdims=True)
        # A draw may have none of a target's languages.
        return np.where(total > 0, rows, 1.0) / np.where(total > 0, total, len(languages))

    def free(self, place: int) -> dict[str, float]:
        """Degrees of freedom of every factor on a target."""
        test = self.targets[place].test
        seeds = [[n for arm in test.arms if (n := test.seeds(arm)[k]) > 1] for k in range(2)]
        stages = {stage: min(each) - 1 for stage, each in zip(STAGES, seeds, strict=True) if each}
        languages = max(1, len(test.languages) - 1)
        return {ITEMS: test.free, **stages, LANGUAGES: languages}

    def _over_seeds(self, kind: str, arm: str, place: int, factors: Factors) -> Floats:
        cells = (self._drawn if ITEMS in factors else self._whole)[place][kind][arm]
        weights = [
            self._seeds(stage, cells.shape[2 + k], self.targets[place].name)
            if stage in factors
            else np.ones((1, cells.shape[2 + k]))
            for k, stage in enumerate(STAGES)
        ]
        weighted = cells * weights[0][:, None, :, None] * weights[1][:, None, None, :]
        return np.asarray(weighted.mean(axis=(2, 3)))

    def _seeds(self, stage: str, count: int, target: str) -> Floats:
        """How often each seed of a stage is drawn: (draws, seeds)."""
        shared = "" if stage == STAGES[0] else target
        return draw_weights(self._random(stage, str(count), shared), self.count, count)

    def _random(self, *what: str) -> np.random.Generator:
        """The same numbers for the same purpose, whatever else is drawn."""
        return np.random.default_rng([self.seed, *"\0".join(what).encode()])

    @cached_property
    def _drawn(self) -> list[dict[str, Mapping[str, Floats]]]:
        return [
            {
                kind: sample.resample(self._random(ITEMS, kind, target.name), self.count)
                for kind, sample in _samples(target)
            }
            for target in self.targets
        ]

    @cached_property
    def _whole(self) -> list[dict[str, Mapping[str, Floats]]]:
        return [
            {kind: sample.scores() for kind, sample in _samples(target)} for target in self.targets
        ]

    @cached_property
    def _language_names(self) -> list[str]:
        return sorted({name for target in self.targets for name in target.test.languages})

    @cached_property
    def _languages(self) -> Floats:
        return draw_weights(self._random(LANGUAGES), self.count, len(self._language_names))

    @property
    def sets(self) -> list[Factors]:
        """All sets of factors, the empty one first."""
        return subsets(self.factors)


def _samples(target: Target) -> list[tuple[str, Sample]]:
    both = {"test": target.test, "dev": target.dev}
    return [(kind, sample) for kind, sample in both.items() if sample is not None]


ITEMS = "items"
Factors = frozenset[str]
"""What was drawn anew: items, seeds of a stage, languages."""


@dataclass(frozen=True)
class Estimate:
    """A value, its standard error, the degrees of freedom of that, and the interval.

    `noise` is the part of the standard error that each factor brings; a factor that is not named
    was not drawn anew, and the interval says nothing of it. Where no draw differs from the others,
    the error is 0, and the degrees of freedom are those of the items, see `_unseen`.
    """

    value: float
    error: float
    df: float
    low: float
    high: float
    level: float
    noise: Mapping[str, float]

    @property
    def p(self) -> float:
        """Two-sided, against zero."""
        return min(1.0, 2 * min(self.p_above(0), self.p_below(0)))

    def p_above(self, bound: float) -> float:
        """One-sided: how likely a value as high is where the true one is `bound` or lower."""
        if self.error == 0:
            return _unseen(self.value - bound, RANGE + self.value, self.df)
        return float(stdtr(self.df, (bound - self.value) / self.error))

    def p_below(self, bound: float) -> float:
        """One-sided: how likely a value as low is where the true one is `bound` or higher."""
        if self.error == 0:
            return _unseen(bound - self.value, RANGE - self.value, self.df)
        return float(stdtr(self.df, (self.value - bound) / self.error))

    def interval(self, level: float) -> tuple[float, float]:
        """The bounds at another level."""
        return _bounds(self.value, self.error, self.df, level)

    @property
    def turned(self) -> Estimate:
        """That of the second less the first."""
        return replace(self, value=-self.value, low=-self.high, high=-self.low)

    def as_dict(self) -> dict[str, Any]:
        """As JSON has it; without limit to the degrees of freedom, there is no number."""
        return {**asdict(self), "df": self.df if math.isfinite(self.df) else None, "p": self.p}


TINY = 1e-9
"""Points: so much is what is left of computing with rounded numbers."""
RANGE = 100.0
"""Points by which two arms can differ at most, either way."""


def _unseen(distance: float, room: float, df: float) -> float:
    """How likely all items are alike where the true value is so many points away.

    Items that are all alike have no variance, but those that were not drawn may differ: each by
    `room` points at most, so that a share of distance / room of them must. That none of n items is
    one of these has the probability (1 - share) ** n (Hanley and Lippman-Hand 1983, "If nothing
    goes wrong, is everything all right?", JAMA 249).

    >>> round(_unseen(1, 100, 299), 2), _unseen(0, 100, 299)
    (0.05, 1.0)
    """
    share = min(1.0, distance / room) if distance > 0 else 0.0
    return float((1 - share) ** (df + 1))


def subsets(factors: Factors) -> list[Factors]:
    """All sets of these factors, the empty one first."""
    names = sorted(factors)
    return [frozenset(each) for k in range(len(names) + 1) for each in combinations(names, k)]


def estimate(
    draws: Mapping[Factors, Floats], free: Mapping[str, float], *, level: float = 0.95
) -> Estimate:
    """The interval of a value whose factors were drawn anew alone and together.

    Where factors are crossed (every seed answers every item), drawing all of them counts what is
    peculiar to a seed *and* an item three times (Owen 2007, "The pigeonhole bootstrap", Annals of
    Applied Statistics 1). So the draws are taken apart as in an analysis of variance: what two
    factors bring together is the draw of both, less the draws of each. Its variance is in that
    of each factor, and is taken off once. The interval is Student's, with the degrees of
    freedom of Satterthwaite (1946, "An approximate distribution of estimates of variance
    components", Biometrics Bulletin 2): three seeds are few, however many items there are.

    Args:
        draws: by the factors drawn anew, the value in every draw, (draws,); under the empty set
            the value itself. Under larger sets, the weights of each factor are the same.
        free: degrees of freedom of every factor; one that is missing has nothing to draw here, and
            brings no more than what is left of computing with rounded numbers.
    """
    factors: Factors = frozenset().union(*draws)
    value = float(draws[frozenset()].ravel()[0])
    variance = {u: float(np.var(_own(draws, u))) for u in subsets(factors) if u}
    # Of a component that several factors share, each of them has the whole.
    parts = {
        factor: sum((-1) ** (len(u) - 1) * v for u, v in variance.items() if factor in u)
        for factor in factors.intersection(free)
    }
    parts = {factor: max(0.0, part) for factor, part in parts.items()}
    alone = [variance[frozenset([factor])] for factor in factors]
    total = max(sum((-1) ** (len(u) + 1) * v for u, v in variance.items()), *alone, 0.0)
    error = math.sqrt(total)
    # The items bring what is peculiar to a seed and an item, too.
    parts[ITEMS] = variance.get(frozenset([ITEMS]), 0.0)
    noise = {factor: math.sqrt(part) for factor, part in sorted(parts.items())}
    if error < TINY or not any(parts.values()):
        bounds = _bounds(value, 0.0, free[ITEMS], level)
        return Estimate(value, 0.0, free[ITEMS], *bounds, level, noise)
    df = 1 / sum((part / total) ** 2 / free[factor] for factor, part in parts.items() if part)
    return Estimate(value, error, df, *_bounds(value, error, df, level), level, noise)


def _bounds(value: float, error: float, df: float, level: float) -> tuple[float, float]:
    if error == 0:
        # The least and greatest value that all items being alike does not refute.
        share = 1 - ((1 - level) / 2) ** (1 / (df + 1))
        return value - share * (RANGE + value), value + share * (RANGE - value)
    half = error * float(stdtrit(df, (1 + level) / 2))
    return max(-RANGE, value - half), min(RANGE, value + half)


def _own(draws: Mapping[Factors, Floats], factors: Factors) -> Floats:
    """What these factors bring together, beyond what some of them bring."""
    signed = [(-1) ** (len(factors) - len(u)) * draws[u] for u in subsets(factors)]
    return np.asarray(np.sum(np.broadcast_arrays(*signed), axis=0))
