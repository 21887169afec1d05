"""The charts of a study's report, as Vega-Lite says them: for the page, SVG and PDF."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from adapter_stilts.display import BLUE, Spec, attention_map, chart, forest
from adapter_stilts.report.tables import Table, attention_rows, contrast_name, mark_arm, show_cell
from adapter_stilts.study.findings import Finding
from adapter_stilts.study.study_data import StudyData


class Chart(NamedTuple):
    """A chart: what it is called, and what it shows, for those who do not see it.

    With `half`, two stand side by side where there is room.
    """

    name: str
    title: str
    spec: Spec
    half: bool = False


def heat_map(data: StudyData) -> Chart:
    """Every arm on every target, coloured by what it is above or below the target's mean."""
    rows: list[dict[str, Any]] = []
    for target in data.targets:
        every = {arm: data.score(arm, target) for arm in data.arms_in_order}
        scores = {arm: score for arm, score in every.items() if score is not None}
        mean = sum(scores.values()) / len(scores) if scores else 0.0
        rows += [
            {"arm": mark_arm(data, arm), "target": target, "score": show_cell(score),
             "above": score - mean, "difference": f"{score - mean:+.1f}"}
            for arm, score in scores.items()
        ]  # fmt: skip
    reach = max((abs(row["above"]) for row in rows), default=1.0) or 1.0
    place = {
        "x": {"field": "target", "type": "nominal", "sort": list(data.targets), "title": None,
              "axis": {"orient": "top", "labelAngle": -45}},
        "y": {"field": "arm", "type": "nominal", "sort": None, "title": None},
    }  # fmt: skip
    colour = {
        "field": "above", "type": "quantitative", "title": "above the target's mean",
        "scale": {"scheme": "blueorange", "reverse": True, "domain": [-reach, reach]},
        "legend": {"orient": "bottom"},
    }  # fmt: skip
    told = [{"field": name} for name in ("arm", "target", "score", "difference")]
    dark = {"test": f"abs(datum.above) > {0.75 * reach}", "value": "white"}
    layers = [
        {"mark": "rect", "encoding": {"color": colour, "tooltip": told}},
        {"mark": {"type": "text", "fontSize": 10}, "encoding": {
            "text": {"field": "score", "type": "nominal"},
            "color": {"condition": dark, "value": "#222"}}},
    ]  # fmt: skip
    title = "Intermediate tasks and targets: score; colour: difference to the column's mean"
    spec = chart(title, rows, encoding=place, layer=layers, height=22 * len(data.arms))
    return Chart("matrix", title, spec)


def _interval_rows(table: Table, contrast: str, names: Sequence[str]) -> list[dict[str, Any]]:
    return [
        {**each, "name": ", ".join(str(each[key]) for key in names)}
        for each in table.records()
        if each["contrast"] == contrast and each["difference"] is not None
    ]


def _forest(rows: Sequence[dict[str, Any]], found: Finding, name: str, title: str) -> Chart:
    first, second = found.names
    return Chart(name, title, forest(rows, first=first, second=second, title=title))


def _forests(data: StudyData, named: dict[str, Table], found: Finding, k: int) -> Iterator[Chart]:
    """By target; of primary contrasts by bucket and by language as well."""
    name = contrast_name(data, found)
    whole = found.fixed.overall
    every = {"name": "all targets", "difference": whole.value, "low": whole.low,
             "high": whole.high, "mean": True}  # fmt: skip
    rows = [*_interval_rows(named["targets"], name, ("target",)), every]
    title = f"{name}: differences with 95 % intervals, by"
    yield _forest(rows, found, f"forest-{k}", f"{title} target")
    if not found.spec.primary:
        return
    rows = _interval_rows(named["buckets"], name, ("by", "bucket"))
    yield _forest(rows, found, f"buckets-{k}", f"{title} kind of language and of item")
    rows = _interval_rows(named["languages"], name, ("target", "language"))
    yield _forest(rows, found, f"languages-{k}", f"{title} target and language")


COSTS = ("seconds", "parameters (M)", "peak memory (MiB)", "disk (MiB)")


def cost_charts(table: Table) -> Iterator[Chart]:
    """Each cost of every arm, the best arm first, on scales of powers of ten."""
    for cost in COSTS:
        there = [
            {"arm": f"{row['arm']}, {show_cell(row['score'])}", "score": row["score"],
             "cost": row[cost], "shown": show_cell(row[cost])}
            for row in table.records()
            if row["score"] is not None and (row[cost] or 0) > 0
        ]  # fmt: skip
        if not there:
            continue
        each = [row["cost"] for row in there]
        scale = {"type": "log", "nice": False, "domain": [min(each) / 1.5, max(each) * 1.5]}
        x = {"field": "cost", "type": "quantitative", "title": f"{cost}, mean a run",
             "scale": scale, "axis": {"tickCount": 5}}  # fmt: skip
        best = {"field": "score", "order": "descending"}
        y = {"field": "arm", "type": "nominal", "sort": best, "title": None, "axis": {"grid": True}}
        told = [{"field": "arm"}, {"field": "shown", "title": cost}]
        mark = {"type": "point", "filled": True, "size": 60, "color": BLUE}
        title = f"Cost of every arm, best score first: {cost}"
        encoding = {"x": x, "y": y, "tooltip": told}
        spec = chart(title, there, encoding=encoding, mark=mark, height=20 * len(there))
        yield Chart(f"cost-{cost.split(' (')[0].replace(' ', '-')}", title, spec, half=True)


def attention_chart(data: StudyData) -> Chart | None:
    """The weight of every source by layer: a column an arm, a row a target."""
    rows = attention_rows(data)
    if not rows:
        return None
    title = "What the fusions listen to: attention by layer and source"
    header: Spec = {"labelAngle": 0, "labelAlign": "left", "title": None}
    facet = {
        "column": {"field": "arm", "type": "nominal", "sort": None, "header": {"title": None}},
        "row": {"field": "target", "type": "nominal", "sort": list(data.targets), "header": header},
    }
    spec = attention_map(rows, title=title, facet=facet)
    return Chart("attention", title, spec)


def all_charts(
    data: StudyData, findings: Sequence[Finding], tables: Sequence[Table]
) -> Iterator[Chart]:
    """The heat map, the forest plots, the costs, and what fusions listen to."""
    named = {table.name: table for table in tables}
    if "matrix" in named:
        yield heat_map(data)
    for number, found in enumerate(findings, 1):
        yield from _forests(data, named, found, number)
    if "cost" in named:
        yield from cost_charts(named["cost"])
    if (attention := attention_chart(data)) is not None:
        yield attention
