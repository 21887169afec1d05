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
    """A chart: what it is called, and what it shows, for those who do not see it."""

    name: str
    title: str
    spec: Spec


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
        low, high = float(str(each["low"])), float(str(each["high"]))
        kind = "better" if low > 0 else "worse" if high < 0 else "open"
        name = ", ".join(str(each[key]) for key in names)
        rows.append({**each, "name": name, "effect": kind})
    return rows


def forest(table: Table, contrast: str, finding: Finding, names: Sequence[str], name: str) -> Chart:
    """Differences of a contrast with their intervals around zero."""
    rows = _interval_rows(table, contrast, names)
    if name == "forest":
        whole = finding.fixed.overall
        kind = "better" if whole.low > 0 else "worse" if whole.high < 0 else "open"
        rows.append(
            {"name": "all targets", "difference": whole.value, "low": whole.low}
            | {"high": whole.high, "effect": kind}
        )
    scale = {"domain": ["better", "worse", "open"], "range": [BETTER, WORSE, OPEN]}
    first, second = map(str, finding.arms)
    axis = f"points: {first} less {second}"
    y = {"field": "name", "type": "nominal", "sort": None, "title": None}
    effect = {"field": "effect", "type": "nominal", "scale": scale, "title": None,
              "legend": {"orient": "bottom"}}  # fmt: skip
    shape = {"field": "effect", "type": "nominal", "title": None,
             "scale": {"domain": scale["domain"], "range": ["triangle-right", "triangle-left", "circle"]}}  # fmt: skip # noqa: E501
    told = [{"field": key, "format": ".2f"} for key in ("difference", "low", "high")]
    value = {"field": "difference", "type": "quantitative", "title": axis}
    layers = [
        {"mark": {"type": "rule", "color": "#999"}, "encoding": {"x": {"datum": 0}}},
        {"mark": {"type": "rule", "strokeWidth": 2}, "encoding": {
            "y": y, "x": {"field": "low", "type": "quantitative", "title": axis},
            "x2": {"field": "high"}, "color": effect}},
        {"mark": {"type": "point", "filled": True, "size": 80}, "encoding": {
            "y": y, "x": value, "color": effect, "shape": shape,
            "tooltip": [{"field": "name"}, *told]}},
    ]  # fmt: skip
    title = f"{contrast}: difference with 95 % intervals, {'; '.join(names)}"
    return Chart(name, title, _spec(title, rows, layer=layers, height=18 * len(rows)))


def cost_chart(table: Table) -> Chart | None:
    """Quality against seconds, on a scale of powers of ten."""
    rows = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    rows = [row for row in rows if row["score"] is not None and float(row["seconds"] or 0) > 0]
    if not rows:
        return None
    axis = {"zero": False}
    encoding = {
        "x": {"field": "seconds", "type": "quantitative", "scale": {"type": "log"}},
        "y": {"field": "score", "type": "quantitative", "scale": axis},
    }
    told = [{"field": name} for name in table.columns if "." not in name]
    layers = [
        {"mark": {"type": "point", "filled": True, "color": BETTER}, "encoding": {
            "size": {"field": "parameters (M)", "type": "quantitative",
                     "legend": {"orient": "bottom"}}, "tooltip": told}},
        {"mark": {"type": "text", "dy": -10, "fontSize": 10}, "encoding": {
            "text": {"field": "arm"}}},
    ]  # fmt: skip
    title = "Cost against quality: seconds a run, mean score"
    return Chart("cost", title, _spec(title, rows, encoding=encoding, layer=layers, height=300))


def attention_map(data: StudyData) -> Chart | None:
    """The weight of every source by layer, a panel a fusion."""
    rows = attention_rows(data)
    if not rows:
        return None
    panel = {
        "mark": "rect",
        "encoding": {
            "x": {"field": "layer", "type": "ordinal", "axis": {"labelAngle": 0}},
            "y": {"field": "source", "type": "nominal", "sort": None, "title": None},
            "color": {"field": "weight", "type": "quantitative", "title": "attention weight",
                      "scale": {"scheme": "blues", "domainMin": 0},
                      "legend": {"orient": "bottom"}},
            "tooltip": [{"field": name} for name in ("fusion", "layer", "source")]
            + [{"field": "weight", "format": ".3f"}],
        },
        "height": {"step": 14},
        "width": {"step": 14},
    }  # fmt: skip
    title = "What the fusions listen to: attention by layer and source"
    facet = {"field": "fusion", "type": "nominal", "title": None, "sort": None}
    spec = _spec(title, rows, facet=facet, spec=panel, columns=2)
    del spec["width"]  # its panels have theirs
    return Chart("attention", title, spec)


def all_charts(
    data: StudyData, findings: Sequence[Finding], tables: Sequence[Table]
) -> Iterator[Chart]:
    """The heat map, forest plots by target, of primary contrasts those by language; the cost."""
    named = {table.name: table for table in tables}
    if "matrix" in named:
        yield heat_map(data)
    for number, found in enumerate(findings, 1):
        name = contrast_name(data, found)
        yield forest(named["targets"], name, found, ("target",), "forest")._replace(
            name=f"forest-{number}"
        )
        if found.spec.primary:
            yield forest(named["buckets"], name, found, ("by", "bucket"), f"buckets-{number}")
            yield forest(
                named["languages"], name, found, ("target", "language"), f"languages-{number}"
            )
    if "cost" in named and (chart := cost_chart(named["cost"])) is not None:
        yield chart
    if (chart := attention_map(data)) is not None:
        yield chart
