"""The charts of a study's report, as Vega-Lite says them: for the page, SVG and PDF."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from adapter_stilts.report.study.attention import attention_rows
from adapter_stilts.report.study.tables import Table, contrast_name, marked
from adapter_stilts.study.findings import Finding
from adapter_stilts.study.study_data import StudyData

Spec = dict[str, Any]
SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
# Told apart by the colour-blind (Okabe and Ito 2008).
BETTER, WORSE, OPEN = "#0072b2", "#d55e00", "#555555"


class Chart(NamedTuple):
    """A chart: what it is called, and what it shows, for those who do not see it.

    With `half`, two stand side by side where there is room.
    """

    name: str
    title: str
    spec: Spec
    half: bool = False


def _spec(title: str, rows: Sequence[dict[str, Any]], **more: Any) -> Spec:
    about: Spec = {"$schema": SCHEMA, "description": title, "data": {"values": list(rows)}}
    config = {"font": "Helvetica, Arial, sans-serif", "axis": {"labelLimit": 220}}
    return {**about, "width": "container", "config": config, **more}


def heat_map(data: StudyData) -> Chart:
    """Every arm on every target, coloured by what it is above or below the target's mean."""
    rows: list[dict[str, Any]] = []
    for target in data.targets:
        scores = {arm: s for arm in data.arms if (s := data.score(arm, target)) is not None}
        mean = sum(scores.values()) / len(scores) if scores else 0.0
        rows += [
            {
                "arm": marked(data, arm),
                "target": target,
                "score": round(s, 2),
                "above": round(s - mean, 2),
            }
            for arm, s in scores.items()
        ]
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
    told = [{"field": name} for name in ("arm", "target", "score", "above")]
    dark = {"test": f"abs(datum.above) > {0.75 * reach}", "value": "white"}
    layers = [
        {"mark": "rect", "encoding": {"color": colour, "tooltip": told}},
        {"mark": {"type": "text", "fontSize": 10}, "encoding": {
            "text": {"field": "score", "type": "quantitative", "format": ".1f"},
            "color": {"condition": dark, "value": "#222"}}},
    ]  # fmt: skip
    title = "Intermediate tasks and targets: score, and colour by the difference to the column"
    spec = _spec(title, rows, encoding=place, layer=layers, height=22 * len(data.arms))
    return Chart("matrix", title, spec)


def _interval_rows(table: Table, contrast: str, names: Sequence[str]) -> list[dict[str, Any]]:
    rows = []
    for row in table.rows:
        each = dict(zip(table.columns, row, strict=True))
        if each["contrast"] != contrast or each["difference"] is None:
            continue
        name = ", ".join(str(each[key]) for key in names)
        rows.append({**each, "name": name, "effect": _effect(each["low"], each["high"])})
    return rows


def _effect(low: Any, high: Any) -> str:
    return "better" if float(low) > 0 else "worse" if float(high) < 0 else "open"


def _domain(rows: Sequence[dict[str, Any]]) -> tuple[float, float]:
    """What the axis shows: zero, all differences, and nearly all intervals, whole."""
    bounds = sorted(max(abs(row["low"]), abs(row["high"])) for row in rows)
    points = max((abs(row["difference"]) for row in rows), default=0.0)
    reach = max(bounds[int(0.85 * (len(bounds) - 1))] if bounds else 0.0, points)
    low = max(min(row["low"] for row in rows), -reach) if rows else 0.0
    high = min(max(row["high"] for row in rows), reach) if rows else 0.0
    room = 0.04 * (max(high, 0.0) - min(low, 0.0)) or 1.0
    return min(low, 0.0) - room, max(high, 0.0) + room


def forest(rows: Sequence[dict[str, Any]], finding: Finding, name: str, title: str) -> Chart:
    """Differences with their intervals around zero.

    Args:
        rows: each with `name`, `difference`, `low`, `high` and `effect`.
    """
    low, high = _domain(rows)
    cut = any(row["low"] < low or row["high"] > high for row in rows)
    first, second = map(str, finding.arms)
    axis = f"points: {first} less {second}" + ("; some intervals go on" if cut else "")
    effects = ["better", "worse", "open"]
    effect = {"field": "effect", "type": "nominal", "title": None,
              "scale": {"domain": effects, "range": [BETTER, WORSE, OPEN]},
              "legend": {"orient": "bottom"}}  # fmt: skip
    shapes = ["triangle-right", "triangle-left", "circle"]
    shape = {**effect, "scale": {"domain": effects, "range": shapes}}
    y = {"field": "name", "type": "nominal", "sort": None, "title": None}
    told = [{"field": key, "format": ".2f"} for key in ("difference", "low", "high")]
    x = {"type": "quantitative", "title": axis,
         "scale": {"domain": [low, high], "nice": False}}  # fmt: skip
    layers = [
        {"mark": {"type": "rule", "color": "#999"}, "encoding": {"x": {"datum": 0}}},
        {"mark": {"type": "rule", "strokeWidth": 2, "clip": True}, "encoding": {
            "y": y, "x": {**x, "field": "low"}, "x2": {"field": "high"}, "color": effect}},
        {"mark": {"type": "point", "filled": True, "size": 80}, "encoding": {
            "y": y, "x": {**x, "field": "difference"}, "color": effect, "shape": shape,
            "tooltip": [{"field": "name"}, *told]}},
    ]  # fmt: skip
    return Chart(name, title, _spec(title, rows, layer=layers, height=18 * len(rows)))


