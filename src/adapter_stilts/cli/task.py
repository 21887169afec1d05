"""`adstilts task new` and `adstilts task check`: a user's own task."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from adapter_stilts.cli.training_options import BACKBONE
from adapter_stilts.errors import FailureError, UserError
from adapter_stilts.safety import printable

task = typer.Typer(help="Your own tasks: write a task file from data, and look at it.")


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.add_typer(task, name="task")


@task.command("new")
def new(
    head: str = typer.Option(
        ..., "--head", help="classification, choice, span, tagging or embedding."
    ),
    data: Path = typer.Option(
        ..., "--data", help="Rows to learn from: .csv, .tsv, .jsonl, .parquet, .conll or .json."
    ),
    dev_file: Path | None = typer.Option(None, "--dev-file", help="Rows to score on."),
    test_file: Path | None = typer.Option(None, "--test-file", help="Rows to evaluate on."),
    name: str = typer.Option("", "--name", help="Of the task [after the data]."),
    out: Path | None = typer.Option(None, "--out", help="The task file [NAME.yaml]."),
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace what lies at --out."),
) -> None:
    """Write a task file with what the data is found to hold."""
    from adapter_stilts.own.new import look_at, task_text, usual_name

    called = name or usual_name(data)
    place = out or Path(f"{called}.yaml")
    if place.exists() and not overwrite:
        raise UserError(f"'{place}' is there already: --overwrite replaces it, --out names another")
    found = look_at(data, head)
    given = {"train": data, "dev": dev_file, "test": test_file}
    files = {split: path for split, path in given.items() if path}
    text = task_text(head, files, found, name=called, folder=place.parent)
    from adapter_stilts.own.model import parse_task

    parse_task(place, text)  # what is written can be read
    try:
        place.write_text(text, encoding="utf-8")
    except OSError as error:
        raise FailureError(f"{place}: cannot be written ({error.strerror})") from error
    typer.echo(printable(text), nl=False)
    typer.echo(f"task file: {place}")
    if dev_file is None:
        typer.echo("to train on it, add a line 'dev: FILE' under 'files'", err=True)


@task.command("check")
def check(
    file: Path = typer.Argument(..., help="A task file."),
    backbone: str | None = BACKBONE,
    count: int = typer.Option(5, "--count", min=1, max=1000, help="How many examples to show."),
) -> None:
    """Show the first examples as the model will see them: pieces, offsets, and what is cut."""
    from adapter_stilts.backbones import find_backbone
    from adapter_stilts.own.build import load_task_file

    own = load_task_file(file)
    from adapter_stilts.own.check import show_examples  # seconds of imports: the file can be used

    spec = own.task
    labels = f"; labels: {', '.join(spec.labels or spec.tags)}" if spec.labels or spec.tags else ""
    typer.echo(printable(f"{spec.name}: {spec.head}, {spec.metric}{labels}"))
    for number, shown in enumerate(
        show_examples(own, find_backbone(backbone or "embedded"), count=count), start=1
    ):
        typer.echo(f"\nexample {number}")
        for key, value in shown.example.items():
            if value not in ("", []):
                typer.echo(printable(f"  {key}: {_value(key, value, spec.labels)}"))
        for answer, start, end in shown.offsets:
            typer.echo(printable(f"  characters {start} to {end}: {answer}"))
        for pieces in shown.pieces:
            typer.echo(printable(f"  {len(pieces)} pieces: {' '.join(pieces)}"))
        if shown.cut:
            typer.echo(f"  {shown.cut} pieces are cut: 'max_length' in the task file allows more")


def _value(key: str, value: Any, labels: tuple[str, ...]) -> str:
    if key == "label" and labels and isinstance(value, int) and value >= 0:
        return f"{value} ({labels[value]})"
    listed = isinstance(value, list) and key in ("words", "tags")
    return " ".join(value) if listed else str(value)
