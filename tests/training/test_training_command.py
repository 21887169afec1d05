"""The command of a card runs as it stands: own tasks, files, folders, plug-ins, modules below."""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from test_training_again import untrained  # type: ignore[import-not-found]  # noqa: F401
from training_kit import SHORT  # type: ignore[import-not-found]

import adapter_stilts as ads
from adapter_stilts import cli, plugins
from adapter_stilts.data.parts import samples_folder
from adapter_stilts.errors import UserError
from adapter_stilts.registered import restore, snapshot
from adapter_stilts.tasks.registry import get_task
from adapter_stilts.training.run import Trained
from adapter_stilts.zoo.provenance import command_text
from adapter_stilts.zoo.push import export
from adapter_stilts.zoo.record import ModuleRecord
from fusion_kit import copy_zoo

GIVEN: dict[str, Any] = {key: SHORT[key] for key in ("limit", "dev_limit", "quiet")}
MINE = "name: mine\nhead: classification\nfiles: {train: rows.csv, dev: rows.csv}\n"
ROWS = "text,label\nFine soup.,good\nBad soup.,bad\nGood bread.,good\nOld bread.,bad\n"
MEDIAN = """
import adapter_stilts as ads
@ads.merge_method
def median(tensors, weights):
    "The first one."
    return tensors[0]
"""
PLUG_IN = """
import adapter_stilts as ads
@ads.metric("right", heads="classification")
def right(predictions, references):
    return 100 * sum(map(int.__eq__, predictions, references)) / len(references)
ads.register("own.yaml")
"""
METHOD = """
import adapter_stilts as ads
from adapters import SeqBnConfig
@ads.adapter_method("wide")
def wide(options):
    return SeqBnConfig(reduction_factor=2)
"""


