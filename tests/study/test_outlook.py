"""How much items and seeds vary, and what a plan says of it."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adapter_stilts.study.findings import read_study
from adapter_stilts.study.folder import RESULTS, StudyFolder
from adapter_stilts.study.outlook import (
    ITEM_SD,
    SECONDS_A_STEP,
    SWEEP,
    look_ahead,
    measure_spread,
    of_this_kind,
    seconds_left,
)
from adapter_stilts.study.plan import make_plan
from adapter_stilts.study.spec_file import load_study
from adapter_stilts.study.work import OF_RUN
from study_kit import benchmark, rename_to_plan, write_study

RECORDS = Path(__file__).parents[2] / "docs" / "results" / "records"


def test_the_numbers_before_any_run_are_those_of_the_committed_records() -> None:
    found = benchmark("study_spread").shipped_spread(RECORDS / "zoo.jsonl")
    assert found == dict(ITEM_SD)


def test_the_seconds_before_any_run_are_those_of_the_sweep() -> None:
    lines = (RECORDS / "recipes.jsonl").read_text(encoding="utf-8").splitlines()
    runs = [
        each
        for each in map(json.loads, lines)
        if each["way"] == "bottleneck" and each["device"] == "cpu"
    ]
    for head, seconds in SECONDS_A_STEP.items():
        own = [each["cpu_seconds"] / each["steps"] for each in runs if each["head"] == head]
        assert seconds == pytest.approx(np.mean(own), abs=0.05), head


def test_the_spread_of_made_items_and_seeds_is_found(tmp_path: Path) -> None:
    data, _ = read_study(write_study(tmp_path, items=400))
    found = measure_spread(data)
    # Right with 0.62, 0.6, 0.55, 0.58, 0.5: independent, so that the variances add up.
    expected = 100 * math.sqrt(2 * np.mean([p * (1 - p) for p in (0.62, 0.6, 0.55, 0.58, 0.5)]))
    assert set(found.item_sd) == {"xnli", "xquad", "panx"}
    assert found.item_sd["xnli"] == pytest.approx(expected, rel=0.03)
    assert found.correlation == pytest.approx(0, abs=0.05)
    # A rate varies by two points from run to run, and the items of four languages are drawn anew.
    assert found.target_sd == pytest.approx(math.sqrt(2) * 2, rel=0.25)


def test_a_plan_says_what_its_differences_rest_on(tmp_path: Path) -> None:
    path = write_study(tmp_path, items=400)
    plan, folder = make_plan(load_study(path)), StudyFolder(tmp_path / "made")
    empty = look_ahead(plan, StudyFolder(tmp_path / "empty"))
    assert "zoo.jsonl" in empty.spread_from and "seeds is not known" in empty.spread_from
    records = rename_to_plan(tmp_path / "made", plan)
    found = look_ahead(plan, folder)
    assert found.done == len(records) == 15
    assert "runs that are done" in found.spread_from
    # The made languages vary each on its own, so that their mean is surer than was assumed.
    assert 0 < found.detectable["xnli"] < empty.detectable["xnli"]
    assert found.damaged == ()
    record = next(iter(records.values()))
    place = next((folder.path / record.items).rglob("test-en.*.parquet"))
    place.write_bytes(b"PAR1")
    (damaged,) = look_ahead(plan, folder).damaged
    assert damaged.startswith(f"{place}: ")


def test_the_time_left_is_by_steps_and_by_runs_of_this_kind_of_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = make_plan(load_study(write_study(tmp_path, seeds=1)))
    folder, place = StudyFolder(tmp_path / "made"), tmp_path / "made" / RESULTS
    like = json.loads(place.read_text(encoding="utf-8").splitlines()[0])
    tried = [r for r in plan.runs.values() if r.target == "xnli" and r.stage == "rate"]
    rate, other = (next(r for r in tried if r.arm == a) for a in ("alone", "multitask"))
    longer = replace(other, does={**other.does, "steps": 600})
    monkeypatch.setattr("adapter_stilts.environment.machine", lambda: "Fast, 2 threads")

    def left(*done: dict[str, Any]) -> tuple[dict[str, float], str]:
        own = {"steps": 300, "scores": {}, "lr": 1e-3}
        runs = ({name: getattr(plan.runs[each["run"]], name) for name in OF_RUN} for each in done)
        lines = (json.dumps({**like, **own, **r, **d}) for r, d in zip(runs, done, strict=True))
        place.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        return seconds_left(plan, [longer], *of_this_kind(folder.results(plan).runs.values()))

    here = {"run": rate.id, "seconds": 60.0, "machine": "Fast, 1 threads", "device": "cpu"}
    gpu = {**here, "seconds": 3.0, "machine": "A GPU", "device": "cuda"}
    assert left(here, {**gpu, "run": tried[1].id}) == (
        {longer.id: 120.0},
        "the runs that are done on Fast",
    )
    seconds, told_by = left({**here, "machine": "Slow"})
    assert seconds == {longer.id: 120.0} and told_by.endswith("Slow")
    # A run that was begun again has trained for longer than it has lasted.
    assert left({**here, "train_seconds": 90.0})[0] == {longer.id: 180.0}
    # A run that does not train is told by those that do, where nothing is nearer.
    left(here)
    tested = next(run for run in plan.runs.values() if run.stage == "target" and run.rates)
    done = of_this_kind(folder.results(plan).runs.values())
    assert seconds_left(plan, [tested], *done)[0] == {tested.id: 60.0}
    assert look_ahead(plan, folder).seconds is not None
    seconds, told_by = left(gpu)
    assert told_by == SWEEP and seconds[longer.id] > 600
