"""Short trainings of the tiny backbone, in this process or in one that can be killed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from training_kit import SHORT, Spy, Train, Weights, Worker  # type: ignore[import-not-found]
from transformers.integrations import integration_utils

from adapter_stilts.engine.native import HEAD_WEIGHTS, WEIGHTS
from adapter_stilts.training.run import Trained, train_adapter


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny matrices are slower on several threads, most of all on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def cache(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A cache for all tests here; the embedded backbone stays where it was converted to."""
    monkeypatch.delenv("ADSTILTS_DATA", raising=False)
    if "embedded" not in request.fixturenames:
        folder = tmp_path_factory.getbasetemp() / "training-cache"
        monkeypatch.setenv("ADSTILTS_CACHE", str(folder))


@pytest.fixture
def settings(tiny_xlmr: Path, tmp_path: Path) -> dict[str, Any]:
    """Arguments of a short training of the tiny backbone into `tmp_path / "module"`."""
    return {**SHORT, "backbone": str(tiny_xlmr), "out": str(tmp_path / "module")}


@pytest.fixture
def train(settings: dict[str, Any]) -> Train:
    """A short training in this process."""

    def run(**changes: Any) -> Trained:
        return train_adapter(**{**settings, **changes})

    return run


@pytest.fixture
def weights() -> Callable[[Path], Weights]:
    """Reads the weights of a module on disk, its head's included."""

    def read(folder: Path) -> Weights:
        return {**load_file(folder / WEIGHTS), **load_file(folder / HEAD_WEIGHTS)}

    return read


@pytest.fixture
def spy(monkeypatch: pytest.MonkeyPatch) -> Spy:
    """What `report_to="spy"` tells its tracker."""
    watcher = Spy()
    tracker = type("Tracker", (), {"__new__": lambda cls: watcher})  # transformers asks for a class
    monkeypatch.setitem(integration_utils.INTEGRATION_TO_CALLBACK, "spy", tracker)
    return watcher


@pytest.fixture(scope="session")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    """One process for all tests that kill."""
    folder = tmp_path_factory.mktemp("worker")
    made = Worker(folder / "stderr.txt")
    yield made
    made.close()
