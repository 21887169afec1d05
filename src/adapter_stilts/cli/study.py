"""`adstilts study`: the group of commands about whole grids of runs."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from adapter_stilts.cli.options import JSON, derived_options, with_options
from adapter_stilts.cli.results import print_json, print_note, print_table
from adapter_stilts.errors import UserError, counted, unknown
from adapter_stilts.paths import check_writable, from_here
from adapter_stilts.study.engine import EngineOptions

if TYPE_CHECKING:
    from adapter_stilts.study.folder import Results, StudyFolder
    from adapter_stilts.study.graph import Plan, Run
    from adapter_stilts.study.outlook import Outlook

SOME_FAILED = 1
FILE = typer.Argument(help="The study's YAML file; `adstilts study new` writes one.")
OUT = typer.Option(None, "--out", help="Folder of the study [studies-out/NAME].")
DATA = typer.Option(
    None, "--data", help="hub, sample, or a folder with data, in place of the study's own."
)
UNEQUAL = typer.Option(
    False, "--unequal", help="Allow arms with budgets of their own; every table marks them."
)

study = typer.Typer(
    help="Plan, run and compare whole grids of trainings.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


def register(app: typer.Typer) -> None:
    """Adds the group."""
    app.add_typer(study, name="study")


def read_plan(
    file: Path, out: Path | None, data: str | None, *, unequal: bool
) -> tuple[Plan, StudyFolder]:
    """The plan of a study's file, and its folder."""
    from adapter_stilts.study.folder import StudyFolder
    from adapter_stilts.study.plan import make_plan
    from adapter_stilts.study.spec_file import load_study

    spec = load_study(file, unequal=unequal)
    folder = StudyFolder(out or Path("studies-out") / spec.name)
    if folder.path.exists() and not folder.path.is_dir():
        raise UserError(f"{folder.path} is a file: choose another --out")
    return make_plan(spec, data), folder


@study.command("new")
def new(file: Path = typer.Argument(help="Where to write it, such as study.yaml.")) -> None:
    """Write a commented study file to start from."""
    from adapter_stilts.study.spec_file import template

    if file.suffix not in (".yaml", ".yml"):
        raise UserError(f"{file}: a study file's name ends in .yaml")
    try:
        with file.open("x", encoding="utf-8") as written:
            written.write(template())
    except FileExistsError:
        raise UserError(f"{file} is there already: choose another name") from None
    except OSError as error:
        raise UserError(f"{file} cannot be written ({error.strerror})") from error
    typer.echo(f"{file}: edit it, then `adstilts study plan {file}`")


_RATES = {"intermediate": "module", "target": "best", "composition": "as is"}
"""What stands in the place of a rate that is tried."""
UNEQUAL_MARK = "†"


@study.command("plan")
def plan(
    file: Path = FILE,
    out: Path | None = OUT,
    data: str | None = DATA,
    unequal: bool = UNEQUAL,
    as_json: bool = JSON,
) -> None:
    """Show every run, what it shares with others, what is done, and what it all takes."""
    from adapter_stilts.study.outlook import look_ahead

    made, folder = read_plan(file, out, data, unequal=True)  # what can be seen can be judged
    done, outlook = folder.results(made), look_ahead(made, folder)
    if as_json:
        shared = made.count_uses()
        runs: list[dict[str, Any]] = [
            {"id": run.id, "done": run.id in done.runs, "used_by": shared[run.id], **vars(run)}
            for run in made.runs.values()
        ]
        damage = {"damaged": done.damaged, "wrong": done.wrong}
        print_json({"runs": runs, "outlook": outlook.as_dict(), **damage, "absent": made.absent})
        return
    _show_runs(made, done)
    for line in _damaged(made, folder, done, outlook):
        print_note(line)
    if own := [f"'{arm.arm}'" for arm in made.study.arms if arm.unequal and not unequal]:
        print_note(
            f"{', '.join(own)}: a budget of its own, so that arms are not comparable: "
            "`study run` and `study export` refuse it, unless --unequal is said."
        )
    _show_sources(made)
    _show_targets(outlook)
    _show_outlook(made, outlook)


def _damaged(made: Plan, folder: StudyFolder, done: Results, outlook: Outlook) -> list[str]:
    """A line for every record that is none or not of its run, and for damaged items.

    Of these, those are known that were read to tell what can be detected.
    """
    from adapter_stilts.study.run import describe

    return [
        *(
            f"{folder.results_file}, line {number}: damaged ({problem}): done again"
            for number, problem in done.damaged.items()
        ),
        *(
            f"damaged, done again: {describe(made.runs[name])}: {problem}"
            for name, problem in done.wrong.items()
        ),
        *(f"damaged, done again: {each}" for each in outlook.damaged),
    ]


