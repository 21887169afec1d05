"""The command line in this process, and small targets to evaluate with it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from adapter_stilts import cli
from cli_kit import Result
from evaluation_kit import made_zoo, tiny

__all__ = ["made_zoo", "tiny"]


@pytest.fixture
def run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], zoo: Path
) -> Callable[..., Result]:
    """Calls `adstilts` in this process; returns exit code, standard output, standard error."""
    monkeypatch.delenv("ADSTILTS_DATA", raising=False)
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
