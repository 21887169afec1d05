"""Two backbones in folders of one name: their modules lie apart, and each answers for its own."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file
from training_kit import SHORT  # type: ignore[import-not-found]

from adapter_stilts import load, train_adapter, train_target
from adapter_stilts.backbones import Backbone, find_backbone
from adapter_stilts.errors import UserError
from adapter_stilts.evaluation.candidates import find_candidates, folders
from adapter_stilts.tasks.registry import get_target
from adapter_stilts.zoo.choice import backbone_folder
from adapter_stilts.zoo.resolve import resolve
from made_modules import make_engine

OPTIONS: dict[str, Any] = {
    **{key: value for key, value in SHORT.items() if key != "task"},
    "limit": 3,
    "dev_limit": 2,
}


@pytest.fixture
def pair(tiny_xlmr: Path, tmp_path: Path, zoo: Path) -> tuple[str, str]:
    """The backbones `a/tiny` and `b/tiny`, of other weights."""
    for name in ("a", "b"):
        shutil.copytree(tiny_xlmr, tmp_path / name / "tiny")
    path = tmp_path / "b" / "tiny" / "model.safetensors"
    weights = load_file(path)
    weights["encoder.layer.1.attention.self.key.weight"] += 0.1
    save_file(weights, path, metadata={"format": "pt"})
    return str(tmp_path / "a" / "tiny"), str(tmp_path / "b" / "tiny")


def test_the_fingerprint_is_that_of_the_model(tiny_backbone: str) -> None:
    assert find_backbone(tiny_backbone).fingerprint == make_engine(tiny_backbone).fingerprint


def test_modules_of_two_folders_of_one_name(pair: tuple[str, str], zoo: Path) -> None:
    first, second = (train_adapter("squad", backbone=each, **OPTIONS) for each in pair)
    mark = second.record.backbone["fingerprint"]
    assert first.path == zoo / "tiny" / "squad"
    assert second.path == zoo / f"tiny-{mark[:8]}" / "squad"
    with pytest.raises(UserError, match="squad already"):
        train_adapter("squad", backbone=pair[1], **OPTIONS)
    again = train_adapter("squad", backbone=pair[1], overwrite=True, **OPTIONS)
    assert again.path == second.path and again.record.run == second.record.run != first.record.run
    for text in ("squad", "average(squad, squad)"):
        with pytest.raises(UserError, match=f"tiny/squad, tiny-{mark[:8]}/squad"):
            resolve(text)
    for backbone, made in (
        *zip(pair, (first, second), strict=True),
        (f"tiny-{mark[:8]}", second),
    ):
        assert resolve("squad", backbone).record.run == made.record.run
        assert load("squad", backbone=backbone, precision="fp32").record.run == made.record.run
        above = train_target("tydiqa", on="squad", backbone=backbone, overwrite=True, **OPTIONS)
        assert above.path == made.path.with_name("tydiqa-on-squad")
    found = [
        folders(find_candidates(get_target("tydiqa"), ["squad"], each), None, each, None)
        for each in pair
    ]
    assert found == [
        [Path.cwd() / "predictions/tiny/squad"],
        [Path.cwd() / f"predictions/tiny-{mark[:8]}/squad"],
    ]
    # The first one moves away: that of the second is still told from it.
    shutil.move(pair[0], f"{pair[0]}-moved")
    assert resolve("squad", pair[1]).record.run == second.record.run


def test_whose_folder_it_is(
    pair: tuple[str, str], zoo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = train_adapter("squad", backbone=pair[0], **OPTIONS)
    read: list[str] = []
    weights = Backbone.weights

    def watched(self: Backbone) -> Any:
        read.append(self.name)
        return weights(self)

    monkeypatch.setattr(Backbone, "weights", watched)
    assert backbone_folder(find_backbone(pair[0])) == zoo / "tiny"
    assert read == []  # the place tells
    other = backbone_folder(find_backbone(pair[1]))
    assert other.name.startswith("tiny-") and read == [pair[1]]
    # The same weights elsewhere are the same backbone; a relative path says nothing.
    shutil.copytree(pair[0], tmp_path / "c" / "tiny")
    assert backbone_folder(find_backbone(str(tmp_path / "c" / "tiny"))) == zoo / "tiny"
    record = made.record
    dataclasses.replace(record, backbone={**record.backbone, "name": "tiny"}).write(made.path)
    monkeypatch.chdir(tmp_path / "b")
    assert backbone_folder(find_backbone("tiny")) == other
    monkeypatch.chdir(tmp_path / "a")
    assert backbone_folder(find_backbone("tiny")) == zoo / "tiny"


def test_an_unfinished_run_of_the_other(pair: tuple[str, str], zoo: Path) -> None:
    work = zoo / "tiny" / "squad.unfinished"
    work.mkdir(parents=True)
    note = {"name": pair[0], "fingerprint": find_backbone(pair[0]).fingerprint}
    (work / "run.json").write_text(json.dumps({"run": "0" * 16, "backbone": note}))
    assert backbone_folder(find_backbone(pair[0])) == zoo / "tiny"
    assert backbone_folder(find_backbone(pair[1])).name.startswith("tiny-")
    for text in ("{", "[]", "{}", '{"backbone": 3}'):
        (work / "run.json").write_text(text)
        assert backbone_folder(find_backbone(pair[1])) == zoo / "tiny"
