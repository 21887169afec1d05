"""How good the rules of `recommend` are, given what every module brought on finished runs."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean

from adapter_stilts.metrics import primary
from adapter_stilts.study.graph import RunResult
from adapter_stilts.tasks.registry import get_target
from adapter_stilts.zoo.choice import without_seed

Matrix = Mapping[str, Mapping[str, float]]
"""By target, what each source brought: a score in percent."""
Rankings = Mapping[str, Sequence[str]]
"""By target, the sources, best first."""


def ndcg_at(scores: Mapping[str, float], ranking: Sequence[str], k: int) -> float:
    """How much of the gain that the best order has among its first `k` a ranking has, in percent.

    Vu et al. 2020 and Poth et al. 2021 rate rankings of source tasks by it: the gain of a source
    at place i is (2^score - 1) / log2(i + 1), the score as a fraction of 1.

    >>> ndcg_at({"squad": 60.0, "mnli": 60.0}, ["mnli", "squad"], 2)
    100.0

    Raises:
        ValueError: a ranking of other things, or k below 1.
    """
    if k < 1 or set(ranking) != set(scores):
        raise ValueError(f"a ranking of {', '.join(scores)} was expected, got {list(ranking)}")
    best = _gain(sorted(scores.values(), reverse=True)[:k])
    return 100 * _gain([scores[name] for name in ranking[:k]]) / best if best else 100.0


def _gain(values: Sequence[float]) -> float:
    return sum(
        (2 ** (value / 100) - 1) / math.log2(place + 2) for place, value in enumerate(values)
    )


@dataclass(frozen=True)
class Quality:
    """Means over targets, in percent: low regret and high nDCG are good."""

    regret_at_1: float
    regret_at_3: float
    ndcg_at_3: float
    targets: int

    @classmethod
    def mean(cls, each: Sequence[tuple[float, float, float]]) -> Quality:
        """Of the three figures of every target."""
        one, three, gain = (fmean(column) for column in zip(*each, strict=True))
        return cls(one, three, gain, len(each))


def quality(matrix: Matrix, rankings: Rankings) -> Quality:
    """How good one rule's rankings were, over the targets that they are for.

    Raises:
        ValueError: a ranking is not of the sources that the target's scores are of.
    """
    return Quality.mean([_of(matrix[target], list(order)) for target, order in rankings.items()])


def _of(scores: Mapping[str, float], order: Sequence[str]) -> tuple[float, float, float]:
    return (
        regret_at(scores, order, 1),
        regret_at(scores, order, min(3, len(order))),
        ndcg_at(scores, order, min(3, len(order))),
    )


def quality_of_chance(matrix: Matrix) -> Quality:
    """What a ranking drawn by lot has on average: exactly, over all orders."""
    return Quality.mean([_by_lot(scores) for scores in matrix.values()])


def _by_lot(scores: Mapping[str, float]) -> tuple[float, float, float]:
    k = min(3, len(scores))
    one = fmean(regret_at(scores, [name], 1) for name in scores)
    three = fmean(regret_at(scores, list(names), k) for names in combinations(scores, k))
    # Every source is at every place equally often.
    gain = fmean(2 ** (value / 100) - 1 for value in scores.values())
    drawn = gain * sum(1 / math.log2(place + 2) for place in range(k))
    best = _gain(sorted(scores.values(), reverse=True)[:k])
    return one, three, 100 * drawn / best if best else 100.0


def always(first: str, sources: Sequence[str], sizes: Mapping[str, int]) -> list[str]:
    """The ranking that has one source first, and the others by the size of their data."""
    others = sorted((name for name in sources if name != first), key=lambda n: (-sizes[n], n))
    return [first, *others] if first in sources else others


def regret_at(scores: Mapping[str, float], ranking: Sequence[str], k: int = 1) -> float:
    """How many percent of the best score are lost by trying the first `k` of a ranking only.

    Poth et al. 2021, "What to pre-train on? Efficient intermediate task selection", EMNLP.

    >>> regret_at({"squad": 60.0, "mnli": 75.0, "qqp": 50.0}, ["squad", "mnli", "qqp"])
    20.0

    Raises:
        ValueError: k is not positive, or the ranking names what has no score.
    """
    if k < 1 or not ranking or not set(ranking) <= scores.keys():
        raise ValueError(f"a ranking of {', '.join(scores)} was expected, got {list(ranking)}")
    best = max(scores.values())
    return 100 * (best - max(scores[name] for name in ranking[:k])) / best


ALWAYS = ("squad", "mnli")
"""What is often taken without asking."""


def matrix_of(runs: Iterable[RunResult], method: str = "bottleneck") -> dict[str, dict[str, float]]:
    """What every source brought to every target: the mean over languages, then over seeds.

    Only trainings of a target on a single module count, of one method and of equal budgets.
    """
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    for run in runs:
        fits = run.stage == "target" and run.method == method and not run.unequal
        if not fits or len(run.intermediate) != 1:
            continue
        source = without_seed(run.intermediate[0])[0]
        for target, languages in run.scores.items():
            name = primary(get_target(target).metric)
            values = [each[name] for each in languages.values() if name in each]
            if values:
                found[target, source].append(fmean(values))
    matrix: dict[str, dict[str, float]] = defaultdict(dict)
    for (target, source), values in found.items():
        matrix[target][source] = fmean(values)
    return {target: row for target, row in matrix.items() if len(row) > 1}


def sizes_of(runs: Iterable[RunResult]) -> dict[str, int]:
    """On how many rows every source was trained."""
    sizes: dict[str, int] = {}
    for run in runs:
        if run.stage == "intermediate":
            name = without_seed(run.arm)[0]
            sizes[name] = max(sizes.get(name, 0), run.train_rows)
    return sizes


def rate_rules(
    matrix: Matrix, rankings: Mapping[str, Mapping[str, Sequence[str]]], sizes: Mapping[str, int]
) -> dict[str, Quality]:
    """The quality of every rule, and of what it has to beat: lot, size, always the same.

    Args:
        matrix: by target and source.
        rankings: by rule and target, the best source first. A target that a rule has no ranking
            for is left out of all, so that all are rated on the same.
        sizes: rows that each source was trained on.
    """
    shared = [target for target in matrix if all(target in each for each in rankings.values())]
    rows = {target: matrix[target] for target in shared}
    if not rows:
        return {}
    rated = {
        rule: quality(rows, {target: _tried(row, by[target]) for target, row in rows.items()})
        for rule, by in rankings.items()
    }
    known = {name: sizes.get(name, 0) for row in rows.values() for name in row}
    rated["size"] = quality(
        rows, {target: always("", list(row), known) for target, row in rows.items()}
    )
    for name in ALWAYS:
        # Where that source itself was not tried, there is nothing to say.
        if all(name in row for row in rows.values()):
            rated[f"always {name}"] = quality(
                rows, {target: always(name, list(row), known) for target, row in rows.items()}
            )
    rated["by lot"] = quality_of_chance(rows)
    return rated


def _tried(row: Mapping[str, float], ranking: Sequence[str]) -> list[str]:
    """A ranking of those that were tried; what it does not know comes last."""
    known = [name for name in ranking if name in row]
    return [*known, *sorted(name for name in row if name not in known)]
