"""`adstilts explain` and `adstilts fuse`, as a user types them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from cli_kit import Result, assert_one_line
from fusion_kit import save_fused
from made_modules import make_engine

Run = Callable[..., Result]


@pytest.fixture
def fused(run: Run, tiny: Path, made_zoo: Path, tiny_xlmr: Path, zoo: Path) -> Path:
    """The working folder; `f` fuses two modules."""
    shutil.copytree(made_zoo, zoo)
    engine = make_engine(str(tiny_xlmr))
    save_fused(engine, "f", ["squad", "qa-all"], "lean", "span", zoo / "tiny" / "f", run="f" * 16)
    return tiny


@pytest.fixture(autouse=True)
def own_zoo(tiny: Path, zoo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The zoo of the test, not the one that all tests share."""
    monkeypatch.setenv("ADSTILTS_ZOO", str(zoo))


def test_tables_and_files(run: Run, fused: Path) -> None:
    code, out, _ = run(
        *("explain", "f", "--task", "tiny-qa", "--langs", "en,sw", "--data", "data"),
        *("--limit", "3", "--out", "picture"),
    )
    assert code == 0
    lines = [line.split() for line in out.splitlines()]
    assert out.startswith("f on tiny-qa, test: mean attention, lean fusion")
    assert lines.count(["layer", "qa-all", "squad", "entropy"]) == 2
    assert lines.count(["0", "1.00", "-", "0.00"]) == 2  # squad leaves that layer out
    assert ["language", "qa-all", "squad", "entropy"] in lines
    assert {line[0] for line in lines if line} >= {"en", "sw", "1", "2"}
    assert out.rstrip().endswith("heat map: picture/explanation.svg")
    assert {path.name for path in (fused / "picture").iterdir()} == {
        "explanation.json",
        "explanation.csv",
        "explanation.svg",
    }


def test_json_and_what_is_missing(run: Run, fused: Path) -> None:
    (fused / "data" / "tiny-qa" / "test-sw.json").unlink()
    options = ("--task", "tiny-qa", "--data", "data", "--limit", "2", "--json")
    code, out, _ = run("explain", "f", *options)
    found = json.loads(out)
    assert code == 3
    assert list(found["weights"]) == ["en", "de", "ko"] and list(found["missing"]) == ["sw"]
    assert set(found["weights"]["ko"]["2"]) == {"qa-all", "squad"}


def test_mistakes(run: Run, fused: Path) -> None:
    assert_one_line(run("explain", "squad"), 2, "'squad' has no fusion", "adstilts fuse")
    assert_one_line(run("explain", "squat"), 2, "did you mean 'squad'")
    assert_one_line(run("fuse"), 2, "name two or more modules to fuse, or give --all")
    assert_one_line(run("fuse", "qa", "--all"), 2, "or give --all")
    assert_one_line(run("fuse", "qa", "squad"), 2, "--target")
    assert_one_line(
        run("fuse", "squad", "qa", "--kind", "uniform"), 2, '"uniform(qa, squad)" needs no training'
    )
    assert_one_line(
        run("fuse", "squad", "qa", "--target", "tatoeba"),
        2,
        "tatoeba has no training data to learn a fusion on",
        '--with "fuse(qa, squad)"',
        '--with "uniform(qa, squad)"',
    )
    all_of = ("fuse", "--all", "--target", "xnli")
    assert_one_line(run(*all_of, "--method", "ia3"), 2, "at least 2 ia3 modules", "lora: ")
    assert_one_line(run(*all_of, "--method", "lara"), 2, "did you mean 'lora'")
    result = run("fuse", "squad", "stack(squad qa)", "--target", "xnli")
    assert_one_line(result, 2, "character 13")
    assert "\n              ^" in result[2]
