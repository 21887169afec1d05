"""Finished runs whose files are damaged or gone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from adapter_stilts.study.folder import StudyFolder
from adapter_stilts.study.graph import Plan, Run
from adapter_stilts.study.plan import make_plan
from adapter_stilts.study.results import RunResult, append_result
from adapter_stilts.study.run import find_damaged, forget, run_study
from adapter_stilts.study.spec_file import load_study
from engine_kit import Here, Nothing
from made_modules import make_engine, save_made
from study_kit import write_run

TEXT = """\
name: small
backbone: {backbone}
data: sample
intermediate: [squad]
targets: [xnli]
arms: [singles]
langs: [en]
budget: {{steps: 2}}
rates: [3.0e-3]
"""


@pytest.fixture
def plan(tiny_xlmr: Path, tmp_path: Path) -> Plan:
    file = tmp_path / "small.yaml"
    file.write_text(TEXT.format(backbone=tiny_xlmr), encoding="utf-8")
    return make_plan(load_study(file))


@pytest.fixture
def folder(plan: Plan, tiny_xlmr: Path, tmp_path: Path) -> StudyFolder:
    """The module is trained, and so is the rate; the target's run is left."""
    made = StudyFolder(tmp_path / "out")
    engine = make_engine(str(tiny_xlmr))
    for run in (_run(plan, "intermediate"), _run(plan, "rate")):
        save_made(engine, f"m{run.id}", "bottleneck", "span", made.module(run.id))
        _record(made, run)
    return made


def _run(plan: Plan, stage: str) -> Run:
    return next(run for run in plan.runs.values() if run.stage == stage)


def _record(folder: StudyFolder, run: Run, **more: object) -> None:
    fields = {"run": run.id, "study": "small", "stage": run.stage, "arm": run.arm, "method": "m"}
    append_result(
        folder.results_file, RunResult.model_validate_json(json.dumps({**fields, **more}))
    )


def test_whole_modules_are_no_damage(plan: Plan, folder: StudyFolder) -> None:
    assert find_damaged(plan, folder) == {}
    # Without its module a rate still says how good it is; a source is needed.
    shutil.rmtree(folder.module(_run(plan, "rate").id))
    assert find_damaged(plan, folder) == {}
    shutil.rmtree(folder.module(_run(plan, "intermediate").id))
    assert list(find_damaged(plan, folder)) == [_run(plan, "intermediate").id]


@pytest.mark.parametrize("stage", ["intermediate", "rate"])
def test_a_damaged_module_is_named_and_done_again(
    plan: Plan, folder: StudyFolder, stage: str
) -> None:
    run = _run(plan, stage)
    weights = folder.module(run.id) / "adapter.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    said: list[str] = []
    engine = Nothing(folder, {name: [2, 2] for name in plan.runs})
    found = run_study(plan, folder, engine, said.append)
    assert any("done again" in line and str(weights) in line for line in said)
    assert engine.begun[0] == run.id
    assert run.id in found.failed  # this engine does nothing
    assert run.id not in folder.results().runs and not weights.exists()


def test_damaged_items_are_named_and_done_again(plan: Plan, tmp_path: Path) -> None:
    target, folder = _run(plan, "target"), StudyFolder(tmp_path / "out")
    write_run(folder.path, "alone", "xnli", 0, 0, 20)
    (made,) = folder.results().runs.values()
    _record(folder, target, items=made.items, scores=made.scores)
    assert find_damaged(plan, folder) == {}
    (place,) = folder.path.glob("items/*/xnli/test-de*")
    place.write_bytes(b"PAR1")
    assert str(place) in find_damaged(plan, folder)[target.id]
    shutil.rmtree(folder.path / "items")
    assert "no scores of single items" in find_damaged(plan, folder)[target.id]
    with folder.results_file.open("a", encoding="utf-8") as file:
        file.write('{"run": "half\n')
    forget(folder, {target.id: ""})
    assert set(folder.results().runs) == {made.run}
    assert len(folder.results().damaged) == 1


def test_an_evaluation_that_was_cut_off_begins_anew(tiny_xlmr: Path, tmp_path: Path) -> None:
    text = TEXT.replace("[xnli]", "[xquad]").replace("[singles]", "[as-is]")
    file = tmp_path / "small.yaml"
    file.write_text(text.format(backbone=tiny_xlmr) + "test_items: 2\n", encoding="utf-8")
    plan, folder = make_plan(load_study(file)), StudyFolder(tmp_path / "out")
    source, asked = _run(plan, "intermediate"), _run(plan, "composition")
    made = make_engine(str(tiny_xlmr))
    save_made(made, f"m{source.id}", "bottleneck", "span", folder.module(source.id))
    _record(folder, source)
    half = folder.path / "items" / asked.id / "xquad" / "test-en.json.items.parquet"
    half.parent.mkdir(parents=True)
    half.write_bytes(b"PAR1")
    found = run_study(plan, folder, Here(folder), lambda line: None)
    assert (found.done, found.failed) == (set(plan.runs), set())
    assert set(folder.results().runs[asked.id].scores["xquad"]) == {"en"}
    assert find_damaged(plan, folder) == {}
