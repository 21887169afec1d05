"""Small task files, and the command line in this process."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from adapter_stilts import cli
from cli_kit import Result

EXAMPLE = Path(__file__).parents[2] / "examples" / "own_csv"


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """The example's folder, in a place of the test's own."""
    return Path(shutil.copytree(EXAMPLE, tmp_path / "own"))


@pytest.fixture
def run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], zoo: Path, tmp_path: Path
) -> Callable[..., Result]:
    """Calls `adstilts` in this process; returns exit code, standard output, standard error."""
    monkeypatch.delenv("ADSTILTS_DATA", raising=False)
    monkeypatch.setenv("ADSTILTS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "400")

    def call(*arguments: str) -> Result:
        monkeypatch.setattr(sys, "argv", ["adstilts", *arguments])
        code = 0
        try:
            cli.main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return call
