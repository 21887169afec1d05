"""What tests of the command line share."""

from __future__ import annotations

import sys

import pytest

from adapter_stilts import cli

Result = tuple[int, str, str]
"""Exit code, standard output, standard error."""


def call_cli(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str
) -> Result:
    """Calls `adstilts` in this process."""
    monkeypatch.setattr(sys, "argv", ["adstilts", *arguments])
    code = 0
    try:
        cli.main()
    except SystemExit as stop:
        code = int(stop.code or 0)
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def assert_one_line(result: Result, code: int, *words: str) -> None:
    """The command ended with that code and one line that has these words."""
    assert result[0] == code, result
    lines = [line for line in result[2].splitlines() if line.startswith("adstilts:")]
    assert len(lines) == 1, result[2]
    assert "Traceback" not in result[2]
    for word in words:
        assert word in lines[0], lines[0]
