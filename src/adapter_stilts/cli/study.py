"""`adstilts study`: the group of commands about whole grids of runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from adapter_stilts.cli.show import print_table
from adapter_stilts.cli.study_report import report
from adapter_stilts.errors import UserError, unknown

if TYPE_CHECKING:
    from adapter_stilts.study.folder import StudyFolder
    from adapter_stilts.study.plan import Plan

FILE = typer.Argument(help="The study's YAML file; `adstilts study new` writes one.")
OUT = typer.Option(None, "--out", help="Folder of the study [studies-out/NAME].")
UNEQUAL = typer.Option(
    False, "--unequal", help="Allow arms with budgets of their own; every table marks them."
)
JSON = typer.Option(False, "--json", help="Print everything as JSON.")
SOME_FAILED = 1

study = typer.Typer(
    help="Plan, run and compare whole grids of trainings.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


def register(app: typer.Typer) -> None:
    """Adds the group."""
    study.command("report")(report)
    app.add_typer(study, name="study")


def read_plan(file: Path, out: Path | None, *, unequal: bool) -> tuple[Plan, StudyFolder]:
    """The plan of a study's file, and its folder."""
    from adapter_stilts.study.folder import StudyFolder
    from adapter_stilts.study.plan import make_plan
    from adapter_stilts.study.spec import load_study

    spec = load_study(file, unequal=unequal)
    return make_plan(spec), StudyFolder(out or Path("studies-out") / spec.name)


@study.command("new")
def new(file: Path = typer.Argument(help="Where to write it, such as study.yaml.")) -> None:
    """Write a commented study file to start from."""
    from adapter_stilts.study.template import TEMPLATE

    if file.suffix not in (".yaml", ".yml"):
        raise UserError(f"{file}: a study file's name ends in .yaml")
    try:
        with file.open("x", encoding="utf-8") as written:
            written.write(TEMPLATE)
    except FileExistsError:
        raise UserError(f"{file} is there already: choose another name") from None
    except OSError as error:
        raise UserError(f"{file} cannot be written ({error.strerror})") from error
    typer.echo(f"{file}: edit it, then `adstilts study plan {file}`")


@study.command("plan")
def plan(
    file: Path = FILE,
    out: Path | None = OUT,
    unequal: bool = UNEQUAL,
    as_json: bool = JSON,
) -> None:
    """Show every run, what it shares with others, what is done, and what it all takes."""
    from adapter_stilts.study.outlook import look_ahead
    from adapter_stilts.study.run import describe

    made, folder = read_plan(file, out, unequal=unequal)
    done, shared, outlook = folder.results(), made.shared(), look_ahead(made, folder)
    if as_json:
        runs: list[dict[str, Any]] = [
            {"id": run.id, "done": run.id in done.runs, "used_by": shared[run.id], **run.as_dict()}
            for run in made.runs.values()
        ]
        fields = {"runs": runs, "outlook": vars(outlook), "damaged": done.damaged}
        typer.echo(json.dumps(fields, ensure_ascii=False, allow_nan=False, indent=1))
        return
    rows = [
        [describe(run), str(shared[run.id] or ""), "done" if run.id in done.runs else ""]
        for run in made.runs.values()
    ]
    print_table(["run", "used by", "state"], rows)
    for number, problem in done.damaged.items():
        typer.echo(f"{folder.results_file}, line {number}: damaged ({problem}): done again")
    typer.echo(f"{len(made.runs)} runs, {outlook.done} done, {outlook.left} left")
    if outlook.seconds is None:
        typer.echo("time and memory: not known before the first run is done")
    else:
        memory = (outlook.memory or 0) / 1e9
        typer.echo(f"time left, one run at a time: {outlook.seconds / 3600:.2f} h, by runs so far")
        typer.echo(f"peak memory of a run so far: {memory:.1f} GB")
    typer.echo(f"disk for what is left: about {outlook.disk / 1e9:.2f} GB")
    if outlook.detectable:
        typer.echo("with a spread of items and seeds that is assumed, not measured:")
    for task, points in outlook.detectable.items():
        typer.echo(f"{task}: finds differences from about {points:.1f} points on, 4 times in 5")


