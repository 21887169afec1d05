"""`adstilts explain`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from adapter_stilts.cli import training_options as common
from adapter_stilts.cli.evaluate import PARTIAL
from adapter_stilts.cli.results import print_json, print_note, print_table
from adapter_stilts.evaluation.options import ExplanationOptions

if TYPE_CHECKING:
    from adapter_stilts.evaluation.explanation import ByLayer, Explanation

SHOWN = 3
"""Of more languages, only the mean is shown layer by layer."""


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("explain")(common.evaluation_options(explain, ExplanationOptions))


def explain(
    composition: str = typer.Argument(
        ..., help='With a learnt fusion: its name, or as in "stack(fuse(mnli, squad), tydiqa)".'
    ),
    task: str | None = typer.Option(
        None, help="The target whose texts are read [the one the fusion was learnt on]."
    ),
    out: Path | None = typer.Option(
        None, "--out", help="Folder for explanation.json, .csv and .svg (a heat map)."
    ),
    as_json: bool = common.JSON,
    **options: Any,
) -> None:
    """See which modules a fusion listens to, in every language and layer.

    Exit code 3: the data lacks some of the languages; the others are done.
    """
    from adapter_stilts.evaluation.explain import explain as run
    from adapter_stilts.paths import check_replaceable
    from adapter_stilts.report.explain import PICTURE, write_explanation

    if out is not None:
        check_replaceable(out)  # before the work
    found = run(
        composition,
        task=task,
        on_language=None if as_json else lambda language: typer.echo(language, err=True),
        **options,
    )
    if out is not None:
        write_explanation(found, out)
    if as_json:
        print_json(found.as_dict())
    else:
        _show(found)
        if out is not None:
            typer.echo(f"heat map: {out / PICTURE}")
    if found.missing:
        raise typer.Exit(PARTIAL)


def _show(found: Explanation) -> None:
    typer.echo(
        f"{found.composition} on {found.task}, {found.split}: mean attention, {found.kind} fusion "
        "(entropy: 0 one source alone, 1 all alike)"
    )
    if len(found.weights) <= SHOWN:
        for language, weights in found.weights.items():
            typer.echo(f"\n{language}")
            _by_layer(found, weights, found.entropy[language])
    else:
        typer.echo(f"\nmean of {len(found.weights)} languages")
        _by_layer(found, found.average, found.average_entropy)
    typer.echo("\nmean of all layers")
    rows = [
        (language, *_cells(found, found.over_layers(language)), f"{entropy:.2f}")
        for language, entropy in found.entropy_over_layers.items()
    ]
    print_table(("language", *found.sources, "entropy"), rows)
    if found.missing:
        why = next(iter(found.missing.values()))
        print_note(f"left out, for want of data: {', '.join(found.missing)} ({why})")


def _by_layer(found: Explanation, weights: ByLayer, entropy: Mapping[int, float]) -> None:
    rows = [
        (str(layer), *_cells(found, weights[layer]), f"{entropy[layer]:.2f}")
        for layer in found.layers
    ]
    print_table(("layer", *found.sources, "entropy"), rows)


def _cells(found: Explanation, weights: Mapping[str, float]) -> list[str]:
    return [f"{weights[source]:.2f}" if source in weights else "-" for source in found.sources]
