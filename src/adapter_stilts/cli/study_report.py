"""`adstilts study report`."""

from __future__ import annotations

from pathlib import Path

import typer

from adapter_stilts.cli.study_options import OUT
from adapter_stilts.errors import UserError


def report(
    file: Path = typer.Argument(help="The study's YAML, which declares its contrasts."),
    out: Path | None = OUT,
    to: Path | None = typer.Option(None, "--to", help="Folder of the report [OUT/report]."),
    draws: int = typer.Option(2000, "--draws", help="Of the bootstrap."),
) -> None:
    """Say what a study shows, from its records alone.

    Writes a page that opens offline, Markdown, LaTeX, a CSV a table, and every chart as PDF and
    SVG. Of an unfinished study, it says what is missing.
    """
    from adapter_stilts.cli.results import print_note, print_table
    from adapter_stilts.paths import check_replaceable
    from adapter_stilts.study.report_input import read_study

    if draws < 100:
        raise UserError(f"--draws {draws}: at least 100 are needed, 2000 are usual")
    data, contrasts = read_study(file, out)
    place = data.folder / "report" if to is None else to
    check_replaceable(place)
    from adapter_stilts.report.study.page import PAGE, make_report, write_report
    from adapter_stilts.report.study.tables import shown

    made = make_report(data, contrasts, draws=draws)
    write_report(made, place)
    for line in (*made.answers, *made.warnings):
        print_note(line)
    for table in made.tables:
        if table.name in ("matrix", "contrasts", "targets"):
            typer.echo(f"\n{table.title}")
            print_table(table.columns, [[shown(cell) for cell in row] for row in table.rows])
            if table.note:
                print_note(table.note)
    typer.echo(f"\nreport: {place / PAGE}")
