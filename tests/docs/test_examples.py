"""Every example runs; on a tiny backbone, in few steps, from the bundled samples."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
SMALL = ("compare", "fuse", "own_language", "stack_and_evaluate", "train", "train_and_use")
ELSEWHERE = {"demo": "tests/test_shipped_zoo.py"}


@pytest.fixture(autouse=True)
def _here(zoo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ADSTILTS_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("ADSTILTS_DATA", raising=False)


def test_every_example_is_run() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.py")} == {*SMALL, *ELSEWHERE}


@pytest.mark.parametrize("name", SMALL)
def test_example(name: str, tiny_xlmr: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main = runpy.run_path(str(EXAMPLES / f"{name}.py"))["main"]
    main(str(tiny_xlmr), steps=2, evaluations=1)
    assert capsys.readouterr().out.strip()
