"""Runs as forks of a process that has imported everything."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import pytest

from adapter_stilts.study.engine import EngineOptions, Place
from adapter_stilts.study.engine_local import ForkServer, LocalEngine
from adapter_stilts.study.folder import StudyFolder
from adapter_stilts.study.run import run_study
from engine_study_kit import plan_of, quiet, write_study

pytestmark = pytest.mark.whole

QUIET = """
import os
import torch
server = os.getpid()
for name in ("is_available", "device_count", "_lazy_init"):
    def ask(*_, name=name, real=getattr(torch.cuda, name)):
        if os.getpid() == server:
            open({asked!r}, "a").write(name)
        return real()
    setattr(torch.cuda, name, ask)
"""
"""Notes when the server looks for a GPU: a process that has cannot be forked. Its forks may."""


def test_a_fork_server_outlives_its_runs_and_is_begun_again_when_it_is_gone(
    tiny_xlmr: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That of the engine of this machine, which does a run with it at the end."""
    folder, asked = StudyFolder(tmp_path / "study"), tmp_path / "asked.txt"
    (tmp_path / "sitecustomize.py").write_text(QUIET.format(asked=str(asked)), "utf-8")
    paths = [str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    monkeypatch.setenv("ADSTILTS_CACHE", str(tmp_path / "cache"))
    plan = plan_of(write_study(tmp_path, tiny_xlmr))
    last = next(run for run in plan.runs.values() if run.stage == "rate")
    plan.runs = {last.id: last}
    engine = LocalEngine(folder, EngineOptions(device="cpu"))
    server = engine._servers.get()
    engine._servers.put(server)
    try:
        for run in ("a", "b"):
            assert server.do(folder, run, {"CUDA_VISIBLE_DEVICES": ""}, lambda: 0) == 2
            log = folder.log(run).read_text()
            assert log.startswith("begun on "), log
            assert f"'{run}'" in log or f"{run}.json" in log, "there is no such run"
        process = server._process
        assert process is not None
        assert process.poll() is None, "one for both"
        assert not asked.exists(), "what is imported for all runs looks for no GPU"

        for number in (signal.SIGUSR2, signal.SIGTERM):  # as Slurm does, to all of a job
            os.killpg(process.pid, number)
        assert server.do(folder, "b", {}, lambda: 0) == 2
        assert server._process is process

        os.killpg(process.pid, signal.SIGSTOP)  # so that it is killed before its next run
        killer = threading.Timer(1, os.killpg, (process.pid, signal.SIGKILL))
        killer.start()
        assert server.do(folder, "c", {}, lambda: 0) not in (0, 2, 130)
        killer.join()
        assert run_study(plan, folder, engine, quiet).done == {last.id}, "begun again"
        assert folder.log(last.id).is_file()
        assert folder.results().runs[last.id].dev_choose is not None
    finally:
        engine.close()


def test_a_fork_server_that_cannot_begin_says_why_in_the_log(tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path)
    server = ForkServer(Place.of(folder), {"PYTHONHOME": str(tmp_path)})
    try:
        assert server.do(folder, "a", {}, lambda: 0) != 0
    finally:
        server.close()
    assert "encodings" in folder.log("a").read_text(), "Python's own words"