def _show_runs(made: Plan, done: Results) -> None:
    shared = made.count_uses()
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
    if made.from_zoo:
        typer.echo("\nFrom the zoo, not trained:")
    for place, content in made.from_zoo.items():
        typer.echo(f"  {place.name:<16} {content}  {from_here(place)}")


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
    lines = [f"{counted(len(made.runs), 'run')}, {outlook.done:,} done, {outlook.left:,} left."]
    if outlook.seconds is None:
        lines.append(f"Time left: not known yet ({outlook.time_from}).")
    else:
        hours = f"{outlook.seconds / 3600:.1f} hours"
        lines.append(f"Time left, one run at a time: {hours}, by {outlook.time_from}.")
    if outlook.memory is None:
        lines.append(f"Memory of a run: not known yet ({outlook.memory_from}).")
    else:
        lines.append(f"Memory of a run: {outlook.memory / 1e9:.1f} GB, by {outlook.memory_from}.")
    lines += [
        f"Disk for what is left: about {outlook.disk / 1e9:.1f} GB.",
        "Detectable: the difference between two arms on that target that is found 4 times in 5, "
        f"by {outlook.spread_from}.",
    ]
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


def run(
    file: Path = FILE,
    out: Path | None = OUT,
    data: str | None = DATA,
    unequal: bool = UNEQUAL,
    **options: Any,
) -> None:
    """Do all runs that are not done; the same command goes on after an interruption.

    On Ray and Slurm, all machines must see the study's folder, its data and the folder that you
    start from, at the same path.

    Exit code 1: some runs failed, and their logs are named.
    """
    chosen = EngineOptions(**options)
    chosen.check()  # before what takes seconds to import

    from adapter_stilts.study.engine import make_engine
    from adapter_stilts.study.run import run_study

    made, folder = read_plan(file, out, data, unequal=unequal)
    check_writable(folder.path)
    working = make_engine(folder, chosen, print_note)
    found = run_study(made, folder, working, print_note)
    said = f"{len(found.done)} of {counted(len(made.runs), 'run')} done"
    if found.failed:
        said += f", {len(found.failed)} failed"
    if found.blocked:
        said += f", {counted(len(found.blocked), 'run')} after that not done"
    print_note(said)
    if found.stopped:
        typer.echo("stopped: the same command goes on")
        raise typer.Exit(130)
    if found.failed:
        raise typer.Exit(SOME_FAILED)


study.command("run")(
    with_options(run, run, derived_options(EngineOptions, EngineOptions, [EngineOptions]))
)


@study.command("export")
def export(
    file: Path = FILE,
    out: Path | None = OUT,
    data: str | None = DATA,
    form: str = typer.Option("commands", "--format", help="commands, snakemake or slurm."),
    unequal: bool = UNEQUAL,
) -> None:
    """Print the runs for another program to do; what each is, is written in the study's folder."""
    from adapter_stilts.study.run import FORMATS, export_plan

    if form not in FORMATS:
        raise unknown("format", form, FORMATS)
    made, folder = read_plan(file, out, data, unequal=unequal)
    check_writable(folder.path)
    warn = partial(typer.echo, err=True)  # beside what is printed for another program
    typer.echo(export_plan(made, folder, form, warn), nl=False)


WATCH_SECONDS = 2.0


@study.command("status")
def status(
    file: Path = FILE,
    out: Path | None = OUT,
    data: str | None = DATA,
    watch: bool = typer.Option(False, "--watch", help="Show it anew every two seconds."),
    as_json: bool = JSON,
) -> None:
    """Show what runs where and how fast, the time left, and what failed."""
    made, folder = read_plan(file, out, data, unequal=True)  # which is said where it is run
    try:
        while True:
            found = _status(made, folder)
            if as_json:
                print_json(found)
            else:
                typer.echo("\x1b[2J\x1b[H" * watch, nl=False)
                _show(found)
            if not (watch and (found["held_by"] or found["running"])):
                return
            time.sleep(WATCH_SECONDS)
    except KeyboardInterrupt:
        if not watch:
            raise
        raise typer.Exit(130) from None  # who watches has seen enough


