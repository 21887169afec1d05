"""`adstilts compare`."""

from __future__ import annotations

import json
from pathlib import Path

import typer

from adapter_stilts.cli import evaluation_options as common
from adapter_stilts.cli.evaluate import PARTIAL
from adapter_stilts.cli.results import Progress
from adapter_stilts.cli.show import print_table
from adapter_stilts.cli.training_options import DATA


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("compare")(compare)


def compare(
    first: str = typer.Argument(help='A composition, such as "stack(squad, tydiqa)".'),
    second: str = typer.Argument(help="Another one; tydiqa-s* is all seeds of tydiqa."),
    on: str = typer.Option(..., "--on", help="Target tasks with commas between: xnli,tydiqa."),
    langs: str = common.LANGS,
    split: str = common.SPLIT,
    data: str | None = DATA,
    limit: int | None = common.LIMIT,
    backbone: str | None = common.BACKBONE,
    precision: str = common.PRECISION,
    random_languages: bool = typer.Option(
        False, "--random-languages", help="The languages stand for others: draw them anew, too."
    ),
    draws: int = typer.Option(2000, "--draws", help="Of the bootstrap."),
    out: Path | None = typer.Option(None, "--out", help="A picture of it: a file name.svg."),
    as_json: bool = common.JSON,
) -> None:
    """Say by how much one composition is better than another, with an interval.

    Both are evaluated first, unless they are already. Exit code 3: some languages could not be
    compared.
    """
    from adapter_stilts.report.comparison import (
        COLUMNS,
        check_picture,
        comparison_notes,
        comparison_rows,
        write_picture,
    )
    from adapter_stilts.study.compare import compare as run

    if out is not None:
        check_picture(out)  # before the work
    with Progress(quiet=as_json) as progress:
        found = run(
            first,
            second,
            on=on,
            langs=langs,
            split=split,
            data=data,
            limit=limit,
            backbone=backbone,
            precision=precision,
            random_languages=random_languages,
            draws=draws,
            on_language=progress.language,
            on_examples=progress.examples,
        )
    if out is not None:
        write_picture(found, out)
    if as_json:
        typer.echo(json.dumps(found.as_dict(), ensure_ascii=False, indent=1, allow_nan=False))
    else:
        typer.echo(f"A: {found.first}\nB: {found.second}")
        print_table(COLUMNS, list(comparison_rows(found)))
        for note in comparison_notes(found):
            typer.echo(note)
        typer.echo(found.answer)
    if found.partial:
        raise typer.Exit(PARTIAL)
