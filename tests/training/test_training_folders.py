"""What killed processes leave beside a module is removed; what is not theirs stays."""

from __future__ import annotations

from pathlib import Path

from adapter_stilts.training.folders import discard, sweep, unfinished


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
