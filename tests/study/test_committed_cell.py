"""One cell and one contrast of the committed study, computed again without a line of the package.

Items and seeds are crossed, so an analysis of variance tells what a bootstrap of both has to find.
Runs on modules of the first seed are taken, which leaves two factors.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy import stats

from adapter_stilts.study.findings import Finding, find, read_study
from adapter_stilts.study.spec import ContrastSpec
from study_kit import benchmark

pytestmark = pytest.mark.whole
page = benchmark("study_page")
ROOT = Path(page.__file__).parents[1]
ARMS = ("fusion-full", "multitask")


def _interval(rows: np.ndarray[Any, Any]) -> tuple[float, float, float]:
    """Mean, low and high of differences, (seeds, items), with both drawn at random."""
    seeds, items = rows.shape
    by_item, by_seed = rows.mean(0), rows.mean(1)
    rest = rows - by_item - by_seed[:, None] + rows.mean()
    item, seed = by_item.var(ddof=1) / items, by_seed.var(ddof=1) / seeds
    both = (rest**2).sum() / ((items - 1) * (seeds - 1)) / rows.size
    own = max(0.0, seed - both)
    total = max(item, seed, item + seed - both)
    df = total**2 / (item**2 / (items - 1) + own**2 / (seeds - 1))
    half = stats.t.ppf(0.975, df) * np.sqrt(total)
    return rows.mean(), rows.mean() - half, rows.mean() + half


def test_intervals_are_those_of_an_analysis_of_variance(tmp_path: Path) -> None:
    page.unpack(ROOT / page.RECORDS, tmp_path)
    results = tmp_path / "results.jsonl"
    lines = results.read_text(encoding="utf-8").splitlines(keepends=True)
    lines = [line for line in lines if json.loads(line)["seed_intermediate"] != 1]
    results.write_text("".join(lines), encoding="utf-8")
    planned = json.loads((tmp_path / "plan.json").read_text(encoding="utf-8"))["runs"]
    runs = [run for run in map(json.loads, lines) if run["run"] in planned]
    sides = []
    for arm in ARMS:
        own = [r for r in runs if (r["stage"], r["arm"], r["target"]) == ("target", arm, "xnli")]
        own.sort(key=lambda run: int(run["seed_target"]))
        languages = sorted(own[0]["scores"]["xnli"])
        sides.append([[_right(tmp_path / run["items"], lang) for lang in languages] for run in own])
    differences = 100 * (np.array(sides[0]) - np.array(sides[1]))  # seeds, languages, items
    found = find(
        read_study(ROOT / page.STUDY, tmp_path)[0],
        ContrastSpec(name="c", first=ARMS[0], second=ARMS[1]),
    )
    assert isinstance(found, Finding), found
    ours = {"": found.fixed.targets["xnli"], **found.fixed.languages["xnli"]}
    for language, rows in {
        "": differences.mean(axis=1),  # the same items in all languages, in one draw
        **{lang: differences[:, k] for k, lang in enumerate(languages)},
    }.items():
        value, low, high = _interval(rows)
        assert ours[language].value == pytest.approx(value)
        near = 0.06 * (high - low)
        assert (ours[language].low, ours[language].high) == pytest.approx((low, high), abs=near)


def _right(folder: Path, language: str) -> list[float]:
    (path,) = (folder / "xnli").rglob(f"test-{language}.*items.parquet")
    rows: list[float] = pq.read_table(path).sort_by("id")["numerator"].to_pylist()
    return rows