@pytest.fixture(autouse=True)
def nothing_added(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before = snapshot()
    monkeypatch.setattr(plugins, "_done", {})
    yield
    restore(before)


@pytest.fixture
def folder(tmp_path: Path, tiny_xlmr: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder where the training is done: data, task files, plug-ins, and a zoo."""
    place = tmp_path / "here and now"
    place.mkdir()
    (place / "rows.csv").write_text(ROWS, "utf-8")
    (place / "mine.yaml").write_text(MINE, "utf-8")
    (place / "german.yaml").write_text(f"{MINE}languages: [de]\n", "utf-8")
    (place / "own.yaml").write_text(f"{MINE.replace('mine', 'own')}metric: right\n", "utf-8")
    for name, code in (("plug", PLUG_IN), ("method", METHOD), ("median", MEDIAN)):
        (place / f"{name}.py").write_text(code, "utf-8")
    shutil.copytree(samples_folder() / "mnli", place / "data" / "mnli")
    copy_zoo(str(tiny_xlmr), place / "zoo" / "tiny", "bottleneck")
    monkeypatch.chdir(place)
    monkeypatch.delenv("ADSTILTS_ZOO", raising=False)
    return place


def _task_file(backbone: str) -> Trained:
    return ads.train_adapter("mine.yaml", backbone=backbone, **GIVEN)


def _target_file(backbone: str) -> Trained:
    return ads.train_target(Path("mine.yaml"), backbone=backbone, **GIVEN)


def _german(backbone: str) -> Trained:
    return ads.train_adapter("german.yaml", backbone=backbone, **GIVEN)


def _rows(backbone: str) -> Trained:
    files: Any = {"train_file": "rows.csv", "dev_file": Path("rows.csv")}
    return ads.train_adapter(head="classification", backbone=backbone, **files, **GIVEN)


def _file(backbone: str) -> Trained:
    given: Any = {"data": "sample", "train_file": "data/mnli/train.jsonl"}
    return ads.train_adapter("mnli", backbone=backbone, **given, **GIVEN)


def _files(backbone: str) -> Trained:
    given: Any = {"train_file": "data/mnli/train.jsonl"}
    given |= {"dev_file": "data/mnli/validation_matched.jsonl"}
    return ads.train_adapter("mnli", backbone=backbone, **given, **GIVEN)


def _data(backbone: str) -> Trained:
    return ads.train_adapter("mnli", backbone=backbone, data="data", **GIVEN)


def _several(backbone: str) -> Trained:
    given: Any = {"data": "data", **GIVEN}
    return ads.train_multitask(["mnli", "mine.yaml"], backbone=backbone, **given)


def _on(backbone: str) -> Trained:
    return ads.train_target("mine.yaml", on="mnli", backbone=backbone, **GIVEN)


def _on_stack(backbone: str) -> Trained:
    return ads.train_target("mine.yaml", on="squad-on-sw", backbone=backbone, **GIVEN)


def _fuse(backbone: str) -> Trained:
    return ads.fuse(["mnli", "qa"], "mine.yaml", backbone=backbone, **GIVEN)


def _fuse_stacks(backbone: str) -> Trained:
    sources = ["stack(sw, mnli)", "stack(sw, qa)"]
    return ads.fuse(sources, "mine.yaml", backbone=backbone, **GIVEN)


def _on_fusion(backbone: str) -> Trained:
    ads.fuse(["mnli", "qa"], "mine.yaml", backbone=backbone, **GIVEN)
    return ads.train_target("mine.yaml", on="fuse(mnli, qa)", backbone=backbone, **GIVEN)


def _plug_in(backbone: str) -> Trained:
    ads.include("plug.py")
    return ads.train_adapter("own", backbone=backbone, **GIVEN)


def _method(backbone: str) -> Trained:
    ads.include("plug.py", "method.py")
    given: Any = {"data": "sample", **GIVEN}
    return ads.train_adapter("mnli", method="wide", backbone=backbone, **given)


def _merged(backbone: str) -> Trained:
    ads.include("median.py")
    return ads.train_target("mine.yaml", on="median(mnli, qa)", backbone=backbone, **GIVEN)


NAMES = {
    _task_file: "mine.yaml",
    _target_file: "mine.yaml",
    _german: "--source-lang de",
    _rows: "--head classification",
    _file: "--train-file",
    _files: "--dev-file",
    _data: "--data",
    _several: "mine.yaml",
    _on: "zoo/tiny/mnli",
    _on_stack: "zoo/tiny/sw",
    _fuse: "zoo/tiny/qa",
    _fuse_stacks: "zoo/tiny/sw",
    _on_fusion: "fusion-lean",
    _plug_in: "plug.py",
    _method: "method.py",
    _merged: "median.py",
}


@pytest.mark.parametrize("make", NAMES, ids=lambda make: make.__name__.strip("_"))
@pytest.mark.usefixtures("untrained")
def test_the_command_runs_as_it_stands(
    folder: Path, tiny_xlmr: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[..., Trained]
) -> None:
    before = snapshot()
    trained = make(str(tiny_xlmr))
    restore(before)
    plugins._done.clear()
    (line,) = re.findall(
        "^adstilts (.*)$", (trained.path / "README.md").read_text("utf-8"), re.MULTILINE
    )
    assert NAMES[make] in line, line
    assert line.count("--include") == (make in (_plug_in, _method, _merged))
    monkeypatch.chdir(trained.path)
    given = ["adstilts", *shlex.split(line), "--out", str(folder / "again")]
    monkeypatch.setattr(sys, "argv", given)
    cli.main()  # what fails ends in SystemExit
    again = ModuleRecord.read(folder / "again")
    assert again.run == trained.record.run
    assert again.command == trained.record.command


@pytest.mark.usefixtures("untrained")
def test_others_see_names_without_the_folders_of_this_machine(
    folder: Path, tiny_xlmr: Path
) -> None:
    ads.include("plug.py")
    own: Any = {"train_file": "rows.csv", **GIVEN}
    trained = ads.train_target("own", on="mnli", backbone=str(tiny_xlmr), **own)
    shared = export(trained.path, folder / "out", library="module", backbone="someone/tiny")
    card = (shared / "README.md").read_text("utf-8")
    assert str(folder) not in card and str(folder) not in (shared / "module.json").read_text()
    assert "train-target own --on mnli" in card
    assert "--train-file rows.csv --include plug.py" in card
    assert "`rows.csv`, `plug.py`: ask whoever trained it for them" in card


@pytest.mark.usefixtures("untrained")
def test_a_package_is_named(folder: Path, tiny_xlmr: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    about = folder / "some_package-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Name: some-package\nVersion: 1.0\n", "utf-8")
    (about / "entry_points.txt").write_text(f"[{plugins.GROUP}]\nown = method\n", "utf-8")
    monkeypatch.syspath_prepend(str(folder))
    plugins.load_plugins()
    trained = ads.train_adapter("mine.yaml", method="wide", backbone=str(tiny_xlmr), **GIVEN)
    sys.modules.pop("method")
    assert "--include" not in command_text(trained.record)
    card = (trained.path / "README.md").read_text("utf-8")
    assert "It takes what a plug-in adds: install `some-package`." in card


@pytest.mark.usefixtures("untrained")
def test_no_command_where_a_script_registered_what_it_takes(folder: Path, tiny_xlmr: Path) -> None:
    spec = get_task("mine.yaml")
    trained = ads.train_adapter(spec, backbone=str(tiny_xlmr), **GIVEN)
    assert command_text(trained.record) == ""

    @ads.metric("unlike", heads="classification")
    def unlike(predictions: list[int], references: list[int]) -> float:
        return 0.0

    text = MINE + "metric: unlike\n"
    (folder / "mine.yaml").write_text(text, "utf-8")
    trained = ads.train_adapter("mine.yaml", backbone=str(tiny_xlmr), **GIVEN, overwrite=True)
    assert command_text(trained.record) == ""
    assert "Make it again" not in (trained.path / "README.md").read_text("utf-8")
    with pytest.raises(UserError, match="unlike"):
        restore({kind: {} for kind in snapshot()})
        get_task("mine.yaml")
