"""Folders that appear whole, and where modules are searched for."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from adapter_stilts.paths import atomic_folder, pulled_dir, shared_zoos


def test_several_writers_leave_one_whole_folder(tmp_path: Path) -> None:
    target, failed = tmp_path / "zoo" / "module", []
    start = threading.Barrier(4)

    def write(who: int) -> None:
        try:
            start.wait()
            for number in range(40):
                with atomic_folder(target) as work:
                    for name in ("a", "b", "c"):
                        (work / name).write_text(f"{who} {number}")
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=write, args=(who,)) for who in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert list(target.parent.iterdir()) == [target]
    assert len({(target / name).read_text() for name in ("a", "b", "c")}) == 1


def test_a_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("x")
    (tmp_path / "target").symlink_to(outside)
    with atomic_folder(tmp_path / "target") as work:
        (work / "new").write_text("y")
    assert (outside / "precious").read_text() == "x"
    assert not (tmp_path / "target").is_symlink()
    assert (tmp_path / "target" / "new").read_text() == "y"


def test_a_failure_leaves_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "old").write_text("x")

    def fail() -> None:
        with atomic_folder(tmp_path / "target") as work:
            (work / "new").write_text("y")
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        fail()
    assert [path.name for path in tmp_path.rglob("*")] == ["target", "old"]


def test_shared_zoos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADSTILTS_ZOO_PATH", os.pathsep.join(["/a", "", "/b"]))
    assert shared_zoos() == [Path("/a"), Path("/b")]
    monkeypatch.delenv("ADSTILTS_ZOO_PATH")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "adapters_zoo").mkdir()
    assert shared_zoos() == [Path("adapters_zoo")]


def test_pulled_modules_lie_in_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ADSTILTS_PULLED", raising=False)
    monkeypatch.setenv("ADSTILTS_CACHE", "/cache")
    assert pulled_dir() == Path("/cache/pulled")
