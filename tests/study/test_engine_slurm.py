"""Runs as jobs of Slurm, or of submitit's executor of this machine: arrays, time-outs, refusals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from adapter_stilts.errors import FailureError, UserError
from adapter_stilts.study import engine_slurm
from adapter_stilts.study.engine import EngineOptions, Place
from adapter_stilts.study.engine_slurm import (
    SlurmEngine,
    SlurmJob,
    SlurmQueue,
    ended_file,
)
from adapter_stilts.study.folder import StudyFolder
from adapter_stilts.study.run import Outcome, run_study
from engine_kit import Here
from engine_study_kit import plan_of, quiet, scores, steps_of, wait_for, write_study

pytest.importorskip("submitit", reason="the extra 'slurm' is not installed")
CPU = EngineOptions(device="cpu")


def _slurm_answers() -> bool:
    with suppress(OSError, subprocess.SubprocessError):
        subprocess.run(["sinfo"], check=True, capture_output=True, timeout=20)
        return True
    return False


def _send_to_local_job(folder: StudyFolder, run: str) -> None:
    """To all of its processes, as Slurm does."""
    server = psutil.Process(folder.running()[run]["pid"]).parent()
    assert server is not None
    job = server.parent()
    assert job is not None
    for each in [job, *job.children(recursive=True)]:
        each.send_signal(signal.SIGUSR2)


def _send_to_slurm_job(folder: StudyFolder, run: str) -> None:
    job = json.loads((folder.path / "state" / f"slurm-{run}.json").read_text(encoding="utf-8"))
    subprocess.run(["scancel", "--signal=USR2", job["job"]], check=True)


class LocalQueue:
    """Does jobs on this machine by submitit's executor for that."""

    def __init__(self, folder: Path, options: EngineOptions) -> None:
        import submitit

        self._executor = submitit.AutoExecutor(folder, "local", slurm_max_num_timeout=1000)
        self._executor.update_parameters(timeout_min=240, cpus_per_task=1)
        self._jobs: dict[str, Any] = {}

    def submit(self, jobs: Any) -> list[str]:
        made = [self._executor.submit(job) for job in jobs]
        self._jobs |= {str(job.job_id): job for job in made}
        return [str(job.job_id) for job in made]

    def states(self) -> dict[str, str]:
        return {name: "RUNNING" for name, job in self._jobs.items() if not job.done()}

    def cancel(self, jobs: Any, *, pending: bool) -> None:
        for name in () if pending else jobs:
            self._jobs[name].cancel()


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("cluster", "send_signal"), [("local", _send_to_local_job), ("slurm", _send_to_slurm_job)]
)
def test_a_run_goes_on_in_a_new_job_when_its_time_is_over(
    cluster: str,
    send_signal: Callable[[StudyFolder, str], None],
    tiny_xlmr: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if cluster == "slurm" and not _slurm_answers():
        pytest.skip("no Slurm answers here")
    monkeypatch.setenv("ADSTILTS_ZOO", str(tmp_path / "zoo"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    plan = plan_of(write_study(tmp_path, tiny_xlmr, steps=400))
    first = next(iter(plan.runs.values()))
    plan.runs = {first.id: first}
    here, folder = StudyFolder(tmp_path / "here"), StudyFolder(tmp_path / "slurm")
    run_study(plan, here, Here(here), quiet)
    if cluster == "local":
        monkeypatch.setattr(engine_slurm, "SlurmQueue", LocalQueue)
        monkeypatch.setattr(engine_slurm, "POLL", 0.5)
        monkeypatch.setattr(engine_slurm, "GRACE", 1.0)
    engine = SlurmEngine(folder, CPU)
    found: list[Outcome] = []
    thread = threading.Thread(
        target=lambda: found.append(run_study(plan, folder, engine, quiet)), daemon=True
    )
    thread.start()
    step = wait_for(lambda: steps_of(folder).get(first.id))
    send_signal(folder, first.id)  # as Slurm does before the time is over
    log = folder.log(first.id)
    # Slurm holds a job back for two minutes or so before it begins again.
    wait_for(lambda: log.read_text().count("begun on") == 2)
    assert list(folder.path.glob("modules/*/*/checkpoint-*"))
    after = wait_for(lambda: steps_of(folder).get(first.id) or found)
    assert after is found or after > step, "from its checkpoint"
    thread.join(240)
    assert found[0].done == {first.id}
    assert scores(folder) == scores(here)
    assert not list(folder.path.glob("state/slurm-*"))


class Queue:
    """Slurm's queue as far as the engine sees it."""

    def __init__(self) -> None:
        self.arrays: list[list[str]] = []
        self.there: dict[str, str] = {}
        self.cancelled: list[tuple[list[str], bool]] = []

    def submit(self, jobs: Any) -> list[str]:
        number = len(self.arrays)
        self.arrays.append([job.run for job in jobs])
        names = [f"{number}_{k}" for k in range(len(jobs))]
        self.there |= dict.fromkeys(names, "PENDING")
        return names

    def states(self) -> dict[str, str]:
        return dict(self.there)

    def cancel(self, jobs: Any, *, pending: bool) -> None:
        self.cancelled.append((list(jobs), pending))
        self.there.clear()


@pytest.fixture
def queue(monkeypatch: pytest.MonkeyPatch) -> Queue:
    made = Queue()
    monkeypatch.setattr(engine_slurm, "SlurmQueue", lambda *args, **options: made)
    monkeypatch.setattr(engine_slurm, "TICK", 0.01)
    monkeypatch.setattr(engine_slurm, "POLL", 0.02)
    monkeypatch.setattr(engine_slurm, "GRACE", 0.1)
    return made


def _end(folder: StudyFolder, run: str, code: int, refused: str = "") -> None:
    said = json.dumps({"code": code, "refused": refused})
    ended_file(folder.path, run).write_text(said)


@pytest.fixture
def folder(tmp_path: Path) -> StudyFolder:
    (tmp_path / "state").mkdir()
    return StudyFolder(tmp_path)


def test_jobs_are_submitted_as_arrays_in_chunks(
    queue: Queue, folder: StudyFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_slurm, "ARRAY", 3)
    engine = SlurmEngine(folder, CPU)
    futures = {f"r{k}": engine.submit(f"r{k}") for k in range(7)}
    wait_for(lambda: sum(map(len, queue.arrays)) == 7, 20)
    assert max(map(len, queue.arrays)) <= 3
    for code, run in enumerate(futures):
        _end(folder, run, code)
    assert [futures[run].result(20) for run in futures] == list(range(7))
    engine.close()


def test_jobs_of_an_earlier_process_are_found_again(queue: Queue, folder: StudyFolder) -> None:
    (folder.path / "state" / "slurm-kept.json").write_text('{"job": "77_1"}')
    (folder.path / "state" / "slurm-lost.json").write_text('{"job": "77_2"}')
    queue.there["77_1"] = "RUNNING"
    engine = SlurmEngine(folder, CPU)
    kept, lost = engine.submit("kept"), engine.submit("lost")
    wait_for(lambda: queue.arrays, 20)
    assert queue.arrays == [["lost"]]
    _end(folder, "kept", 0)
    _end(folder, "lost", 0)
    assert (kept.result(20), lost.result(20)) == (0, 0)
    engine.close()


def test_a_job_that_left_without_a_word_has_failed(queue: Queue, folder: StudyFolder) -> None:
    engine = SlurmEngine(folder, CPU)
    made = engine.submit("r")
    wait_for(lambda: queue.there, 20)
    queue.there.clear()
    assert made.result(20) == 1
    assert "0_0" in folder.log("r").read_text()
    engine.close()


@pytest.mark.parametrize(
    "said", ["", "null", "[]", "{}", '{"code": "x", "refused": ""}', '{"code": null}', "[" * 99999]
)
def test_a_damaged_word_of_a_job_is_none(queue: Queue, folder: StudyFolder, said: str) -> None:
    (folder.path / "state" / "slurm-r.json").write_text(said)
    engine = SlurmEngine(folder, CPU)
    made = engine.submit("r")
    wait_for(lambda: queue.there, 20)
    ended_file(folder.path, "r").write_text(said)
    queue.there.clear()
    assert made.result(20) == 1
    assert "without a word" in folder.log("r").read_text()
    engine.close()


def test_stopping_cancels_what_waits_and_tells_what_runs(queue: Queue, folder: StudyFolder) -> None:
    engine = SlurmEngine(folder, CPU)
    made = engine.submit("r")
    wait_for(lambda: queue.there, 20)
    engine.stop()
    assert made.result(20) == 130
    assert queue.cancelled == [(["0_0"], True)]
    assert folder.stop_file.exists()
    assert engine.submit("later").result(20) == 130
    engine.close()


def test_a_refusal_of_a_job_is_the_users_to_mend(queue: Queue, folder: StudyFolder) -> None:
    engine = SlurmEngine(folder, CPU)
    made = engine.submit("r")
    wait_for(lambda: queue.there, 20)
    _end(folder, "r", 2, "worker n1 has torch 2.1")
    with pytest.raises(UserError, match="n1"):
        made.result(20)
    engine.close()


def _queue(folder: Path, **options: Any) -> SlurmQueue:
    given = [f"{name}={value}" for name, value in options.items()]
    return SlurmQueue(folder, replace(CPU, max_parallel=2, hours=1.5, slurm=given))


def test_no_slurm_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="sbatch"):
        _queue(tmp_path)


def test_a_library_that_is_missing_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(UserError, match=r"adapter-stilts\[slurm\]"):
        _queue(tmp_path)


SBATCH = """#!/bin/sh
cp "$1" {folder}/submitted.sh
{then}
"""


@pytest.fixture
def sbatch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Slurm's programs, of which `sbatch` keeps the script that it is given."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("sbatch", "srun"):
        path = programs / name
        path.write_text(SBATCH.format(folder=tmp_path, then="echo Submitted batch job 12"))
        path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    return programs / "sbatch"


def _job(tmp_path: Path, run: str) -> SlurmJob:
    place = Place(str(tmp_path), str(tmp_path), {})
    return SlurmJob(place, run, {}, {})


def test_sbatch_gets_the_options_and_one_array(sbatch: Path, tmp_path: Path) -> None:
    made = _queue(tmp_path / "jobs", partition="gpu", account="me")
    assert made.submit([_job(tmp_path, "a"), _job(tmp_path, "b")]) == ["12_0", "12_1"]
    lines = (tmp_path / "submitted.sh").read_text().splitlines()
    given = {line.removeprefix("#SBATCH --") for line in lines if line.startswith("#SBATCH")}
    wanted = {"partition=gpu", "account=me", "time=90", "array=0-1%2", "cpus-per-task=1"}
    assert wanted <= given, given
    assert any(line.startswith("signal=") for line in given)
    assert any("requeue" in line or "open-mode=append" in line for line in given)


def test_an_option_that_slurm_does_not_know_is_named(sbatch: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="partitoin"):
        _queue(tmp_path, partitoin="gpu")


def test_what_sbatch_refuses_is_said(
    sbatch: Path, tmp_path: Path, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    then = "echo 'sbatch: error: invalid partition specified: gpu' >&2; exit 1"
    sbatch.write_text(SBATCH.format(folder=tmp_path, then=then))
    made = _queue(tmp_path / "jobs")
    with pytest.raises(FailureError, match="invalid partition"):
        made.submit([_job(tmp_path, "a")])
    monkeypatch.setattr(engine_slurm, "SlurmQueue", lambda *args, **options: made)
    engine = SlurmEngine(StudyFolder(tmp_path), CPU)
    with pytest.raises(UserError, match="invalid partition"):
        engine.submit("a").result(20)
    engine.close()
