"""`adstilts merge`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from adapter_stilts.cli.derived_options import derived_options, with_options
from adapter_stilts.cli.training_options import json_line
from adapter_stilts.errors import UserError
from adapter_stilts.training.options import MergeOptions, MergeRequest

if TYPE_CHECKING:
    from adapter_stilts.training.run import Trained


def register(app: typer.Typer) -> None:
    """Adds the command."""
    about = (MergeOptions,)
    added = derived_options(MergeOptions, MergeRequest, about, without=("quiet",))
    app.command("merge")(with_options(merge, merge, added))


def merge(
    sources: list[str] = typer.Argument(..., help="Two or more modules of one kind."),
    as_json: bool = typer.Option(False, "--json", help="Print the record as JSON."),
    **options: Any,
) -> None:
    """Merge modules into one, without training; --search finds the weights."""
    from adapter_stilts.training import merge as merging

    weights = options.pop("weights")
    options["weights"] = None if weights is None else _numbers(weights)
    _show(merging.merge(sources, **options, quiet=as_json), as_json=as_json)


def _show(made: Trained, *, as_json: bool) -> None:
    record = made.record
    if as_json:
        typer.echo(json_line(made))
        return
    own = "no head" if record.head == "none" else f"{record.head} head"
    typer.echo(
        f"{record.name} = {record.merged['expression']}: {own}; {record.parameters:,} parameters"
    )
    if found := record.merged.get("search"):
        typer.echo(
            f"loss {found['loss_before']:.4f} -> {found['loss_after']:.4f} on {found['examples']} "
            f"examples of {found['target']}, {found['evaluations']} evaluations"
        )
    typer.echo(f"module: {made.path}")


def _numbers(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise UserError(f"weights '{text}': numbers with commas between, such as 0.3,0.7") from None
