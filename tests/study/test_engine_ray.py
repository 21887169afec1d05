"""A study on a real Ray cluster of this machine: equal scores, lost workers, and refusals."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import adapter_stilts
from adapter_stilts.errors import FailureError, UserError
from adapter_stilts.study import engine_ray
from adapter_stilts.study.engine import SAME, EngineOptions, refusal, versions
from adapter_stilts.study.engine_ray import RayEngine, connect
from adapter_stilts.study.folder import StudyFolder
from adapter_stilts.study.graph import Plan
from adapter_stilts.study.run import Outcome, run_study
from engine_kit import Here
from engine_study_kit import plan_of, quiet, scores, steps_of, wait_for, write_study

os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", ".")  # read when ray is imported
ray = pytest.importorskip("ray", reason="the extra 'ray' is not installed")
STEPS = 400


class Cluster:
    """Two machines with a core each, which are processes of this one."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster as Made

        options = {"num_cpus": 1, "object_store_memory": 80_000_000, "include_dashboard": False}
        self._made = Made(initialize_head=True, head_node_args=options)
        options.pop("include_dashboard")
        self._second = self._made.add_node(**options)
        self.address = str(self._made.address)

    def lose_one(self) -> None:
        """Kills a machine with all that it does."""
        self._made.remove_node(self._second, allow_graceful=False)

    def close(self) -> None:
        """Ends it."""
        ray.shutdown()
        self._made.shutdown()


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("ADSTILTS_SAVE_SECONDS", "0.3")  # so that there is one to go on from
    made = Cluster()
    yield made
    made.close()


@pytest.fixture
def file(tiny_xlmr: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ADSTILTS_ZOO", str(tmp_path / "zoo"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return write_study(tmp_path, tiny_xlmr, steps=STEPS)


@pytest.fixture
def expected(file: Path, tmp_path: Path) -> dict[str, Any]:
    """The scores as this process gets them, one run after the other."""
    folder = StudyFolder(tmp_path / "here")
    run_study(plan_of(file), folder, Here(folder), quiet)
    return scores(folder)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_runs_of_a_killed_machine_go_on_with_equal_scores(
    cluster: Cluster, file: Path, expected: dict[str, Any], tmp_path: Path
) -> None:
    plan, folder = plan_of(file), StudyFolder(tmp_path / "ray")
    engine = RayEngine(folder, EngineOptions(address=cluster.address, device="cpu"))
    found: list[Outcome] = []
    thread = _in_a_thread(plan, folder, engine, found)
    before = wait_for(lambda: _both_train(folder))
    cluster.lose_one()
    lost = wait_for(lambda: _begun_again(folder, before))
    after = wait_for(lambda: steps_of(folder).get(lost) or lost in folder.results().runs)
    assert after is True or after > 1, "from its checkpoint"
    thread.join(240)
    assert found[0].done == set(plan.runs)
    assert scores(folder) == expected


def _in_a_thread(
    plan: Plan, folder: StudyFolder, engine: RayEngine, found: list[Outcome]
) -> threading.Thread:
    thread = threading.Thread(
        target=lambda: found.append(run_study(plan, folder, engine, quiet)), daemon=True
    )
    thread.start()
    return thread


def _both_train(folder: StudyFolder, *, saved: bool = True) -> dict[str, int]:
    steps = steps_of(folder)
    there = {path.parent.parent.name for path in folder.path.glob("modules/*/*/checkpoint-*")}
    return steps if len(steps) == 2 and (not saved or steps.keys() <= there) else {}


def _begun_again(folder: StudyFolder, runs: dict[str, int]) -> str:
    return next((run for run in runs if folder.log(run).read_text().count("begun on") > 1), "")


def test_an_address_that_does_not_answer_is_one_line() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(FailureError, match=address):
            connect(address, "cpu")
    for wrong in ("nowhere", "http://127.0.0.1:8265", "127.0.0.1:0", "ray://", f"h:{'9' * 5000}"):
        with pytest.raises(UserError, match=wrong[:20]):
            connect(wrong, "cpu")
    assert not ray.is_initialized()


def test_a_server_that_is_no_ray_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_ray, "CONNECT_SECONDS", 4.0)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(FailureError, match=address):
            connect(address, "cpu")


