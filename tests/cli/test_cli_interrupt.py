"""Ctrl-C at any moment: one plain line, and exit code 130."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import adapter_stilts.serving.run as serving
from adapter_stilts.entry import INTERRUPTED
from adapter_stilts.serving.limits import ServiceOptions
from cli_kit import Result, assert_one_line, call_cli

LINE = f"adstilts: {INTERRUPTED}\n"
IN_AN_IMPORT = """
import sys
class Interrupted:
    def find_spec(self, name, *others):
        if name == sys.argv[-1]:
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupted())
from adapter_stilts.entry import main
main()
"""
Call = Callable[..., Result]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    return lambda *arguments: call_cli(monkeypatch, capsys, *arguments)


def _interrupt(*args: Any, **options: Any) -> Any:
    raise KeyboardInterrupt


@pytest.mark.parametrize("module", ["adapter_stilts.cli", "typer", "adapter_stilts.tasks.target"])
def test_in_an_import(module: str) -> None:
    command = [sys.executable, "-c", IN_AN_IMPORT, "tasks", module]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", LINE)


def test_in_a_command(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapter_stilts.data.status.layouts", _interrupt)
    assert call("tasks", "squad", "--data", "sample") == (130, "", LINE)


def test_before_a_command(call: Call, tmp_path: Path) -> None:
    """While plug-ins are loaded; no command has begun yet."""
    plugin = tmp_path / "mine.py"
    plugin.write_text("raise KeyboardInterrupt\n", encoding="utf-8")
    assert call("--include", str(plugin), "tasks") == (130, "", LINE)


@pytest.mark.parametrize("command", ["evaluate", "compare"])
def test_where_languages_are_kept_it_is_said(
    call: Call, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setattr(f"adapter_stilts.{PLACES[command]}", _interrupt)
    given = ("xnli", "--with", "x") if command == "evaluate" else ("x", "y", "--on", "xnli")
    code, out, err = call(command, *given)
    assert (code, out) == (130, "")
    assert "finished languages are kept" in err
    assert_one_line((code, out, err), 130)


PLACES = {"evaluate": "evaluation.run.evaluate", "compare": "study.compare.compare"}


@pytest.mark.parametrize("interrupted", [True, False])
def test_a_service(monkeypatch: pytest.MonkeyPatch, interrupted: bool) -> None:
    """It answers what has come, then ends as all commands do; SIGTERM is how it is meant to end."""

    class Stopped:
        def __init__(self, *args: Any) -> None:
            self.interrupted = interrupted

        def run(self, sockets: list[Any]) -> None:
            pass

    monkeypatch.setattr(serving, "stock", lambda *args, **options: None)
    monkeypatch.setattr(serving, "server", Stopped)

    def run() -> None:
        serving.run([], ServiceOptions(port=0), lambda *args: None)

    if interrupted:
        with pytest.raises(KeyboardInterrupt):
            run()
    else:
        run()
