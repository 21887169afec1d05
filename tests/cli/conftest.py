"""The command line in this process, and small targets to evaluate with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from cli_kit import Result, call_cli
from evaluation_kit import made_zoo, tiny

__all__ = ["made_zoo", "tiny"]


@pytest.fixture
def run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], zoo: Path
) -> Callable[..., Result]:
    """Calls `adstilts` in this process; returns exit code, standard output, standard error."""
    monkeypatch.delenv("ADSTILTS_DATA", raising=False)
    monkeypatch.setenv("COLUMNS", "400")

    return lambda *arguments: call_cli(monkeypatch, capsys, *arguments)
