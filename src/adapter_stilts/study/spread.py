"""How much items and seeds vary: measured on finished runs, or before these on shipped modules."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean
from types import MappingProxyType

import numpy as np
import pyarrow as pa

from adapter_stilts.study.results import RunResult
from adapter_stilts.study.samples import Seeds
from adapter_stilts.study.statistics.sample import Floats
from adapter_stilts.study.study_data import StudyData
from adapter_stilts.tasks.registry import get_target, target_tasks

ITEM_SD: Mapping[str, float] = MappingProxyType(
    {"classification": 48.6, "choice": 49.1, "span": 48.7, "tagging": 44.3}
)
"""By the kind of head, in points: of the score of an item, by the scores of the shipped modules in
docs/results/records/zoo.jsonl (`benchmarks/study_spread.py` computes it, and a test compares). An
accuracy tells it: what is right or wrong varies by that. An F1 is taken for one. The difference of
two arms varies as much where their scores of an item have the correlation 0.5, which is assumed."""
CORRELATION = 0.5
"""Of an item in two languages of a parallel test set; assumed where no finished run tells it."""
LARGEST = max(ITEM_SD.values())
ARMS = 5
"""So many arms of a target are compared in pairs."""
FEWEST, FREE = 20, 4
"""So many items of a language, and degrees of freedom of seeds, tell a spread."""


@dataclass(frozen=True)
class Spread:
    """In points: of an item's difference between two arms, by target, and from seed to seed.

    `correlation` is that of the same item's difference in two languages of a parallel test set.
    A spread of seeds is None where nothing tells it.
    """

    item_sd: Mapping[str, float]
    correlation: float | None
    intermediate_sd: float | None
    target_sd: float | None

    def of(self, target: str) -> float:
        """That of an item: measured there, else on targets of the same kind of head."""
        if target in self.item_sd:
            return self.item_sd[target]
        head = get_target(target).head
        alike = [sd for name, sd in self.item_sd.items() if get_target(name).head == head]
        return fmean(alike) if alike else ITEM_SD.get(head, LARGEST)


def measure_spread(data: StudyData) -> Spread:
    """What the finished runs of a study tell."""
    item_sd, correlations = {}, []
    for target in (name for name in data.targets if name in target_tasks()):
        found, together = _items(data, target)
        if found:
            item_sd[target] = math.sqrt(fmean(each**2 for each in found))
        correlations += together
    return Spread(
        item_sd,
        fmean(correlations) if correlations else None,
        _seeds(data, stage=0),
        _seeds(data, stage=1),
    )


def _items(data: StudyData, target: str) -> tuple[list[float], list[float]]:
    """The spread of items for pairs of arms and languages, and correlations between languages."""
    spreads, correlations = [], []
    runs = [next(iter(there.values())) for arm in data.arms if (there := data.on(arm, target))]
    for first, second in combinations(runs[:ARMS], 2):
        found = _differences(data, target, first, second)
        spreads += [_spread(*each) for each in found.values()]
        if target_tasks()[target].parallel:
            for (one, _), (other, _) in combinations(list(found.values())[:6], 2):
                if len(one) == len(other) and one.std() and other.std():
                    correlations.append(float(np.corrcoef(one, other)[0, 1]))
    return spreads, correlations


def _differences(
    data: StudyData, target: str, first: RunResult, second: RunResult
) -> dict[str, tuple[Floats, list[str]]]:
    """By language, the difference of two runs on every item, in points, and its cluster."""
    sides = [data.items(run, target, "test") for run in (first, second)]
    found = {}
    for language, table in sides[0].items():
        other = sides[1].get(language)
        if other is None or len(table) < FEWEST or not table["id"].equals(other["id"]):
            continue
        found[language] = (_shares(table) - _shares(other), table["cluster"].to_pylist())
    return found


def _shares(table: pa.Table) -> Floats:
    """What each item adds to a score in percent, so that their mean is the score."""
    numerator, denominator = (table[name].to_numpy() for name in ("numerator", "denominator"))
    score = numerator.sum() / max(denominator.sum(), 1e-9)
    return np.asarray(
        100 * (score + (numerator - score * denominator) / max(denominator.mean(), 1e-9))
    )


def _spread(differences: Floats, clusters: list[str]) -> float:
    """Of one item; where items hang together, what one would need for the same standard error."""
    sums: dict[str, float] = defaultdict(float)
    for value, cluster in zip(differences - differences.mean(), clusters, strict=True):
        sums[cluster] += float(value)
    squares = sum(each**2 for each in sums.values())
    return math.sqrt(squares / len(differences) * len(sums) / max(1, len(sums) - 1))


def _seeds(data: StudyData, *, stage: int) -> float | None:
    """The spread of the difference of two arms from seed to seed, the other stage's seed fixed."""
    squares, free = 0.0, 0
    for arm in data.arms:
        for target in data.targets:
            groups: dict[int, list[float]] = defaultdict(list)
            for seeds, run in data.on(arm, target).items():
                scores = data.languages(run, target).values()
                if scores:
                    groups[_other(seeds, stage)].append(fmean(scores))
            for values in (each for each in groups.values() if len(each) > 1):
                squares += float(np.var(values)) * len(values)
                free += len(values) - 1
    return math.sqrt(2 * squares / free) if free >= FREE else None


def _other(seeds: Seeds, stage: int) -> int:
    return seeds.target if stage == 0 else seeds.intermediate
