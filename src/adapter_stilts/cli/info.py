"""`adstilts tasks`, `adstilts task` and `adstilts doctor`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from adapter_stilts.cli.options import DATA, JSON
from adapter_stilts.cli.results import print_json, print_table
from adapter_stilts.errors import FailureError, UserError, few
from adapter_stilts.heads import KINDS, get_head
from adapter_stilts.safety import printable

if TYPE_CHECKING:
    from adapter_stilts.tasks.spec import TargetSpec, TaskSpec


_SHOWN = 500
"""Characters of a value that `task check` shows."""


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command("tasks")(tasks)
    app.command("doctor")(doctor)
    app.add_typer(task_group, name="task")


def tasks(
    task: str = typer.Argument("", help="Only this one, with all that is known of it."),
    data: str | None = DATA,
    as_json: bool = JSON,
) -> None:
    """List the tasks, and how much of their data is here.

    `adstilts tasks squad` shows one with its licence, the names of its files, and their columns.
    """
    from adapter_stilts.data.load import check_where
    from adapter_stilts.registered import additions
    from adapter_stilts.tasks.registry import find_either, intermediate_tasks, target_tasks

    check_where(data)
    found = find_either(task) if task else None
    names = (*intermediate_tasks(), *target_tasks(), *additions("task"))
    every = [found] if found else [find_either(name) for name in names]
    listed = [_row(each, data) for each in every]
    if found:
        listed[0] |= {"published": _published_score(found), "files": list(_files(found))}
    if as_json:
        print_json(listed)
    elif found:
        _show_one(listed[0])
    else:
        columns = ("task", "kind", "head", "metric", "languages", "rows here", "suites")
        rows = [
            (
                *(_cell(row[key]) for key in ("name", "kind", "head", "metric")),
                _languages(row),
                _cell(row["rows"]) or ("yes" if row["found"] else "none"),
                *(_cell(row[key]) for key in ("suites", "licence", "data")),
            )
            for row in listed
        ]
        spare = ("data", "licence", "suites", "metric", "head")
        print_table((*columns, "licence", "data"), rows, spare=spare)


def _show_one(task: dict[str, Any]) -> None:
    """All that is known of a task, then its files."""
    files = task.pop("files")
    print_table(("what", "value"), [(key, _cell(value)) for key, value in task.items()])
    typer.echo()
    shared = [name for name in files[0] if any(each[name] for each in files)] if files else []
    print_table(shared, [[_cell(each[name]) for name in shared] for each in files])


def _files(task: TaskSpec | TargetSpec) -> Iterator[dict[str, Any]]:
    """Under which names the files of a task are looked for, and which columns are read."""
    from adapter_stilts.data.status import layouts

    for layout in layouts(task):
        named = "; ".join(f"{split} {', '.join(each)}" for split, each in layout.files.items())
        yield {
            "for": layout.what,
            "data set": layout.source,
            "on the Hub": layout.hub,
            "files": named,
            "written as": layout.form,
            "columns": str(layout.columns),
        }


def _published_score(task: TaskSpec | TargetSpec) -> str:
    """A score to compare with, whose it is, and where it stands; empty where none is known."""
    about = task.published
    scores = [f"{name} {value:.1f}" for name, value in about.items() if isinstance(value, float)]
    return f"{', '.join(scores)}: {about['model']}; {about['source']}" if scores else ""


def _languages(row: dict[str, Any]) -> str:
    """Of a target, in how many languages it is here."""
    if row["kind"] == "intermediate":
        return "en"
    return f"{row['languages here']} of {row['languages']}"


def _cell(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{count:,} {split}" for split, count in value.items())
    return f"{value:,}" if isinstance(value, int) else str(value or "")


def _row(task: TaskSpec | TargetSpec, data: str | None) -> dict[str, Any]:
    from adapter_stilts.data import data_status, target_status
    from adapter_stilts.tasks.spec import TargetSpec

    counts: dict[str, Any]
    if isinstance(task, TargetSpec):
        kind, status = "target", target_status(task, data)
        counts = {"languages": len(task.languages), "languages here": status.languages}
        counts["suites"] = list(task.suites)
    else:
        kind, status = "intermediate", data_status(task, data)
        counts = {split: task.sizes[split] for split in ("train", "dev")}
        counts |= {"languages": 1, "suites": []}
    return {
        "name": task.name,
        "title": task.title,
        "kind": kind,
        "head": task.head,
        "metric": task.metric,
        **counts,
        "licence": task.licence,
        "citation": task.citation,
        "found": status.found,
        "rows": dict(status.rows),
        "data": status.detail,
        "aliases": list(task.aliases),
    }


def doctor(as_json: bool = JSON) -> None:
    """Show what this machine offers: versions, device, precision, Hub, data, disk."""
    from adapter_stilts.environment import diagnose

    found = diagnose()
    if as_json:
        print_json(found)
        return
    print_table(("what", "found"), [(key, value) for key, value in found.items()])


task_group = typer.Typer(help="Your own tasks: write a task file from data, and look at it.")


@task_group.command("new")
def new(
    head: str = typer.Option(..., "--head", help=f"One of {', '.join(KINDS)}."),
    data: Path = typer.Option(
        ..., "--data", help="Rows to learn from: .csv, .tsv, .jsonl, .parquet, .conll or .json."
    ),
    dev_file: Path | None = typer.Option(None, "--dev-file", help="Rows to score on."),
    test_file: Path | None = typer.Option(None, "--test-file", help="Rows to evaluate on."),
    column: list[str] = typer.Option(
        [],
        "--column",
        metavar="PART=COLUMN",
        help="Which column has a part of an example, such as text=comment or label=2; repeat it. "
        "The others are guessed by their names.",
    ),
    name: str = typer.Option("", "--name", help="Of the task [after the data]."),
    out: Path | None = typer.Option(None, "--out", help="The task file [NAME.yaml]."),
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace what lies at --out."),
) -> None:
    """Write a task file with what the data is found to hold."""
    from adapter_stilts.own.new import new_task, usual_name

    called = name or usual_name(data)
    place = out or Path(f"{called}.yaml")
    if place.exists() and not overwrite:
        raise UserError(f"'{place}' is there already: --overwrite replaces it, --out names another")
    if not place.parent.is_dir():
        raise UserError(f"'{place}' cannot be written: the folder '{place.parent}' is not there")
    given = {"train": data, "dev": dev_file, "test": test_file}
    files = {split: path for split, path in given.items() if path}
    text, _ = new_task(head, files, place, name=called, columns=column)
    try:
        place.write_text(text, encoding="utf-8")
    except OSError as error:
        raise FailureError(f"{place}: cannot be written ({error.strerror})") from error
    typer.echo(printable(text), nl=False)
    typer.echo(f"task file: {place}")
    if dev_file is None:
        typer.echo("to train on it, add a line 'dev: FILE' under 'files'", err=True)


@task_group.command("check")
def check(
    file: Path = typer.Argument(..., help="A task file."),
    backbone: str = typer.Option(
        "embedded", "--backbone", help="Whose tokenizer cuts the texts into pieces."
    ),
    count: int = typer.Option(5, "--count", min=1, max=1000, help="How many examples to show."),
) -> None:
    """Read all data of a task file; show examples as the model will see them, and what is cut."""
    from adapter_stilts.backbones import find_backbone
    from adapter_stilts.own.build import load_task_file
    from adapter_stilts.own.model import named_splits

    own = load_task_file(file)
    # Seconds of imports: the file can be used.
    from adapter_stilts.own.check import read_all, show_examples

    spec, trained = own.target, "train" in named_splits(own.file)
    labels = f"; labels: {few(spec.labels or spec.tags)}" if spec.labels or spec.tags else ""
    looked_for = spec.labels[1] if spec.metric in get_head(spec.head).of_two else ""
    metric = f"{spec.metric} of '{looked_for}'" if looked_for else spec.metric
    typer.echo(printable(f"{spec.name}: {spec.head}, {metric}{labels}"))
    for line in read_all(own):
        typer.echo(printable(line))
    trunk = find_backbone(backbone)
    most = trunk.max_length
    for number, shown in enumerate(show_examples(own, trunk, count=count), start=1):
        typer.echo(f"\nexample {number}")
        for key, value in shown.example.items():
            if value not in ("", []):
                typer.echo(printable(f"  {key}: {_value(key, value, spec.labels)}"))
        for answer, start, end in shown.offsets:
            typer.echo(printable(f"  characters {start} to {end}: {answer}"))
        for pieces in shown.pieces:
            typer.echo(printable(f"  {len(pieces)} pieces: {' '.join(pieces)}"))
        if shown.cut:
            longest = "" if spec.max_length < most else f", but {backbone} takes {most} at most"
            typer.echo(f"  {shown.cut:,} pieces are cut: 'max_length' allows more{longest}")
    if trained:
        _ = own.task  # refused if it has no dev data
    else:
        typer.echo(f"\n{spec.name} has no training data: it can be evaluated, but not trained on")


def _value(key: str, value: Any, labels: tuple[str, ...]) -> str:
    if key == "label" and labels and isinstance(value, int) and value >= 0:
        return f"{value} ({labels[value]})"
    listed = isinstance(value, list) and key in ("words", "tags")
    text = " ".join(value) if listed else str(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}… ({len(text):,} characters in all)"
