"""`adstilts compare` and `adstilts recommend`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from adapter_stilts.cli.evaluate import PARTIAL
from adapter_stilts.cli.options import JSON, derived_options, evaluation_options, with_options
from adapter_stilts.cli.results import Progress, print_json, print_note, print_table
from adapter_stilts.evaluation.options import ComparisonOptions
from adapter_stilts.study.recommend.recommendation import Asked, RecommendOptions

if TYPE_CHECKING:
    from adapter_stilts.study.compare import Comparison


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    without = ("out", "tags", "overwrite")
    app.command("compare")(evaluation_options(compare, ComparisonOptions, without=without))
    own = ("rules", "on_step")
    options = derived_options(RecommendOptions, Asked, [RecommendOptions], without=own)
    app.command("recommend")(with_options(recommend, recommend, options))


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
    as_json: bool = JSON,
    **options: Any,
) -> None:
    """Say by how much one composition is better than another, with an interval.

    Both are evaluated first, unless they are already. Exit code 3: some languages could not be
    compared.
    """
    from adapter_stilts.display import check_picture
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


def recommend(
    target: str = typer.Argument(
        help="A target task with training data, such as tydiqa; or a task file."
    ),
    modules: list[str] = typer.Option(
        [],
        "--with-from",
        "--modules",
        help="Modules to rank, or a folder of some; may be repeated [one a task of the zoo].",
    ),
    by: str = typer.Option(
        "logme,text,parameters", "--by", "--rules", help="The rules whose ranks are averaged."
    ),
    as_json: bool = JSON,
    **options: Any,
) -> None:
    """Predict on which module a target is learnt best, before any training on them."""
    from adapter_stilts.report.comparison import (
        recommendation_columns,
        recommendation_notes,
        recommendation_rows,
    )
    from adapter_stilts.study.recommend.recommender import recommend as run

    found = run(
        target,
        modules=modules,
        rules=[rule.strip() for rule in by.split(",") if rule.strip()],  # type: ignore[misc]
        on_step=None if as_json else lambda what: typer.echo(what, err=True),
        **options,
    )
    if as_json:
        print_json(found.as_dict())
        return
    print_table(recommendation_columns(found), list(recommendation_rows(found)), spare=("seconds",))
    for note in recommendation_notes(found):
        print_note(note)
    print_note(found.answer)