def _status(made: Plan, folder: StudyFolder) -> dict[str, Any]:
    from adapter_stilts.study.folder import last_line
    from adapter_stilts.study.outlook import look_ahead
    from adapter_stilts.study.run import describe

    def told(runs: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
        own = {name: about for name, about in runs.items() if name in made.runs}
        return [{"id": k, "run": describe(made.runs[k]), **about} for k, about in own.items()]

    outlook, running = look_ahead(made, folder), told(folder.running())
    results = folder.results(made)
    # A run that was set aside may have been done since, by another program.
    logs = [each for each in folder.failed().items() if each[0] not in results.runs]
    seconds = outlook.seconds
    begun = {*results.runs, *dict(logs), *(each["id"] for each in running)}
    return {
        "runs": len(made.runs),
        "done": outlook.done,
        "to_do": len(made.runs.keys() - begun),
        "held_by": folder.holder(),
        "running": running,
        "seconds_left": None if seconds is None else seconds / max(1, len(running)),
        "time_from": outlook.time_from,
        "failed": told({k: {"log": str(log), "says": last_line(log)} for k, log in logs}),
        "damaged": _damaged(made, folder, results, outlook),
    }


def _show(found: dict[str, Any]) -> None:
    running, failed, holder = found["running"], found["failed"], found["held_by"]
    if running:
        rows = [
            [
                each["run"],
                str(each.get("host", "")),
                _since(each),
                f"{each['step']}/{each['steps']}" if {"step", "steps"} <= each.keys() else "",
                f"{speed:.1f}" if (speed := each.get("per_second")) else "",
            ]
            for each in running
        ]
        print_table(["running", "on", "for", "step", "steps/s"], rows)
    where = f"run by process {holder['pid']} on {holder['host']}" if holder.get("pid") else ""
    print_note(
        f"{found['done']} of {counted(found['runs'], 'run')} done, {len(running)} running, "
        f"{len(failed)} failed, {found['to_do']} to do; {where or 'nobody runs it'}"
    )
    if found["seconds_left"]:
        left = f"{max(1, len(running))} at a time: {duration(found['seconds_left'])}"
        print_note(f"time left, {left} (by {found['time_from']})")
    elif found["seconds_left"] is None:
        print_note(f"time left: not known yet ({found['time_from']})")
    for line in found["damaged"]:
        print_note(line)
    for each in failed:
        print_note(f"failed: {each['run']}: {each['says']} (log: {each['log']})")


def _since(about: dict[str, Any]) -> str:
    try:
        began = datetime.fromisoformat(str(about.get("since")))
        return duration((datetime.now(UTC) - began).total_seconds())
    except (TypeError, ValueError):
        return "?"


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


@study.command("stop")
def stop(file: Path = FILE, out: Path | None = OUT, data: str | None = DATA) -> None:
    """End `study run`: its runs write a checkpoint first. The same command goes on later."""
    _, folder = read_plan(file, out, data, unequal=True)
    holder, running = folder.holder(), folder.running()
    if not holder and not running:
        raise UserError(f"nobody runs study {folder.path}, so nothing is stopped")
    folder.stop_file.touch()
    who = f"process {holder.get('pid')} on {holder.get('host')}" if holder else "no process"
    print_note(f"asked to end, after a checkpoint: {who} and {counted(len(running), 'run')}")


@study.command("report")
def report(
    file: Path = typer.Argument(help="The study's YAML, which declares its contrasts."),
    out: Path | None = OUT,
    to: Path | None = typer.Option(None, "--to", help="Folder of the report [OUT/report]."),
    recommended: Path | None = typer.Option(
        None,
        "--recommended",
        help="A file of what `adstilts recommend TARGET --json` printed for the targets, one after "
        "the other: the report says what following it would have lost.",
    ),
    draws: int = typer.Option(2000, "--draws", help="Of the bootstrap."),
) -> None:
    """Say what a study shows, from its records alone.

    Writes a page that opens offline, Markdown, LaTeX, a CSV a table, and every chart as PDF and
    SVG. Of an unfinished study, it says what is missing.
    """
    from adapter_stilts.paths import check_replaceable
    from adapter_stilts.study.compare import check_draws
    from adapter_stilts.study.findings import read_recommended, read_study

    check_draws(draws)
    data, contrasts = read_study(file, out)
    place = data.folder / "report" if to is None else to
    check_replaceable(place, "--out" if to is None else "--to")
    from adapter_stilts.report.page import PAGE, make_report, write_report
    from adapter_stilts.report.tables import show_cell

    first = read_recommended(recommended, data) if recommended else {}
    made = make_report(data, contrasts, recommended=first, draws=draws)
    write_report(made, place)
    for line in (*made.answers, *made.warnings):
        print_note(line)
    for table in made.tables:
        if table.name in ("matrix", "contrasts", "targets", "regret"):
            typer.echo(f"\n{table.title}")
            print_table(table.columns, [[show_cell(cell) for cell in row] for row in table.rows])
            if table.note:
                print_note(table.note)
    typer.echo(f"\nreport: {place / PAGE}")
