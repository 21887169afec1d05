"""Small task files, and the command line in this process."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from cli_kit import Result, call_cli

EXAMPLE = Path(__file__).parents[2] / "examples" / "own_csv"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is kept from test to test."""
    monkeypatch.setenv("ADSTILTS_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("ADSTILTS_DATA", raising=False)


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """The example's folder, in a place of the test's own."""
    return Path(shutil.copytree(EXAMPLE, tmp_path / "own"))


@pytest.fixture
def run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], zoo: Path
) -> Callable[..., Result]:
    """Calls `adstilts` in this process; returns exit code, standard output, standard error."""
    monkeypatch.setenv("COLUMNS", "400")

    return lambda *arguments: call_cli(monkeypatch, capsys, *arguments)
