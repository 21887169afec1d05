"""All that a training and an evaluation write can be read by whom the user's umask says."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from training_kit import Spy, Train  # type: ignore[import-not-found]

from adapter_stilts.errors import InterruptedTrainingError
from adapter_stilts.zoo.adopt import adopt_folder
from adapter_stilts.zoo.push import export


@pytest.fixture(params=[0o022, 0o002, 0o077], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    """What the user takes away from the rights of new files."""
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def wrong(folder: Path, umask: int) -> dict[str, str]:
    """The files and folders whose rights are others, with these."""
    found = {}
    for path in [folder, *folder.rglob("*")]:
        rights = path.stat().st_mode & 0o777
        if rights != (0o777 if path.is_dir() else 0o666) & ~umask:
            found[str(path.relative_to(folder))] = oct(rights)
    return found


def test_checkpoints_modules_and_caches(
    umask: int, train: Train, spy: Spy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "own"
    place.mkdir()
    monkeypatch.setenv("ADSTILTS_CACHE", str(place / "cache"))
    settings: dict[str, Any] = {"out": str(place / "module"), "method": "lora", "evaluations": 2}
    spy.stop_at(5)
    with pytest.raises(InterruptedTrainingError):
        train(**settings, report_to="spy")
    names = {path.name for path in place.rglob("*")}
    assert {"module.safetensors", "best.safetensors", "optimizer.safetensors"} <= names
    assert {"rng-0.safetensors", "trainer_state.json", "files.json"} <= names
    assert any(name.endswith(".arrow") for name in names)
    assert wrong(place, umask) == {}
    spy.on_step = None
    done = train(**settings, resume=True)
    export(done.path, place / "exported")
    adopt_folder(export(done.path, place / "half", half=True))
    assert wrong(place, umask) == {}
    assert not list(place.rglob("checkpoint-*"))