def _forests(data: StudyData, named: dict[str, Table], found: Finding, k: int) -> Iterator[Chart]:
    """By target; of primary contrasts by bucket and by language as well."""
    name = contrast_name(data, found)
    whole = found.fixed.overall
    every = {"name": "all targets", "difference": whole.value, "low": whole.low,
             "high": whole.high, "effect": _effect(whole.low, whole.high)}  # fmt: skip
    rows = [*_interval_rows(named["targets"], name, ("target",)), every]
    title = f"{name}: differences with 95 % intervals, by"
    yield forest(rows, found, f"forest-{k}", f"{title} target")
    if not found.spec.primary:
        return
    rows = _interval_rows(named["buckets"], name, ("by", "bucket"))
    yield forest(rows, found, f"buckets-{k}", f"{title} kind of language and of item")
    rows = _interval_rows(named["languages"], name, ("target", "language"))
    yield forest(rows, found, f"languages-{k}", f"{title} target and language")


COSTS = ("seconds", "parameters (M)", "peak memory (MiB)", "disk (MiB)")


def cost_charts(table: Table) -> Iterator[Chart]:
    """Quality against each cost, on scales of powers of ten."""
    rows = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    for cost in COSTS:
        there = [
            {"arm": row["arm"], "score": row["score"], "cost": row[cost]}
            for row in rows
            if row["score"] is not None and float(row[cost] or 0) > 0
        ]
        if not there:
            continue
        each = [float(row["cost"] or 0) for row in there]
        scale = {"type": "log", "nice": False, "domain": [min(each) / 1.5, max(each) * 1.5]}
        x = {"field": "cost", "type": "quantitative", "title": f"{cost}, mean a run",
             "scale": scale, "axis": {"tickCount": 5}}  # fmt: skip
        y = {"field": "score", "type": "quantitative", "scale": {"zero": False, "padding": 16}}
        told = [{"field": "arm"}, *({"field": key, "format": ".1f"} for key in ("score", "cost"))]
        point = {"type": "point", "filled": True, "size": 60, "color": BETTER}
        layers = [
            {"mark": point, "encoding": {"tooltip": told}},
            {"mark": {"type": "text", "dy": -9, "fontSize": 10},
             "encoding": {"text": {"field": "arm"}}},
        ]  # fmt: skip
        title = f"Cost against quality: {cost}"
        spec = _spec(title, there, encoding={"x": x, "y": y}, layer=layers, height=260)
        yield Chart(f"cost-{cost.split(' (')[0].replace(' ', '-')}", title, spec, half=True)


def attention_map(data: StudyData) -> Chart | None:
    """The weight of every source by layer: a column an arm, a row a target."""
    rows = attention_rows(data)
    if not rows:
        return None
    told = [{"field": name} for name in ("arm", "target", "layer", "source")]
    panel = {
        "mark": "rect",
        "encoding": {
            "x": {"field": "layer", "type": "ordinal",
                  "axis": {"labelAngle": 0, "labelOverlap": True}},
            "y": {"field": "source", "type": "nominal", "sort": None, "title": None},
            "color": {"field": "weight", "type": "quantitative", "title": "attention weight",
                      "scale": {"scheme": "blues", "domainMin": 0},
                      "legend": {"orient": "bottom"}},
            "tooltip": [*told, {"field": "weight", "format": ".3f"}],
        },
        "height": {"step": 14},
        "width": {"step": 12},
    }  # fmt: skip
    title = "What the fusions listen to: attention by layer and source"
    header: Spec = {"labelAngle": 0, "labelAlign": "left", "title": None}
    facet = {
        "column": {"field": "arm", "type": "nominal", "sort": None, "header": {"title": None}},
        "row": {"field": "target", "type": "nominal", "sort": list(data.targets), "header": header},
    }
    spec = _spec(title, rows, facet=facet, spec=panel)
    del spec["width"]  # its panels have theirs
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
    if (chart := attention_map(data)) is not None:
        yield chart
