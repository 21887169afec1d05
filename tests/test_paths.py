"""Folders that appear whole, and where modules are searched for."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from adapter_stilts import paths
from adapter_stilts.backbones import Backbone
from adapter_stilts.compositions import stack
from adapter_stilts.errors import UserError
from adapter_stilts.paths import atomic_folder, pulled_dir, shared_zoos, write_whole
from adapter_stilts.tasks.registry import get_task
from adapter_stilts.zoo.resolve import resolve


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


def test_ctrl_c_between_two_folders_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The moment when the old one has made room, and the new one is not there yet."""
    target, took_place = tmp_path / "target", paths._took_place
    target.mkdir()
    (target / "old").write_text("x")

    def interrupted(work: Path, to: Path) -> bool:
        if not target.exists() and (work / "new").exists():
            raise KeyboardInterrupt
        return took_place(work, to)

    monkeypatch.setattr(paths, "_took_place", interrupted)

    def write() -> None:
        with atomic_folder(target) as work:
            (work / "new").write_text("y")

    with pytest.raises(KeyboardInterrupt):
        write()
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


@pytest.mark.parametrize(
    ("umask", "folders", "files"), [(0o022, 0o755, 0o644), (0o002, 0o775, 0o664), (0o077, 0, 0)]
)
def test_what_is_written_can_be_read_by_whom_the_umask_says(
    tmp_path: Path, umask: int, folders: int, files: int
) -> None:
    """safetensors and tempfile write for the owner alone; a group shares its zoo and its cache."""
    folders, files = folders or 0o700, files or 0o600
    before = os.umask(umask)
    try:
        for _ in range(2):  # the second time in the place of the first
            with atomic_folder(tmp_path / "zoo" / "module") as work:
                (work / "peft").mkdir()
                save_file({"a": torch.zeros(2)}, work / "peft" / "adapter.safetensors")
                (work / "README.md").write_text("x")
        write_whole(tmp_path / "predictions" / "layer.json", "{}\n")

    finally:
        os.umask(before)
    found = list(tmp_path.rglob("*"))
    modes = {path.relative_to(tmp_path).as_posix(): path.stat().st_mode & 0o777 for path in found}
    assert modes == {
        **dict.fromkeys(("zoo", "zoo/module", "zoo/module/peft", "predictions"), folders),
        "zoo/module/peft/adapter.safetensors": files,
        "zoo/module/README.md": files,
        "predictions/layer.json": files,
    }


def test_a_text_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    write_whole(tmp_path / "a" / "text", "old\n")
    with pytest.raises(UnicodeEncodeError):
        write_whole(tmp_path / "a" / "text", "new \ud800\n")
    assert [path.read_text() for path in (tmp_path / "a").iterdir()] == ["old\n"]


def test_names_longer_than_any_file_has() -> None:
    long = "x" * 300
    assert Backbone(long, Path()).slug == long
    assert str(stack(long, "tydiqa")) == f"stack({long}, tydiqa)"
    for text in (long, f"stack({long}, tydiqa)"):
        with pytest.raises(UserError, match="no module 'xxx"):
            resolve(text)
    with pytest.raises(UserError, match="no task 'xxx"):
        get_task(long)
