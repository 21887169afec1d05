"""Runs on this machine: side by side on GPUs and cores, and what they are told of their place."""

from __future__ import annotations

import os
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from adapter_stilts import plugins
from adapter_stilts.errors import UserError
from adapter_stilts.study import engine_local
from adapter_stilts.study.engine import (
    DEVICE,
    EngineOptions,
    Place,
    available_cpus,
    visible_gpus,
)
from adapter_stilts.study.engine_local import LocalEngine, do_run
from adapter_stilts.study.folder import StudyFolder


@pytest.fixture
def folder(tmp_path: Path) -> StudyFolder:
    return StudyFolder(tmp_path)


def _environments(
    monkeypatch: pytest.MonkeyPatch, folder: StudyFolder, runs: int, **options: Any
) -> list[dict[str, str]]:
    """What runs that are all done at the same time have in their environments."""
    together, found = threading.Barrier(runs, timeout=60), []

    class Noting:
        def __init__(self, place: Place, environment: dict[str, str]) -> None:
            self._environment = environment

        def do(self, folder: Any, run: str, environment: dict[str, str], stops: Any) -> int:
            found.append({**self._environment, **environment})
            together.wait()
            return 0

        def close(self) -> None:
            pass

    monkeypatch.setattr(engine_local, "ForkServer", Noting)
    engine = LocalEngine(folder, EngineOptions(max_parallel=runs, **options))
    futures = [engine.submit(f"r{k}") for k in range(runs)]
    assert [each.result(60) for each in futures] == [0] * runs
    engine.close()
    return found


def test_many_runs_share_gpus_and_cores(
    folder: StudyFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_local, "visible_gpus", lambda: ["GPU-a", "GPU-b"])
    monkeypatch.setattr(engine_local, "available_cpus", lambda: 32)
    for name in ("OMP_NUM_THREADS", "RAYON_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    found = _environments(monkeypatch, folder, 16, device="cuda")
    assert Counter(each["CUDA_VISIBLE_DEVICES"] for each in found) == {"GPU-a": 8, "GPU-b": 8}
    for each in found:
        assert (each["OMP_NUM_THREADS"], each["RAYON_NUM_THREADS"]) == ("2", "2")
        assert each[DEVICE] == "cuda", "so that none falls back to the CPU"


def test_more_runs_than_cores_have_one_each(
    folder: StudyFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_local, "available_cpus", lambda: 2)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    found = _environments(monkeypatch, folder, 5, device="cpu")
    assert {each["OMP_NUM_THREADS"] for each in found} == {"1"}
    assert {each["CUDA_VISIBLE_DEVICES"] for each in found} == {""}


def test_what_the_user_set_holds_unless_it_is_said_for_runs(
    folder: StudyFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    (found,) = _environments(monkeypatch, folder, 1, device="cpu")
    assert "OMP_NUM_THREADS" not in found
    (found,) = _environments(monkeypatch, folder, 1, device="cpu", cpus=7)
    assert found["OMP_NUM_THREADS"] == "7"


def test_cuda_without_a_gpu_is_refused(
    folder: StudyFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_local, "visible_gpus", list)
    with pytest.raises(UserError, match="cuda"):
        LocalEngine(folder, EngineOptions(device="cuda"))


def test_gpus_are_counted_without_claiming_one(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert visible_gpus() == ["0", "1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,3")
    assert visible_gpus() == ["5", "3"]
    assert not torch.cuda.is_initialized()


def test_no_more_cores_than_this_process_may_use() -> None:
    if hasattr(os, "sched_setaffinity"):
        before = os.sched_getaffinity(0)
        try:
            os.sched_setaffinity(0, {min(before)})
            assert available_cpus() == 1
        finally:
            os.sched_setaffinity(0, before)


def test_a_place_has_what_decides_results_and_no_secrets(
    folder: StudyFolder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    plugin = tmp_path / "mine.py"
    monkeypatch.setattr(plugins, "_done", {str(plugin): "", plugins.GROUP: ""})
    monkeypatch.setenv("ADSTILTS_DATA", "/shared/data")
    monkeypatch.setenv("HF_HOME", "/shared/hub")
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    place = Place.of(folder)
    assert place.study == str(tmp_path)
    assert place.directory == str(Path.cwd())
    assert place.environment["ADSTILTS_DATA"] == "/shared/data"
    assert place.environment["HF_HOME"] == "/shared/hub"
    assert place.environment["ADSTILTS_PLUGINS"] == str(plugin), "as `--include` named it"
    assert "hf_secret" not in place.environment.values()


def test_a_run_that_is_stopped_before_it_begins_starts_no_process(folder: StudyFolder) -> None:
    assert do_run(folder, "r", Place.of(folder), {}, lambda: 1) == 130
    assert not folder.log("r").exists()
