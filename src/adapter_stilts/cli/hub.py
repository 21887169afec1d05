"""`adstilts pull`, `adstilts push` and `adstilts zoo search`."""

from __future__ import annotations

from pathlib import Path

import typer

from adapter_stilts.cli.results import print_json, print_table
from adapter_stilts.cli.zoo import JSON, OVERWRITE, zoo


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command("pull")(pull)
    app.command("push")(push)


def pull(
    module: str = typer.Argument(..., help="someone/xlmr-large-squad, or ...@revision."),
    out: Path | None = typer.Option(None, "--out", help="Copy it to this folder, too."),
    backbone: str | None = typer.Option(
        None, "--backbone", help="Refuse a module that was made for another backbone."
    ),
    overwrite: bool = OVERWRITE,
    as_json: bool = JSON,
) -> None:
    """Get a module from the Hub; its id then names it wherever a module is named."""
    from adapter_stilts.zoo.hub import pull as hub

    found = hub.pull(module, out=out, backbone=backbone, overwrite=overwrite)
    record = found.record
    if as_json:
        fields = {"path": str(found.path), "hub": record.hub, "name": record.name}
        print_json({**fields, "backbone": record.backbone}, indent=None)
        return
    task = f" for {record.task}" if record.task else ""
    typer.echo(f"{record.name}: {record.method}{task} on {record.backbone.get('name')}")
    typer.echo(f"module: {found.path}")


def push(
    module: str = typer.Argument(..., help="A module: its name or folder."),
    to: str = typer.Option(..., "--to", help="The repository: someone/xlmr-large-squad."),
    private: bool = typer.Option(False, "--private", help="Make a repository only you see."),
    branch: str | None = typer.Option(None, "--branch", help="Write to this branch."),
    backbone: str | None = typer.Option(
        None,
        "--backbone",
        help="Whose module, where several have one of that name; or the Hub's id of a backbone "
        "that lay in a folder here.",
    ),
    scores: Path | None = typer.Option(
        None, "--scores", help="A folder of `adstilts evaluate`: the card shows its scores."
    ),
    overwrite: bool = typer.Option(
        False, "--overwrite", help="Replace something else in the repository."
    ),
    as_json: bool = JSON,
) -> None:
    """Share a module on the Hub, with a card that says what it is."""
    from adapter_stilts.zoo.hub import push as hub

    done = hub.push(
        module,
        to,
        private=private,
        branch=branch,
        backbone=backbone,
        scores=scores,
        overwrite=overwrite,
    )
    if as_json:
        print_json(vars(done), indent=None)
    else:
        typer.echo(f"pushed: {done.url} (commit {done.commit})")


@zoo.command("search")
def search(
    text: str = typer.Argument("", help="Words in a repository's name, such as squad."),
    backbone: str = typer.Option("", "--backbone", help="Only modules of this backbone."),
    task: str = typer.Option("", "--task", help="Only modules of this task."),
    language: str = typer.Option("", "--language", help="Only modules of this language."),
    anybody: bool = typer.Option(False, "--any", help="Adapters of other programs, too."),
    limit: int = typer.Option(30, "--limit", min=1, max=1000, help="So many at most."),
    as_json: bool = JSON,
) -> None:
    """Search the Hub for modules."""
    from dataclasses import asdict

    from adapter_stilts.zoo.hub import search as hub

    hits = hub.search(
        text, backbone=backbone, task=task, language=language, anybody=anybody, limit=limit
    )
    if as_json:
        print_json([asdict(hit) for hit in hits])
    elif hits:
        rows = [tuple(str(value) for value in asdict(hit).values()) for hit in hits]
        print_table(tuple(asdict(hits[0])), rows)
    else:
        typer.echo("nothing found")
