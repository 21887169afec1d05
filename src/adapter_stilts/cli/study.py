"""`adstilts study`: the group of commands about whole grids of runs."""

from __future__ import annotations

import typer

from adapter_stilts.cli.study_report import report

study = typer.Typer(
    help="Plan, run and compare whole grids of trainings.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


def register(app: typer.Typer) -> None:
    """Adds the group."""
    study.command("report")(report)
    app.add_typer(study, name="study")
