"""`adstilts recommend`."""

from __future__ import annotations

import json

import typer

from adapter_stilts.cli import evaluation_options as common
from adapter_stilts.cli.results import print_note, print_table
from adapter_stilts.cli.training_options import DATA


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("recommend")(recommend)


def recommend(
    target: str = typer.Argument(help="A target task with training data, such as tydiqa."),
    modules: list[str] = typer.Option(
        [],
        "--with-from",
        "--modules",
        help="Modules to rank, or a folder of some; may be repeated [one a task of the zoo].",
    ),
    method: str = typer.Option("bottleneck", "--method", help="Of the modules of zoo or folder."),
    data: str | None = DATA,
    source_lang: str = typer.Option("en", help="Language of the target's examples."),
    examples: int = typer.Option(300, "--examples", help="Of the target's training data."),
    by: str = typer.Option(
        "logme,text,parameters", "--by", "--rules", help="The rules whose ranks are averaged."
    ),
    probe: bool = typer.Option(
        False,
        "--probe",
        help="Train shortly on every module, longer on the better half, and so on.",
    ),
    draws: int = typer.Option(100, "--draws", help="Of half of the examples: how sure it is."),
    seed: int = typer.Option(0, help="Of what is drawn."),
    backbone: str | None = common.BACKBONE,
    precision: str = common.PRECISION,
    as_json: bool = common.JSON,
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
        method=method,
        backbone=backbone,
        data=data,
        source_lang=source_lang,
        examples=examples,
        rules=[rule.strip() for rule in by.split(",") if rule.strip()],  # type: ignore[misc]
        probe=probe,
        draws=draws,
        seed=seed,
        precision=precision,
        on_step=None if as_json else lambda what: typer.echo(what, err=True),
    )
    if as_json:
        typer.echo(json.dumps(found.as_dict(), ensure_ascii=False, indent=1, allow_nan=False))
        return
    print_table(recommendation_columns(found), list(recommendation_rows(found)), spare=("seconds",))
    for note in recommendation_notes(found):
        print_note(note)
    print_note(found.answer)
