"""`adstilts merge`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from adapter_stilts.cli.evaluation_options import BACKBONE
from adapter_stilts.cli.training_options import DATA, json_line
from adapter_stilts.errors import UserError

if TYPE_CHECKING:
    from adapter_stilts.training.run import Trained


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("merge")(merge)


def merge(
    sources: list[str] = typer.Argument(..., help="Two or more modules of one kind."),
    how: str | None = typer.Option(
        None,
        "--how",
        help="average, linear, task-arithmetic, ties, dare-ties or slerp. Default: average; with "
        "--search, task-arithmetic.",
    ),
    weights: str | None = typer.Option(
        None, "--weights", help="One for each module, such as 0.3,0.7; with --search, the start."
    ),
    density: float | None = typer.Option(
        None, help="Fraction of the values that ties and dare-ties keep [0.5]."
    ),
    lora: str = typer.Option("products", help="Merge LoRAs by products or by factors."),
    rank: int = typer.Option(0, min=0, help="Of a LoRA merged by products [the sources' largest]."),
    head: str | None = typer.Option(
        None, "--head", help="The module whose head the merged one gets; by default it has none."
    ),
    search: bool = typer.Option(
        False, "--search", help="Find the weights on a few examples of --target, as LoraHub does."
    ),
    target: str | None = typer.Option(
        None, "--target", help="The target task to search on, such as tydiqa."
    ),
    examples: int = typer.Option(64, help="Of its English training data, to search on."),
    budget: int = typer.Option(60, help="Weights to try at most."),
    data: str | None = DATA,
    name: str | None = typer.Option(None, "--name", help="Of the merged module."),
    backbone: str | None = BACKBONE,
    precision: str = typer.Option("auto", help="Of the trunk in a search: auto, bf16 or fp32."),
    seed: int = typer.Option(0, help="Of what is drawn at random."),
    out: Path | None = typer.Option(
        None, "--out", help="Folder of the module [zoo/BACKBONE/NAME]."
    ),
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace what lies at --out."),
    as_json: bool = typer.Option(False, "--json", help="Print the record as JSON."),
) -> None:
    """Merge modules into one, without training; --search finds the weights."""
    from adapter_stilts.training import merge as merging

    made = merging.merge(
        sources,
        how=how,
        weights=None if weights is None else _numbers(weights),
        density=density,
        lora=lora,
        rank=rank,
        head=head,
        search=search,
        target=target,
        examples=examples,
        budget=budget,
        data=data,
        name=name,
        backbone=backbone,
        precision=precision,
        seed=seed,
        out=out,
        overwrite=overwrite,
        quiet=as_json,
    )
    _show(made, as_json=as_json)


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
