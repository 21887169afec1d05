"""`adstilts compare`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from adapter_stilts.cli import training_options as common
from adapter_stilts.cli.evaluate import PARTIAL
from adapter_stilts.cli.results import Progress, print_json, print_table
from adapter_stilts.evaluation.options import ComparisonOptions

if TYPE_CHECKING:
    from adapter_stilts.study.compare import Comparison


def register(app: typer.Typer) -> None:
    """Adds the command."""
    without = ("out", "tags", "overwrite")
    app.command("compare")(common.evaluation_options(compare, ComparisonOptions, without=without))


def compare(
    first: str = typer.Argument(help='A composition, such as "stack(squad, tydiqa)".'),
    second: str = typer.Argument(help="Another one; tydiqa-s* is all seeds of tydiqa."),
    on: str = typer.Option(..., "--on", help="Target tasks with commas between: xnli,tydiqa."),
    random_languages: bool = typer.Option(
        False, "--random-languages", help="The languages stand for others: draw them anew, too."
    ),
    draws: int = typer.Option(2000, "--draws", help="The number of draws of the bootstrap."),
    level: float = typer.Option(0.95, "--level", help="The confidence level of the interval."),
    picture: Path | None = typer.Option(
        None, "--picture", "--out", help="Draw it: a file name.svg, .png or .pdf."
    ),
    as_json: bool = common.JSON,
    **options: Any,
) -> None:
    """Say by how much one composition is better than another, with an interval.

    Both are evaluated first, unless they are already. Exit code 3: some languages could not be
    compared.
    """
    from adapter_stilts.display.picture import check_picture
    from adapter_stilts.study.compare import compare as run

    if picture is not None:
        check_picture(picture)  # before the work
    with Progress(quiet=as_json) as progress:
        options |= {"on_language": progress.language, "on_examples": progress.examples}
        found = run(
            first,
            second,
            on=on,
            random_languages=random_languages,
            draws=draws,
            level=level,
            **options,
        )
    if picture is not None:
        found.plot().save(picture)
    if as_json:
        print_json(found.as_dict())
    else:
        _show(found)
    if found.partial:
        raise typer.Exit(PARTIAL)


def _show(found: Comparison) -> None:
    from adapter_stilts.report.comparison import COLUMNS, comparison_notes, comparison_rows

    typer.echo(f"A: {found.first}\nB: {found.second}")
    print_table(COLUMNS, list(comparison_rows(found)))
    for note in comparison_notes(found):
        typer.echo(note)
    typer.echo(found.answer)
