"""Doing a small study: whole, killed and gone on with, with failures, and twice at once."""

from __future__ import annotations

import os
import signal
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from adapter_stilts.errors import FailureError, UserError
from adapter_stilts.study import run as running
from adapter_stilts.study import work
from adapter_stilts.study.folder import StudyFolder
from adapter_stilts.study.graph import Plan
from adapter_stilts.study.plan import make_plan
from adapter_stilts.study.run import Outcome, run_study
from adapter_stilts.study.spec_file import load_study
from engine_kit import Here, Nothing
from process_kit import in_a_process

pytestmark = pytest.mark.whole

TEXT = """\
name: small
backbone: {backbone}
data: sample
intermediate: [squad, mnli]
targets: [xnli, udpos]
arms: [alone, singles]
langs: [en, de]
budget: {{steps: 2, train_rows: 8, intermediate_steps: 2, intermediate_rows: 8}}
rates: [3.0e-3]
dev_items: 12
test_items: 4
precision: fp32
"""


@pytest.fixture
def plan(tiny_xlmr: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plan:
    monkeypatch.setenv("ADSTILTS_ZOO", str(tmp_path / "zoo"))
    return _plan(str(tiny_xlmr), str(tmp_path))


def _plan(backbone: str, where: str) -> Plan:
    file = Path(where) / "small.yaml"
    file.write_text(TEXT.format(backbone=backbone), encoding="utf-8")
    return make_plan(load_study(file))


def _quiet(line: str) -> None:
    pass


def _scores(folder: StudyFolder) -> dict[str, Any]:
    return {
        name: (each.scores, each.lr, each.dev_choose, each.dev_select)
        for name, each in folder.results().runs.items()
    }


def _killed(backbone: str, where: str, out: str, moment: str, number: int) -> None:
    """Does the study until a moment of some run, then kills its own process."""
    from adapter_stilts.training import finish

    owner: Any = {"before": work, "training": finish, "after": work}[moment]
    name = {"before": "append_result", "training": "make_record", "after": "append_result"}[moment]
    function, calls = getattr(owner, name), 0

    def call(*args: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == number and moment != "after":
            os.kill(os.getpid(), signal.SIGKILL)
        found = function(*args, **options)
        if calls == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return found

    setattr(owner, name, call)
    folder = StudyFolder(Path(out))
    run_study(_plan(backbone, where), folder, Here(folder), _quiet)


def test_a_study_that_is_killed_ends_as_if_it_had_not_been(plan: Plan, tmp_path: Path) -> None:
    whole, cut = StudyFolder(tmp_path / "whole"), StudyFolder(tmp_path / "cut")
    assert run_study(plan, whole, Here(whole), _quiet).done == set(plan.runs)
    for moment, number in (("training", 2), ("before", 4), ("after", 5)):
        asked = (plan.study.backbone, str(tmp_path), str(cut.path), moment, number)
        assert in_a_process(_killed, *asked) == -signal.SIGKILL
    done = set(cut.results().runs)
    assert 0 < len(done) < len(plan.runs)
    engine = Here(cut)
    assert run_study(plan, cut, engine, _quiet).done == set(plan.runs)
    assert not done.intersection(engine.begun)
    assert _scores(cut) == _scores(whole)
    for name, each in whole.results().runs.items():
        assert each.stage != "target" or set(each.scores[each.target]) == {"en", "de"}, name
        if each.stage == "target":
            kept = sorted(p.name for p in (cut.path / each.items).rglob("*.items.parquet"))
            tests = ["test-de.tsv.items.parquet", "test-en.tsv.items.parquet"]
            assert kept == ["dev-en.select.items.parquet", *tests]
    _damage(cut)
    engine = Here(cut)
    run_study(plan, cut, engine, _quiet)
    assert len(engine.begun) == 1
    assert _scores(cut) == _scores(whole)


def _damage(folder: StudyFolder) -> None:
    lines = folder.results_file.read_bytes().splitlines(keepends=True)
    lines[-1] = lines[-1][:40] + b"\n"
    folder.results_file.write_bytes(b"".join(lines))


def test_a_failed_run_is_tried_again_then_set_aside_while_the_rest_goes_on(
    plan: Plan, tmp_path: Path
) -> None:
    folder = StudyFolder(tmp_path / "out")
    first = next(name for name, run in plan.runs.items() if run.arm == "squad")
    engine = Nothing(folder, {first: [1]})
    said: list[str] = []
    found = _run_as_done(plan, folder, engine, said)
    assert engine.begun.count(first) == 3
    assert found.failed == {first}
    assert folder.failure(first).is_file()
    assert found.blocked == _after(plan, first)
    assert found.done == set(plan.runs) - found.failed - found.blocked
    assert any("set aside" in line and str(folder.failure(first)) in line for line in said)


def test_a_mistake_is_not_tried_again(plan: Plan, tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path / "out")
    first = next(iter(plan.runs))
    engine = Nothing(folder, {first: [2]})
    _run_as_done(plan, folder, engine, [])
    assert engine.begun.count(first) == 1


def _run_as_done(plan: Plan, folder: StudyFolder, engine: Here, said: list[str]) -> Outcome:
    """As if a run with the exit code 0 had left its record."""
    from adapter_stilts.study.folder import append_result
    from adapter_stilts.study.graph import RunResult

    for run in plan.runs.values():
        if run.id not in engine.codes:
            engine.codes[run.id] = [0]
    submit = engine.submit

    def leave(name: str) -> Future[int]:
        made = submit(name)
        if made.result() == 0:
            fields = {"run": name, "study": "s", "stage": "target", "arm": "a", "method": "m"}
            append_result(folder.results_file, RunResult.model_validate(fields))
        return made

    engine.submit = leave  # type: ignore[method-assign, assignment]
    return run_study(plan, folder, engine, said.append)


def _after(plan: Plan, name: str) -> set[str]:
    found = {name}
    for run in plan.runs.values():
        if found.intersection(run.needs):
            found.add(run.id)
    return found - {name}


def test_a_second_one_is_told_who_works_on_the_folder(plan: Plan, tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path / "out")
    with folder.holding(), pytest.raises(UserError, match=str(os.getpid())):
        run_study(plan, folder, Nothing(folder), _quiet)
    assert not folder.holder()
    # Who holds it is alive, whatever its note says.
    with folder.holding():
        (folder.path / "state" / "holder.json").write_text("{", encoding="utf-8")
        assert folder.holder()


def test_a_full_disk_is_found_before_the_work(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = StudyFolder(tmp_path / "out")
    monkeypatch.setattr(running, "ROOM", 1 << 60)
    with pytest.raises(FailureError, match="free"):
        run_study(plan, folder, Nothing(folder), _quiet)
