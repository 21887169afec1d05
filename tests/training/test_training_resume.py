"""Killed at any moment and resumed, a run ends with the weights of one never interrupted."""

from __future__ import annotations

import itertools
import random
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from training_kit import Spy, Train  # type: ignore[import-not-found]

from adapter_stilts.engine.native import HEAD_WEIGHTS, WEIGHTS
from adapter_stilts.errors import InterruptedTrainingError, UserError
from adapter_stilts.training.checkpoint import (
    MANIFEST,
    copy_into,
    write_manifest,
)
from adapter_stilts.training.folders import latest_checkpoint
from adapter_stilts.zoo.record import ModuleRecord

Worker = Callable[..., list[int]]
KILLED = -signal.SIGKILL

HARD = {"epochs": 2, "head_dropout": 0.2, "unfreeze": "top-down", "accumulate": 2}
"""Dropout needs the random state, unfreezing the step number, accumulation the batch number."""


def contents(module: Path) -> dict[str, bytes]:
    return {name: (module / name).read_bytes() for name in (WEIGHTS, HEAD_WEIGHTS)}


def moments(seconds: float) -> Iterator[dict[str, Any]]:
    """Moments to kill at: after so many changes of files, amid a checkpoint, at any time."""
    rng = random.Random(0)
    yield from ({"event": number} for number in (1, 3, 5, 6, 8, 9))
    while True:
        yield {"writing": True}
        yield {"seconds": rng.uniform(0.3, 1.0) * seconds}
        yield {"event": rng.randint(8, 24)}


def kill_until_finished(
    worker: Worker, settings: dict[str, Any], *, seconds: float, at_most: int
) -> tuple[int, int]:
    """Resumes a run that is killed again and again.

    Returns:
        How often it was killed, and how often a half-written folder was left behind.
    """
    out = Path(settings["out"])
    half_written = 0
    for kills, moment in enumerate(moments(seconds)):
        stop = moment if kills < at_most else {}
        codes = worker({**settings, "resume": True}, stop=stop, save_seconds=0.0)
        if codes == [0]:
            return kills, half_written
        assert codes == [KILLED], out.with_name(f"{out.name}.message").read_text()
        half_written += bool([*out.parent.glob(".*"), *out.parent.glob("*.unfinished/.check*")])
    raise AssertionError("unreachable")


def test_a_run_killed_at_any_moment_ends_with_the_same_weights(
    worker: Worker, settings: dict[str, Any], tmp_path: Path
) -> None:
    calm = {**settings, **HARD, "out": str(tmp_path / "calm" / "module")}
    killed = {**settings, **HARD, "out": str(tmp_path / "killed" / "module")}
    (tmp_path / "calm").mkdir()
    (tmp_path / "killed").mkdir()
    assert worker(calm) == [0]
    kills, half_written = kill_until_finished(worker, killed, seconds=1.5, at_most=12)
    assert kills >= 7
    assert half_written >= 2
    assert contents(Path(killed["out"])) == contents(Path(calm["out"]))
    left = {path.name for path in (tmp_path / "killed").iterdir() if path.is_dir()}
    assert left <= {"module", "module.logs"}


def test_other_random_state_gives_other_weights(
    worker: Worker, settings: dict[str, Any], tmp_path: Path
) -> None:
    """So the test above can fail: dropout does decide the weights."""
    found = []
    for seed in (0, 1):
        out = tmp_path / str(seed) / "module"
        out.parent.mkdir()
        assert worker({**settings, **HARD, "seed": seed, "out": str(out)}) == [0]
        found.append(contents(out))
    assert found[0][WEIGHTS] != found[1][WEIGHTS]


@pytest.mark.slow
def test_the_embedded_backbone_killed_at_any_moment_ends_with_the_same_weights(
    worker: Worker, settings: dict[str, Any], tmp_path: Path, embedded: str
) -> None:
    both = {**settings, **HARD, "backbone": embedded, "precision": "auto", "limit": 16}
    outs = [tmp_path / name / "module" for name in ("calm", "killed")]
    for out in outs:
        out.parent.mkdir()
    assert worker({**both, "out": str(outs[0])}) == [0]
    killed = {**both, "out": str(outs[1])}
    kills, _ = kill_until_finished(worker, killed, seconds=20, at_most=8)
    assert kills >= 4
    assert contents(outs[1]) == contents(outs[0])


def _rewrite(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)


