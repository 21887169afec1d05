"""`adstilts study`: the group of commands about whole grids of runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from adapter_stilts.cli.options import derived_options, with_options
from adapter_stilts.cli.study_show import DATA, FILE, OUT, UNEQUAL, plan, read_plan, status, stop
from adapter_stilts.errors import UserError, counted, unknown
from adapter_stilts.paths import check_writable
from adapter_stilts.study.engines.engine import EngineOptions

SOME_FAILED = 1

study = typer.Typer(
    help="Plan, run and compare whole grids of trainings.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


def register(app: typer.Typer) -> None:
    """Adds the group."""
    study.command("plan")(plan)
    engines = derived_options(EngineOptions, EngineOptions, [EngineOptions])
    study.command("run")(with_options(run, run, engines))
    study.command("status")(status)
    study.command("stop")(stop)
    study.command("report")(report)
    app.add_typer(study, name="study")


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

    from adapter_stilts.cli.results import print_note
    from adapter_stilts.study.engines.engine import make_engine
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


def _warn(line: str) -> None:
    typer.echo(line, err=True)  # beside what is printed for another program


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
    typer.echo(export_plan(made, folder, form, _warn), nl=False)


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
    from adapter_stilts.cli.results import print_note, print_table
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