def test_a_library_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"adapter-stilts\[ray\]"):
        connect(None, "cpu")


@pytest.mark.parametrize("name", SAME)
def test_another_version_is_refused_by_name(name: str, tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "abc.json").touch()
    where = (str(tmp_path), str(tmp_path), "abc")
    here = versions()
    assert refusal(here, *where) == ""
    said = refusal({**here, name: "0.0.1"}, *where)
    assert all(word in said for word in (name, "0.0.1", here[name], socket.gethostname()))


def test_a_machine_that_does_not_see_the_study_says_so(tmp_path: Path) -> None:
    said = refusal(versions(), str(tmp_path), str(tmp_path), "abc")
    assert "abc.json" in said
    said = refusal(versions(), str(tmp_path), "/no/folder", "abc")
    assert "/no/folder" in said


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_worker_with_another_version_ends_the_study(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cluster's machines have another adapter-stilts than the process that asks."""
    other = tmp_path / "other" / "adapter_stilts"
    other.mkdir(parents=True)
    (other / "__init__.py").write_text('__version__ = "0.0.1"\n')
    with monkeypatch.context() as there:
        there.setenv("PYTHONPATH", str(other.parent))
        cluster = Cluster()
    folder = StudyFolder(tmp_path / "ray")
    try:
        engine = RayEngine(folder, EngineOptions(address=cluster.address, device="cpu"))
        with pytest.raises(UserError, match=r"0\.0\.1") as error:
            run_study(plan_of(file), folder, engine, quiet)
        assert adapter_stilts.__version__ in str(error.value)
        assert socket.gethostname() in str(error.value)
    finally:
        cluster.close()


def _study(file: Path, out: Path, address: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "adapter_stilts", "study", "run", str(file), "--out", str(out)]
    command += ["--engine", "ray", "--address", address, "--device", "cpu"]
    # Lines are folded where the caller's terminal has a width.
    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    pipe = subprocess.PIPE
    return subprocess.Popen(
        command, stdout=pipe, stderr=subprocess.STDOUT, text=True, env=environment
    )


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_killed_driver_leaves_nothing_and_the_same_command_goes_on(
    cluster: Cluster, file: Path, expected: dict[str, Any], tmp_path: Path
) -> None:
    folder = StudyFolder(tmp_path / "ray")
    driver = _study(file, folder.path, cluster.address)
    wait_for(lambda: _both_train(folder))
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    wait_for(lambda: not folder.running(), 60)
    assert not folder.holder()
    again = _study(file, folder.path, cluster.address)
    printed, _ = again.communicate(timeout=280)
    assert again.returncode == 0, printed
    assert scores(folder) == expected
    known = ("runs done", " of 3: ", "English items")  # the last: these few choose poorly
    assert all(any(each in line for each in known) for line in printed.splitlines()), printed


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("how", ["ctrl-c", "stop"])
def test_runs_that_are_stopped_keep_a_checkpoint(
    how: str, cluster: Cluster, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ADSTILTS_SAVE_SECONDS", "1000")  # none but for the stop
    write_study(file.parent, Path(plan_of(file).study.backbone), steps=3000)
    folder = StudyFolder(tmp_path / "ray")
    driver = _study(file, folder.path, cluster.address)
    wait_for(lambda: _both_train(folder, saved=False))
    if how == "stop":
        folder.stop_file.touch()
    else:
        os.kill(driver.pid, signal.SIGINT)
    printed, _ = driver.communicate(timeout=120)
    assert driver.returncode == 130, printed
    assert "the same command goes on" in printed
    assert not folder.running()
    saved = {path.parent.parent.name for path in folder.path.glob("modules/*/*/checkpoint-*")}
    assert len(saved) == 2