def _first(tensors: dict[str, Any]) -> str:
    return min(tensors)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "missing": lambda path: path.unlink(),
    "empty": lambda path: path.write_bytes(b""),
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:-9]),
    "lacking a tensor": lambda path: _rewrite(path, lambda found: found.pop(_first(found))),
    "foreign tensor": lambda path: _rewrite(path, lambda found: found.update(x=torch.ones(2))),
    "another shape": lambda path: _rewrite(
        path, lambda found: found.update({_first(found): torch.zeros(1)})
    ),
    "other values": lambda path: _rewrite(
        path, lambda found: found.update({_first(found): found[_first(found)] + 1})
    ),
}


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for what a test trains first and the others copy."""
    return tmp_path_factory.mktemp("once")


@pytest.fixture
def stopped(train: Train, spy: Spy, once: Path, tmp_path: Path) -> Path:
    """The checkpoint of a run that was stopped after its best step."""
    kept = once / "module.unfinished"
    if not kept.exists():
        spy.stop_at(4)
        with pytest.raises(InterruptedTrainingError):
            train(report_to="spy", evaluations=6, patience=0, out=str(once / "module"))
        spy.on_step = None
    found = latest_checkpoint(shutil.copytree(kept, tmp_path / "module.unfinished"))
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        *itertools.product(("module", "best", "optimizer", "rng-0"), DAMAGES),
        *itertools.product(("trainer_state.json", "files.json"), ("missing", "empty", "truncated")),
    ],
)
def test_a_damaged_checkpoint_is_not_resumed_from(
    train: Train, stopped: Path, tmp_path: Path, name: str, damage: str
) -> None:
    """Never other weights than those of an undisturbed run, without a word."""
    path = stopped / (name if "." in name else f"{name}.safetensors")
    DAMAGES[damage](path)
    with pytest.raises(UserError, match=f"{path.name} is .*--overwrite") as caught:
        train(report_to="spy", evaluations=6, patience=0, resume=True)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "module").exists()


@pytest.mark.parametrize("damage", ["lacking a tensor", "foreign tensor", "another shape"])
def test_weights_of_another_module_are_not_taken(tmp_path: Path, damage: str) -> None:
    """Whatever the list of files says: `copy_` alone would stretch one value over a matrix."""
    own = {"a": torch.zeros(3, 3), "b": torch.zeros(3)}
    path = tmp_path / "best.safetensors"
    save_file(own, path)
    copy_into(own, load_file(path), path)
    DAMAGES[damage](path)
    with pytest.raises(UserError, match=r"best\.safetensors: .*--overwrite"):
        copy_into(own, load_file(path), path)


def test_as_many_processes_as_before(train: Train, stopped: Path) -> None:
    """With more of them the batches would be dealt otherwise."""
    (stopped / "rng-1.safetensors").write_bytes((stopped / "rng-0.safetensors").read_bytes())
    (stopped / MANIFEST).unlink()
    write_manifest(stopped)
    with pytest.raises(UserError, match="written by 2 processes"):
        train(report_to="spy", evaluations=6, patience=0, resume=True)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_finished_module_that_is_damaged_is_not_finished(
    train: Train, once: Path, tmp_path: Path, damage: str
) -> None:
    if not (once / "finished").exists():
        train(out=str(once / "finished"))
    module = shutil.copytree(once / "finished", tmp_path / "module")
    assert train(resume=True).path == module  # undamaged, it is
    DAMAGES[damage](module / HEAD_WEIGHTS)
    with pytest.raises(UserError, match=f"{HEAD_WEIGHTS} is .*again"):
        train(resume=True)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_step_saves_and_says_how_to_go_on(
    worker: Worker, settings: dict[str, Any], tmp_path: Path, number: signal.Signals
) -> None:
    calm = {**settings, **HARD, "out": str(tmp_path / "calm")}
    stopped = {**settings, **HARD, "out": str(tmp_path / "stopped")}
    assert worker(calm) == [0]
    # The 5th batch is the first of the 3rd step; the step's second batch is still learnt from.
    assert worker(stopped, stop={"step": 5, "signal": int(number)}) == [130]
    message = (tmp_path / "stopped.message").read_text()
    assert message.startswith("stopped at step 3 of 6; saved in ")
    assert "--resume" in message and "\n" not in message
    assert (tmp_path / "stopped.unfinished" / "checkpoint-3").is_dir()
    assert not (tmp_path / "stopped").exists()
    assert worker({**stopped, "resume": True}) == [0]
    assert contents(tmp_path / "stopped") == contents(tmp_path / "calm")
    assert not (tmp_path / "stopped.unfinished").exists()


def test_a_signal_to_one_of_two_processes_stops_both(
    worker: Worker, settings: dict[str, Any], tmp_path: Path
) -> None:
    calm = {**settings, "limit": 32, "out": str(tmp_path / "calm")}
    stopped = {**calm, "out": str(tmp_path / "stopped")}
    assert worker(calm, ranks=2) == [0, 0]
    stop = {"step": 2, "signal": int(signal.SIGTERM)}
    assert worker(stopped, ranks=2, stop=stop) == [130, 130]
    assert (tmp_path / "stopped.unfinished" / "checkpoint-2" / "rng-1.safetensors").is_file()
    assert worker({**stopped, "resume": True}, ranks=2) == [0, 0]
    assert contents(tmp_path / "stopped") == contents(tmp_path / "calm")
    assert ModuleRecord.read(tmp_path / "stopped").steps == 4
