"""`adstilts recommend`."""

from __future__ import annotations

from typing import Any

import typer

from adapter_stilts.cli import training_options as common
from adapter_stilts.cli.derived_options import derived_options, with_options
from adapter_stilts.cli.results import print_json, print_note, print_table
from adapter_stilts.study.recommendation import Asked, RecommendOptions


def register(app: typer.Typer) -> None:
    """Adds the command."""
    own = ("rules", "on_step")
    options = derived_options(RecommendOptions, Asked, [RecommendOptions], without=own)
    app.command("recommend")(with_options(recommend, recommend, options))


def recommend(
    target: str = typer.Argument(help="A target task with training data, such as tydiqa."),
    modules: list[str] = typer.Option(
        [],
        "--with-from",
        "--modules",
        help="Modules to rank, or a folder of some; may be repeated [one a task of the zoo].",
    ),
    by: str = typer.Option(
        "logme,text,parameters", "--by", "--rules", help="The rules whose ranks are averaged."
    ),
    as_json: bool = common.JSON,
    **options: Any,
) -> None:
    """Predict on which module a target is learnt best, before any training on them."""
    from adapter_stilts.report.recommendation import (
        recommendation_columns,
        recommendation_notes,
        recommendation_rows,
    )
    from adapter_stilts.study.recommender import recommend as run

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
