"""`adstilts study plan`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from adapter_stilts.cli.results import print_json, print_note, print_table
from adapter_stilts.cli.study_options import DATA, FILE, JSON, OUT, UNEQUAL, read_plan

if TYPE_CHECKING:
    from adapter_stilts.study.graph import Plan, Run
    from adapter_stilts.study.outlook import Outlook
    from adapter_stilts.study.results import Results

_RATES = {"intermediate": "module", "target": "best", "composition": "as is"}
"""What stands in the place of a rate that is tried."""
UNEQUAL_MARK = "†"


def plan(
    file: Path = FILE,
    out: Path | None = OUT,
    data: str | None = DATA,
    unequal: bool = UNEQUAL,
    as_json: bool = JSON,
) -> None:
    """Show every run, what it shares with others, what is done, and what it all takes."""
    from adapter_stilts.study.outlook import look_ahead

    made, folder = read_plan(file, out, data, unequal=unequal)
    done, outlook = folder.results(), look_ahead(made, folder)
    if as_json:
        shared = made.shared()
        runs: list[dict[str, Any]] = [
            {"id": run.id, "done": run.id in done.runs, "used_by": shared[run.id], **run.as_dict()}
            for run in made.runs.values()
        ]
        fields = {
            "runs": runs,
            "outlook": outlook.as_dict(),
            "damaged": done.damaged,
            "absent": made.absent,
        }
        print_json(fields)
        return
    _show_runs(made, done)
    for number, problem in done.damaged.items():
        print_note(f"{folder.results_file}, line {number}: damaged ({problem}): done again")
    _show_sources(made)
    _show_targets(outlook)
    _show_outlook(made, outlook)


def _show_runs(made: Plan, done: Results) -> None:
    shared = made.shared()
    several = len(made.study.methods) > 1
    rows = [
        [
            run.id[:8],
            (f"{run.arm} [{run.method}]" if several else run.arm) + UNEQUAL_MARK * run.unequal,
            _on(run),
            run.target,
            _RATES.get(run.stage) or f"{run.does['lr']:g}",
            "/".join(str(s) for s in (run.seed_intermediate, run.seed_target) if s is not None),
            str(shared[run.id] or ""),
            "done" if run.id in done.runs else "",
        ]
        for run in made.runs.values()
    ]
    print_table(["run", "arm", "on", "for", "rate", "seeds", "used", "state"], rows)
    if any(run.unequal for run in made.runs.values()):
        print_note(f"{UNEQUAL_MARK} steps or rows are not those of the other arms.")


def _on(run: Run) -> str:
    if run.among:
        return f"number {run.does['rank'] + 1}"
    if run.arm in run.intermediate:
        return ""
    return run.intermediate[0] if len(run.intermediate) == 1 else ("all" * bool(run.intermediate))


def _show_sources(made: Plan) -> None:
    """The modules that are taken from a zoo."""
    found = {
        place: content
        for run in made.runs.values()
        for place, content in zip(run.on, run.contents, strict=False)
        if "/" in place
    }
    if found:
        typer.echo("\nFrom the zoo, not trained:")
        for place, content in found.items():
            typer.echo(f"  {Path(place).name:<16} {content}  {_short(place)}")


def _short(place: str) -> str:
    here = Path.cwd()
    return str(Path(place).relative_to(here)) if Path(place).is_relative_to(here) else place


def _show_targets(outlook: Outlook) -> None:
    typer.echo()
    rows = [
        [
            name or "(modules)",
            str(each.runs),
            str(each.done or ""),
            "?" if each.seconds is None else f"{each.seconds / 3600:.1f}",
            f"{points:.1f}" if (points := outlook.detectable.get(name)) is not None else "",
        ]
        for name, each in outlook.parts.items()
    ]
    print_table(["for", "runs", "done", "hours left", "detectable points"], rows)


def _show_outlook(made: Plan, outlook: Outlook) -> None:
    lines = [f"{len(made.runs)} runs, {outlook.done} done, {outlook.left} left."]
    if outlook.seconds is not None:
        hours = f"{outlook.seconds / 3600:.1f} hours"
        lines.append(f"Time left, one run at a time: {hours}, by {outlook.time_from}.")
    if outlook.memory is not None:
        lines.append(f"Memory of a run: {outlook.memory / 1e9:.1f} GB, by {outlook.memory_from}.")
    lines.append(f"Disk for what is left: about {outlook.disk / 1e9:.1f} GB.")
    lines.append(
        "Detectable: the difference between two arms on that target that is found 4 times in 5, "
        f"by {outlook.spread_from}."
    )
    reasons: dict[str, list[str]] = {}
    for name, why in made.absent.items():
        reasons.setdefault(why, []).append(name)
    lines += [
        f"Not here, so that `study run` refuses: {why}: {', '.join(names)}"
        for why, names in reasons.items()
    ]
    typer.echo()
    for line in lines:
        print_note(line)
