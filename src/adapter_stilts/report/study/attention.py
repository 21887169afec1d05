"""What the fusions of a study listen to: a table and a heat map."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from statistics import fmean
from typing import Any

from adapter_stilts.report.study.tables import Cell, Table, marked, with_marks
from adapter_stilts.study.attention import Attention
from adapter_stilts.study.study_data import StudyData

NOTE = (
    "Mean attention weight over tokens; a source's weights over layers are averaged in thirds, and "
    "its least and greatest language are named. Entropy: 0 one source alone, 1 all alike."
)


def _fusions(data: StudyData) -> Iterator[tuple[str, str, Attention]]:
    for arm in data.arms:
        for target in data.targets:
            if (found := data.attention(arm, target)) is not None and found.layers:
                yield arm, target, found


def attention_table(data: StudyData) -> Table:
    """A row for every source of every fusion, the one that is listened to most first."""
    rows: list[tuple[Cell, ...]] = []
    for arm, target, found in _fusions(data):
        layers = sorted(found.layers)
        cuts = [len(layers) * k // 3 for k in range(4)]
        mean = {s: _mean(found, s, layers) for s in found.sources}
        entropy = fmean(found.entropy.values()) if found.entropy else None
        for source in sorted(found.sources, key=lambda name: -(mean[name] or 0.0)):
            parts = [_mean(found, source, layers[a:b]) for a, b in pairwise(cuts)]
            by = {name: w[source] for name, w in found.languages.items() if source in w}
            span = (_extreme(by, min), _extreme(by, max))
            cells = (_two(mean[source]), *map(_two, parts), *span, _two(entropy))
            rows.append((marked(data, arm), target, source, *cells))
    columns = (
        "arm", "target", "source", "weight", "lower layers", "middle layers", "upper layers",
        "least in", "most in", "entropy",
    )  # fmt: skip
    return Table("attention", "What the fusions listen to", columns, rows, with_marks(data, NOTE))


def attention_rows(data: StudyData) -> list[dict[str, Any]]:
    """Weights by arm, target, layer and source, for the heat map."""
    return [
        {"arm": marked(data, arm), "target": target, "layer": layer, "source": source,
         "weight": weight}
        for arm, target, found in _fusions(data)
        for layer, weights in found.layers.items()
        for source, weight in weights.items()
    ]  # fmt: skip


def _mean(found: Attention, source: str, layers: list[int]) -> float | None:
    there = [found.layers[k][source] for k in layers if source in found.layers[k]]
    return fmean(there) if there else None


def _two(value: float | None) -> str | None:
    return None if value is None else f"{value:.2f}"


def _extreme(by: dict[str, float], of: Any) -> str | None:
    if not by:
        return None
    name = of(by, key=by.__getitem__)
    return f"{name} {by[name]:.2f}"
