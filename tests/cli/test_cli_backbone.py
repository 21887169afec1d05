"""`--backbone` chooses among modules of one name, in every command; without it both are named."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from adapter_stilts.serving import run as serving
from adapter_stilts.serving.pool import ModulePool
from adapter_stilts.zoo import push as pushing
from adapter_stilts.zoo.record import ModuleRecord
from cli_kit import Result, assert_one_line
from fusion_kit import save_fused
from made_modules import make_engine, save_made

Run = Callable[..., Result]
OTHER = {"name": "embedded", "revision": "", "model_type": "bert", "fingerprint": "e" * 16}


@pytest.fixture(scope="module")
def filled(tiny_xlmr: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`squad`, `qa` and `f`, which fuses them, for the tiny backbone and for another one."""
    zoo = tmp_path_factory.mktemp("two") / "zoo"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ADSTILTS_ZOO", str(zoo))
        engine = make_engine(str(tiny_xlmr))
        for name, run in (("squad", "a"), ("qa", "b")):
            save_made(engine, name, "bottleneck", "span", zoo / "tiny" / name, run=run * 16)
        save_fused(engine, "f", ["squad", "qa"], "lean", "span", zoo / "tiny" / "f", run="c" * 16)
    for name, run in (("squad", "1"), ("qa", "2"), ("f", "3")):
        folder = zoo / "embedded" / name
        shutil.copytree(zoo / "tiny" / name, folder)
        record = dataclasses.replace(ModuleRecord.read(folder), run=run * 16, backbone=OTHER)
        bases = {
            each: {**base, "run": {"a": "1", "b": "2"}[base["run"][0]] * 16}
            for each, base in record.bases.items()
        }
        dataclasses.replace(record, bases=bases).write(folder)
    return zoo


@pytest.fixture
def both(filled: Path, run: Run, zoo: Path) -> Run:
    """Calls `adstilts` in a zoo of the test's own."""
    shutil.copytree(filled, zoo)
    return run


COMMANDS: tuple[tuple[str, ...], ...] = (
    ("zoo", "show", "squad"),
    ("zoo", "verify", "squad"),
    ("zoo", "remove", "squad", "--yes"),
    ("zoo", "export", "squad", "--out", "written"),
    ("push", "squad", "--to", "someone/squad"),
    ("merge", "squad", "qa", "--name", "both"),
    ("explain", "f", "--task", "tydiqa", "--langs", "en", "--data", "sample"),
    ("serve", "--with", "squad", "--port", "0"),
    ("predict", "--with", "squad", "--question", "Who?", "--context", "Ann went to Rome."),
    ("evaluate", "tydiqa", "--with", "squad", "--langs", "en", "--data", "sample"),
)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda each: " ".join(each[:2]))
def test_without_it_both_are_named(
    both: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    name = {"explain": "f", "merge": "qa"}.get(command[0], "squad")
    result = both(*command)
    assert_one_line(result, 2, f"embedded/{name}", f"tiny/{name}")
    assert not (tmp_path / "written").exists()


def test_it_chooses_what_is_shown_and_verified(both: Run, tiny_xlmr: Path) -> None:
    for backbone, run in ((str(tiny_xlmr), "a"), ("tiny", "a"), ("embedded", "1")):
        code, out, err = both("zoo", "show", "squad", "--backbone", backbone, "--json")
        assert code == 0, err
        assert json.loads(out)["record"]["run"] == run * 16
    code, out, err = both("zoo", "verify", "squad", "--backbone", str(tiny_xlmr), "--json")
    assert code == 0, err
    assert [Path(each).parent.name for each in json.loads(out)] == ["tiny"]


def test_it_chooses_what_is_removed(both: Run, zoo: Path) -> None:
    code, _, err = both("zoo", "remove", "qa", "--backbone", "embedded", "--yes")
    assert code == 0, err
    assert [each.parent.name for each in zoo.glob("*/qa")] == ["tiny"]
    assert_one_line(both("zoo", "remove", "qa", "--backbone", "embedded", "--yes"), 2, "tiny/qa")
    assert both("zoo", "remove", "qa", "--backbone", "tiny", "--yes")[0] == 0
    assert not list(zoo.glob("*/qa"))


def test_it_chooses_what_is_written_for_others(
    both: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "written"
    given = ("--out", str(out), "--format", "module", "--backbone", "embedded")
    code, _, err = both("zoo", "export", "squad", *given)
    assert code == 0, err
    assert ModuleRecord.read(out).run == "1" * 16
    sent: list[ModuleRecord] = []

    def upload(record: ModuleRecord, *_: Any) -> pushing.Pushed:
        sent.append(record)
        return pushing.Pushed("someone/squad", "0" * 40, "https://hub/someone/squad")

    monkeypatch.setattr(pushing, "_upload", upload)
    code, _, err = both("push", "squad", "--to", "someone/squad", "--backbone", "embedded")
    assert code == 0, err
    assert [each.run for each in sent] == ["1" * 16]
    # A backbone in a folder has no id on the Hub: it is given, and the module named in full.
    assert_one_line(
        both("push", "squad", "--to", "someone/squad", "--backbone", "tiny"), 2, "--backbone"
    )
    named = ("push", "tiny/squad", "--to", "someone/squad", "--backbone", "someone/tiny")
    code, _, err = both(*named)
    assert code == 0, err
    assert (sent[-1].run, sent[-1].backbone["name"]) == ("a" * 16, "someone/tiny")


def test_it_chooses_what_is_merged_and_explained(both: Run, zoo: Path, tiny_xlmr: Path) -> None:
    chosen = ("--backbone", str(tiny_xlmr), "--precision", "fp32")
    code, out, err = both("merge", "squad", "qa", "--name", "both", *chosen, "--json")
    assert code == 0, err
    assert Path(json.loads(out)["path"]).name == "both"
    record = ModuleRecord.read(Path(json.loads(out)["path"]))
    assert "a" * 16 in json.dumps(record.merged) and "1" * 16 not in json.dumps(record.merged)
    given = ("--task", "tydiqa", "--langs", "en", "--data", "sample", "--limit", "2", "--json")
    code, out, err = both("explain", "f", *given, *chosen)
    assert code == 0, err
    found = json.loads(out)
    assert found["composition"] == "f" and sorted(found["sources"]) == ["qa", "squad"]


def test_it_chooses_what_is_served(
    both: Run, tiny_xlmr: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelves: list[ModulePool] = []

    def server(pool: ModulePool, *_: Any, **__: Any) -> Any:
        shelves.append(pool)
        return SimpleNamespace(run=lambda sockets: None, interrupted=False)

    monkeypatch.setattr(serving, "server", server)
    chosen = ("--backbone", str(tiny_xlmr), "--precision", "fp32", "--port", "0")
    code, _, err = both("serve", "--with", "squad", "--zoo", *chosen)
    assert code == 0, err
    runs = {name: each.resolved.record.run[0] for name, each in shelves[0].offers.items()}
    assert runs == {"squad": "a", "qa": "b", "f": "c"}
