"""What killed processes leave beside a module is removed; what is not theirs stays."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from adapter_stilts.errors import UserError
from adapter_stilts.training.folders import discard, only_one, sweep, unfinished
from process_kit import begin, end


def hold(folder: Path, held: Path) -> None:
    """Trains the module of that folder, as far as others can see, until it is killed."""
    with only_one(folder):
        held.touch()
        time.sleep(600)


def test_only_leftovers_of_this_module_are_swept(tmp_path: Path) -> None:
    theirs = {".squad.k3j_2x9a", ".squad.old.abcdefgh", ".squad.unfinished.gone"}
    others = {"squad", "squad.logs", "squad.unfinished", ".squad-lora.k3j_2x9a", ".squad.txt"}
    for name in theirs | others:
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text("x")
    sweep(tmp_path / "squad")
    assert {path.name for path in tmp_path.iterdir()} == others


def test_a_run_is_discarded_at_once_or_not_at_all(tmp_path: Path) -> None:
    work = unfinished(tmp_path / "squad")
    discard(work)  # nothing there is no mistake
    for folder in (work, tmp_path / ".squad.unfinished.gone"):
        (folder / "checkpoint-3").mkdir(parents=True)
    discard(work)
    assert list(tmp_path.iterdir()) == []


def test_two_processes_do_not_train_the_same_module(tmp_path: Path) -> None:
    folder = tmp_path / "zoo" / "squad"
    other = begin(hold, folder, held := tmp_path / "held")
    while not held.exists():
        assert other.is_alive()
        time.sleep(0.01)
    said = f"another process is training the module of {folder}: wait for it"
    with pytest.raises(UserError, match=said), only_one(folder):
        raise AssertionError
    with only_one(folder.with_name("mnli")):
        pass
    other.kill()
    assert end(other) == -signal.SIGKILL
    with only_one(folder):  # a killed process holds nothing
        pass
    assert list(folder.parent.iterdir()) == []
