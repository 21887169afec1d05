"""What the charts of a report say in figures is what its tables say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import vl_convert

from adapter_stilts.report.charts import Chart, cost_charts, heat_map
from adapter_stilts.report.tables import cost, matrix, show_cell
from adapter_stilts.study.graph import RunResult
from adapter_stilts.study.study_data import StudyData

BETWEEN = (28.6496, 55.4451, 12.25, 0.05)
"""Scores that are shown otherwise where they are rounded twice, or by another rule for ties."""


def _study(tmp_path: Path) -> StudyData:
    runs = [
        RunResult(
            run=f"r{k}", study="s", stage="target", arm=f"arm-{k}", target="xnli", method="lora",
            scores={"xnli": {"en": {"accuracy": score}}}, items=f"items/r{k}", seconds=score,
            parameters=100, disk_bytes=100,
        )
        for k, score in enumerate(BETWEEN)
    ]  # fmt: skip
    return StudyData("s", tmp_path, runs)


def _texts(chart: Chart) -> list[str]:
    svg = vl_convert.vegalite_to_svg({**chart.spec, "width": 400})
    return re.findall(r"<text[^>]*>([^<]*)</text>", svg)


def test_the_heat_map_shows_the_scores_of_the_table(tmp_path: Path) -> None:
    data = _study(tmp_path)
    shown = [show_cell(row[1]) for row in matrix(data).rows]
    assert shown == ["28.6", "55.4", "12.2", "0.1"]
    texts = _texts(heat_map(data))
    assert [each for each in texts if each in shown] == shown


def test_the_costs_are_those_of_the_table(tmp_path: Path) -> None:
    table = cost(_study(tmp_path))
    (chart,) = (each for each in cost_charts(table) if each.name == "cost-seconds")
    rows = chart.spec["data"]["values"]
    assert [(row["arm"], row["shown"]) for row in rows] == [
        (f"{arm}, {show_cell(score)}", show_cell(seconds))
        for arm, score, _, seconds, *_ in table.rows
    ]


@pytest.mark.parametrize("name", ["score", "above"])
def test_the_heat_map_rounds_no_number(tmp_path: Path, name: str) -> None:
    """A colour is that of the number, and a figure a text."""
    rows = heat_map(_study(tmp_path)).spec["data"]["values"]
    mean = sum(BETWEEN) / len(BETWEEN)
    wanted = {"score": list(map(show_cell, BETWEEN)), "above": [each - mean for each in BETWEEN]}
    assert [row[name] for row in rows] == wanted[name]