@study.command("run")
def run(
    file: Path = FILE,
    out: Path | None = OUT,
    engine: str = typer.Option(
        "local", "--engine", help="local: processes on this machine; ray; slurm."
    ),
    address: str | None = typer.Option(
        None, "--address", help="Of a Ray cluster: auto, HOST:PORT, ray://HOST:PORT [one here]."
    ),
    max_parallel: int | None = typer.Option(
        None, "--max-parallel", min=1, help="Runs at a time at most [local: 1]."
    ),
    device: str = typer.Option("auto", "--device", help="auto, cpu or cuda."),
    cpus: int | None = typer.Option(None, "--cpus", min=1, help="Cores of a run."),
    gpus: float | None = typer.Option(
        None, "--gpus", min=0, help="GPUs of a run on Ray or Slurm; on Ray 0.25 puts 4 on one."
    ),
    memory: float | None = typer.Option(
        None, "--memory", min=0.1, help="GB of memory of a run on Ray or Slurm."
    ),
    hours: float | None = typer.Option(
        None, "--hours", min=0.1, help="Slurm: of a job; a longer run goes on in another [4]."
    ),
    slurm: list[str] | None = typer.Option(
        None, "--slurm", metavar="NAME=VALUE", help="Of sbatch, such as partition=gpu; repeat it."
    ),
    unequal: bool = UNEQUAL,
) -> None:
    """Do all runs that are not done; the same command goes on after an interruption.

    On Ray and Slurm, all machines must see the study's folder, its data and the folder that you
    start from, at the same path.

    Exit code 1: some runs failed, and their logs are named.
    """
    from adapter_stilts.study.engines.choose import EngineOptions, make_engine
    from adapter_stilts.study.run import run_study

    options = EngineOptions(
        engine=engine,
        address=address,
        max_parallel=max_parallel,
        device=device,
        cpus=cpus,
        gpus=gpus,
        memory=memory,
        hours=hours,
        slurm=tuple(slurm) if slurm else None,
    )
    options.check()
    made, folder = read_plan(file, out, unequal=unequal)
    working = make_engine(folder, options, typer.echo)
    found = run_study(made, folder, working, typer.echo)
    typer.echo(
        f"{len(found.done)} of {len(made.runs)} runs done, {len(found.failed)} failed, "
        f"{len(found.blocked)} wait for those"
    )
    if found.stopped:
        typer.echo("stopped: the same command goes on")
        raise typer.Exit(130)
    if found.failed:
        raise typer.Exit(SOME_FAILED)


@study.command("status")
def status(
    file: Path = FILE,
    out: Path | None = OUT,
    unequal: bool = UNEQUAL,
    watch: bool = typer.Option(False, "--watch", help="Show it anew every two seconds."),
) -> None:
    """Show what runs where, what failed, and the time left."""
    import time

    made, folder = read_plan(file, out, unequal=unequal)
    while True:
        _show_status(made, folder)
        if not watch or not folder.holder():
            return
        time.sleep(2)
        typer.echo("\x1b[2J\x1b[H", nl=False)  # clear the screen


def _show_status(made: Plan, folder: StudyFolder) -> None:
    from adapter_stilts.study.outlook import look_ahead
    from adapter_stilts.study.run import describe

    running, holder, outlook = folder.running(), folder.holder(), look_ahead(made, folder)
    rows = [
        [describe(made.runs[name]), str(about.get("host", "")), str(about.get("since", ""))]
        for name, about in running.items()
        if name in made.runs
    ]
    if rows:
        print_table(["running", "on", "since"], rows)
    where = f"process {holder['pid']} on {holder['host']}" if holder.get("pid") else "nobody"
    typer.echo(f"{outlook.done} of {len(made.runs)} runs done, {len(rows)} running; by {where}")
    if outlook.seconds is not None:
        typer.echo(f"time left, one run at a time: {outlook.seconds / 3600:.2f} h")
    for name, log in folder.failed().items():
        if name in made.runs:
            typer.echo(f"failed: {describe(made.runs[name])} (log: {log})")


@study.command("stop")
def stop(file: Path = FILE, out: Path | None = OUT, unequal: bool = UNEQUAL) -> None:
    """End `study run` after checkpoints; the same command goes on later."""
    _, folder = read_plan(file, out, unequal=unequal)
    holder = folder.holder()
    if not holder:
        raise UserError(f"study {folder.path} is not being run")
    folder.stop_file.touch()
    typer.echo(f"process {holder.get('pid')} on {holder.get('host')} is asked to end")


@study.command("export")
def export(
    file: Path = FILE,
    out: Path | None = OUT,
    form: str = typer.Option("commands", "--format", help="commands, snakemake or slurm."),
    unequal: bool = UNEQUAL,
) -> None:
    """Print the runs for another program to do; what each is, is written in the study's folder."""
    from adapter_stilts.study.export import FORMATS, export_plan

    if form not in FORMATS:
        raise unknown("format", form, FORMATS)
    made, folder = read_plan(file, out, unequal=unequal)
    for each in made.runs.values():
        folder.write_run(each, made.study.name)
    typer.echo(export_plan(made, folder, form), nl=False)
