"""How good the rules of `recommend` are on the finished runs of a study."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean

from adapter_stilts.metrics import primary
from adapter_stilts.study.recommend.quality import (
    Matrix,
    Quality,
    always,
    quality,
    quality_of_chance,
)
from adapter_stilts.study.results import RunResult
from adapter_stilts.tasks.registry import get_target
from adapter_stilts.zoo.names import without_seed

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
        rule: quality(rows, {target: _of(row, by[target]) for target, row in rows.items()})
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


def _of(row: Mapping[str, float], ranking: Sequence[str]) -> list[str]:
    """A ranking of those that were tried; what it does not know comes last."""
    known = [name for name in ranking if name in row]
    return [*known, *sorted(name for name in row if name not in known)]
