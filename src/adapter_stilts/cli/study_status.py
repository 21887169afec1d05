"""`adstilts study status` and `stop`."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from adapter_stilts.cli.results import print_json, print_note, print_table
from adapter_stilts.cli.study_options import DATA, FILE, JSON, OUT, UNEQUAL, read_plan
from adapter_stilts.errors import UserError

if TYPE_CHECKING:
    from adapter_stilts.study.folder import StudyFolder
    from adapter_stilts.study.graph import Plan

WATCH_SECONDS = 2.0


def status(
    file: Path = FILE,
    out: Path | None = OUT,
    data: str | None = DATA,
    unequal: bool = UNEQUAL,
    watch: bool = typer.Option(False, "--watch", help="Show it anew every two seconds."),
    as_json: bool = JSON,
) -> None:
    """Show what runs where and how fast, the time left, and what failed."""
    made, folder = read_plan(file, out, data, unequal=unequal)
    while True:
        found = _status(made, folder)
        if watch and not as_json:
            typer.echo("\x1b[2J\x1b[H", nl=False)  # clear the screen
        if as_json:
            print_json(found)
        else:
            _show(found)
        if not watch or not (found["held_by"] or found["running"]):
            return
        time.sleep(WATCH_SECONDS)


def _status(made: Plan, folder: StudyFolder) -> dict[str, Any]:
    from adapter_stilts.study.outlook import look_ahead
    from adapter_stilts.study.run import describe

    outlook = look_ahead(made, folder)
    running = {name: about for name, about in folder.running().items() if name in made.runs}
    failed = {name: log for name, log in folder.failed().items() if name in made.runs}
    seconds = outlook.seconds
    return {
        "runs": len(made.runs),
        "done": outlook.done,
        "held_by": folder.holder(),
        "running": [
            {"id": name, "run": describe(made.runs[name]), **about}
            for name, about in running.items()
        ],
        "seconds_left": None if seconds is None else seconds / max(1, len(running)),
        "time_from": outlook.time_from,
        "failed": [
            {
                "id": name,
                "run": describe(made.runs[name]),
                "log": str(log),
                "says": _last_line(log),
            }
            for name, log in failed.items()
        ],
    }


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1][:500] if lines else ""


def _show(found: dict[str, Any]) -> None:
    running, failed, holder = found["running"], found["failed"], found["held_by"]
    if running:
        rows = [
            [each["run"], str(each.get("host", "")), _since(each), _steps(each), _speed(each)]
            for each in running
        ]
        print_table(["running", "on", "for", "step", "steps/s"], rows)
    where = "nobody runs it"
    if holder.get("pid"):
        where = f"run by process {holder['pid']} on {holder['host']}"
    left = found["runs"] - found["done"] - len(failed) - len(running)
    print_note(
        f"{found['done']} of {found['runs']} runs done, {len(running)} running, {len(failed)} "
        f"failed, {left} to do; {where}"
    )
    if found["seconds_left"]:
        at_a_time = f"{max(1, len(running))} at a time"
        about = f"time left, {at_a_time}: {duration(found['seconds_left'])}"
        print_note(f"{about} (by {found['time_from']})")
    for each in failed:
        print_note(f"failed: {each['run']}: {each['says']} (log: {each['log']})")


def _since(about: dict[str, Any]) -> str:
    try:
        began = datetime.fromisoformat(str(about.get("since")))
        return duration((datetime.now(UTC) - began).total_seconds())
    except (TypeError, ValueError):
        return "?"


def _steps(about: dict[str, Any]) -> str:
    return f"{about['step']}/{about['steps']}" if "step" in about and "steps" in about else ""


def _speed(about: dict[str, Any]) -> str:
    speed = about.get("per_second")
    return f"{speed:.1f}" if speed else ""


def duration(seconds: float) -> str:
    """Two units at most.

    >>> duration(59), duration(3700), duration(200_000)
    ('59 s', '1 h 1 min', '2 d 7 h')
    """
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    for unit, size, smaller, part in (("d", 86400, "h", 3600), ("h", 3600, "min", 60)):
        if whole >= size:
            return f"{whole // size} {unit} {whole % size // part} {smaller}"
    return f"{whole // 60} min"


def stop(
    file: Path = FILE,
    out: Path | None = OUT,
    data: str | None = DATA,
    unequal: bool = UNEQUAL,
) -> None:
    """End `study run`: its runs write a checkpoint first. The same command goes on later."""
    _, folder = read_plan(file, out, data, unequal=unequal)
    holder, running = folder.holder(), folder.running()
    if not holder and not running:
        raise UserError(f"nobody runs study {folder.path}, so nothing is stopped")
    folder.stop_file.touch()
    who = f"process {holder.get('pid')} on {holder.get('host')}" if holder else "no process"
    print_note(f"{who} and {len(running)} runs are asked to end, after a checkpoint")
