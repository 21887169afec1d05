"""What killed processes leave beside a module is removed; what is not theirs stays."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from adapter_stilts.errors import UserError
from adapter_stilts.training.folders import discard, only_one, sweep
from adapter_stilts.training.unfinished import unfinished

HOLD = """
import sys
from pathlib import Path
from adapter_stilts.training.folders import only_one
with only_one(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


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
    command = [sys.executable, "-c", HOLD, str(folder)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as other:
        assert other.stdout and other.stdout.readline() == "held\n"
        said = f"another process is training the module of {folder}: wait for it"
        with pytest.raises(UserError, match=said), only_one(folder):
            raise AssertionError
        with only_one(folder.with_name("mnli")):
            pass
        other.kill()
    with only_one(folder):  # a killed process holds nothing
        pass
    assert list(folder.parent.iterdir()) == []
