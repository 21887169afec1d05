"""`--seeds` in every command that trains, and mean ± sd in what `evaluate` shows."""

from __future__ import annotations

import json
import os
import shutil
import signal
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from adapter_stilts.training.trainer import ModuleTrainer
from cli_kit import Result, assert_one_line
from made_modules import make_engine, remove_module, save_made

Run = Callable[..., Result]
SHORT = (
    *("--data", "sample", "--limit", "8", "--dev-limit", "4", "--steps", "2", "--max-length", "64"),
    *("--precision", "fp32", "--evaluations", "1"),
)


@pytest.fixture(scope="module")
def filled(tiny_xlmr: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`squad` and `mnli`, and a second seed of `squad`."""
    zoo = tmp_path_factory.mktemp("seeds") / "zoo"
    engine = make_engine(str(tiny_xlmr))
    recipe = {"max_length": 64, "stride": 16, "method": "bottleneck"}
    for folder, name, head, seed in (
        ("squad", "squad", "span", 0),
        ("squad-s1", "squad", "span", 1),
        ("mnli", "mnli", "classification", 0),
    ):
        more: dict[str, Any] = {
            "run": folder.encode().hex()[:16].ljust(16, "0"),
            "recipe": {**recipe, "seed": seed},
        }
        save_made(engine, name, "bottleneck", head, zoo / "tiny" / folder, **more)
        remove_module(engine, name)
    return zoo


@pytest.fixture
def train(
    filled: Path,
    run: Run,
    zoo: Path,
    tiny_xlmr: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Run:
    """Calls `adstilts` on the tiny backbone, in a zoo of the test's own."""
    monkeypatch.setenv("ADSTILTS_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    shutil.copytree(filled / "tiny", zoo / tiny_xlmr.name)
    return lambda *given: run(*given, "--backbone", str(tiny_xlmr))


@pytest.fixture
def interrupt(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Ctrl-C in the first step of the training of a seed, once."""

    def at(seed: int) -> None:
        whole = ModuleTrainer.compute_loss
        done: list[bool] = []

        def loss(self: ModuleTrainer, *args: Any, **kwargs: Any) -> Any:
            if self.args.seed == seed and not done:
                done.append(True)
                os.kill(os.getpid(), signal.SIGINT)
            return whole(self, *args, **kwargs)

        monkeypatch.setattr(ModuleTrainer, "compute_loss", loss)

    return at


TRAININGS = {
    "train-target tydiqa --on squad": "tydiqa-on-squad",
    "train-target xcopa": "xcopa",
    "fuse squad mnli --target tydiqa": "tydiqa-fusion-lean-on-fuse-mnli-squad",
    "fuse --all --target xnli --source-lang en": "xnli-fusion-lean-on-fuse-mnli-squad",
    "train-multitask --tasks squad,mnli": "multitask-mnli-squad",
    "train-language sw --text text.txt": "lang-sw",
}


@pytest.mark.parametrize("command", TRAININGS)
def test_an_interrupt_at_the_second_seed(
    train: Run, zoo: Path, tmp_path: Path, interrupt: Callable[[int], None], command: str
) -> None:
    (tmp_path / "text.txt").write_text("".join(f"the old town is {n}\n" for n in range(30)))
    short = SHORT[2:] if command.startswith("train-language") else SHORT
    given = (*command.split(), *short, "--seeds", "0,1")
    interrupt(1)
    before = {each.parent.name for each in zoo.glob("*/*/module.json")}
    assert_one_line(train(*given), 130, "--resume")
    (first,) = {
        each.parent
        for each in zoo.glob("*/*/module.json")
        if each.parent.name not in before and "." not in each.parent.name
    }
    written = (first / "module.json").read_bytes()
    assert_one_line(train(*given), 2, str(first))  # not over what is there
    code, out, err = train(*given, "--resume", "--json")
    assert code == 0, err
    found = json.loads(out)
    assert found["seeds"] == [0, 1] and found["name"] == f"{first.name}-s*"
    folders = [Path(each["path"]) for each in found["modules"]]
    assert folders == [first, first.with_name(f"{first.name}-s1")]
    assert (first / "module.json").read_bytes() == written
    assert [each["recipe"]["seed"] for each in found["modules"]] == [0, 1]
    assert not list(zoo.glob("*/*.unfinished"))
    for metric, spread in found["scores"].items():
        scores = [each["scores"][metric] for each in found["modules"]]
        assert spread["mean"] == pytest.approx(statistics.fmean(scores))
        assert spread["sd"] == pytest.approx(statistics.stdev(scores))
    if command.startswith("fuse"):  # one seed of squad is a source
        bases = found["modules"][1]["bases"]
        assert sorted(Path(each["path"]).name for each in bases.values()) == ["mnli", "squad"]


def test_the_table_of_mean_and_deviation(
    train: Run, monkeypatch: pytest.MonkeyPatch, zoo: Path
) -> None:
    given = (
        *("evaluate", "tydiqa", "--langs", "en,fi", "--data", "sample", "--limit", "6"),
        *("--precision", "fp32", "--with", "squad-s*"),
    )
    code, out, err = train(*given, "--json")
    assert code == 0, err
    (found,) = json.loads(out)
    assert found["composition"] == "squad-s*"
    assert [each["seed"] for each in found["seeds"]] == [0, 1]
    assert [each["composition"] for each in found["seeds"]] == ["squad", "squad-s1"]
    spread = found["summary"]["languages"]["fi"]["f1"]
    scores = [each["languages"]["fi"]["scores"]["f1"] for each in found["seeds"]]
    assert spread == {
        "mean": pytest.approx(statistics.fmean(scores)),
        "sd": pytest.approx(statistics.stdev(scores)),
        "count": 2,
    }
    monkeypatch.setenv("COLUMNS", "80")
    code, out, err = train(*given)
    assert code == 0, err
    assert "with squad-s*: mean ± sd of the seeds 0, 1" in out
    row = next(line for line in out.splitlines() if line.startswith("fi "))
    assert f"{spread['mean']:.1f} ± {spread['sd']:.1f}" in row
    code, out, err = train(*given, "--with", "squad")
    assert code == 0, err
    lines = out.splitlines()
    table = lines[: next(n for n, line in enumerate(lines) if line.startswith("predictions:"))]
    assert all(len(line) <= 80 for line in table)
    assert f"{spread['mean']:.1f} ± {spread['sd']:.1f}" in out
