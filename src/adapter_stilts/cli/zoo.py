"""`adstilts zoo`, `adstilts pull` and `adstilts push`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from adapter_stilts.cli.options import JSON
from adapter_stilts.cli.results import print_json, print_table, wrap_lines
from adapter_stilts.display import scores_line
from adapter_stilts.errors import FailureError, UserError
from adapter_stilts.paths import from_here

if TYPE_CHECKING:
    from adapter_stilts.zoo.choice import ModuleReference

WHOSE = typer.Option(
    None, "--backbone", help="Whose module, where several backbones have one of that name."
)
OVERWRITE = typer.Option(False, "--overwrite", help="Replace what lies at --out.")
zoo = typer.Typer(help="The modules that are here, and those on the Hub.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.add_typer(zoo, name="zoo")
    app.command("pull")(pull)
    app.command("push")(push)


@zoo.command("list")
def list_modules(
    backbone: str = typer.Option("", "--backbone", help="Only modules of this backbone."),
    task: str = typer.Option("", "--task", help="Only modules of this task."),
    language: str = typer.Option("", "--language", help="Only modules trained in this language."),
    as_json: bool = JSON,
) -> None:
    """List the modules of the zoo, of shared zoos, and those pulled from the Hub."""
    from adapter_stilts.zoo.find import fields, list_modules

    found = list(list_modules(backbone=backbone, task=task, language=language))
    if as_json:
        print_json([fields(module) for module in found])
        return
    if not found:
        typer.echo("no modules: train one with `adstilts train-adapter`, or `adstilts pull` one")
        return
    columns = ("module", "task", "method", "backbone", "dev score", "size", "from")
    print_table(columns, [_row(module) for module in found], spare=("backbone", "from", "size"))


def _row(module: ModuleReference) -> tuple[str, ...]:
    from adapter_stilts.zoo.find import size, where
    from adapter_stilts.zoo.provenance import chance_note

    name, megabytes = module.full_name, f"{size(module) / 1e6:.1f} MB"
    try:
        record = module.record
    except UserError as error:
        # What is wrong must be seen, however narrow the terminal.
        return (name, f"damaged: {error}", "", "", "", megabytes, where(module))
    score = scores_line(dict(list(record.scores.items())[:1])) + chance_note(record)
    made_for = record.backbone.get("name", "")
    return (name, record.task, record.method, made_for, score, megabytes, where(module))


@zoo.command("show")
def show(
    name: str = typer.Argument(..., help="A module: its name, folder, or Hub id."),
    backbone: str | None = WHOSE,
    as_json: bool = JSON,
) -> None:
    """Show what a module says of itself: its record and its card."""
    from dataclasses import asdict

    from adapter_stilts.safety import printable, read_text
    from adapter_stilts.zoo.find import fields, one

    module = one(name, backbone)
    record = module.record
    if as_json:
        print_json({**fields(module), "record": asdict(record)})
        return
    print_table(("what", "value"), [(key, _show(each)) for key, each in fields(module).items()])
    card = module.folder / "README.md"
    if card.is_file():
        typer.echo()
        for line in wrap_lines(printable(read_text(card)).splitlines()):
            typer.echo(line)


def _show(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {each:.6g}" for key, each in value.items())  # scores
    return f"{value:,}" if isinstance(value, int) else str(value)


@zoo.command("verify")
def verify(
    names: list[str] = typer.Argument(None, help="Modules; all that are here by default."),
    quick: bool = typer.Option(False, "--quick", help="Only the files: load no backbone."),
    scores: bool = typer.Option(False, "--scores", help="Compute the dev scores anew."),
    data: str | None = typer.Option(None, "--data", help="Where the dev data is, as in training."),
    backbone: str | None = WHOSE,
    as_json: bool = JSON,
) -> None:
    """Check hashes, shapes and backbone of modules, and with --scores that scores come again."""
    from adapter_stilts.data.load import check_where
    from adapter_stilts.zoo.find import list_modules, locate
    from adapter_stilts.zoo.verify import verify as look

    if scores:
        check_where(data)
    if names:
        found = [module for name in names for module in locate(name, backbone)]
    else:
        found = list(list_modules(backbone=backbone or ""))
    checks = {
        str(module.folder): look(module.folder, load=not quick, scores=scores, data=data)
        for module in found
    }
    if as_json:
        print_json({name: [vars(check) for check in each] for name, each in checks.items()})
    else:
        result = {True: "ok", False: "WRONG", None: "-"}
        rows = [
            (name, check.what, result[check.fine], check.detail)
            for name, each in checks.items()
            for check in each
        ]
        print_table(("module", "check", "result", "detail"), rows)
    bad = [name for name, each in checks.items() if any(check.fine is False for check in each)]
    if bad:
        raise FailureError(f"{len(bad)} of {len(checks)} modules are not what they say: {bad[0]}")


@zoo.command("remove")
def remove(
    name: str = typer.Argument(..., help="A module of the zoo, or one pulled from the Hub."),
    backbone: str | None = WHOSE,
    yes: bool = typer.Option(False, "--yes", "-y", help="Do not ask."),
) -> None:
    """Remove a module from this disk."""
    from adapter_stilts.safety import printable
    from adapter_stilts.zoo import find

    for module in find.locate(name, backbone):
        needed = find.standing_on(module)
        note = f" ({', '.join(needed)} will no longer work)" if needed else ""
        question = printable(f"Remove {module.folder}{note}?")
        if not yes and not typer.confirm(question, err=True):
            raise UserError("nothing removed")
        find.remove(module)
        typer.echo(f"removed: {module.folder}")


@zoo.command("export")
def export(
    name: str = typer.Argument(..., help="A module: its name, folder, or Hub id."),
    out: Path = typer.Option(..., "--out", help="The folder to write."),
    library: str = typer.Option(
        "adapters", "--format", help="adapters; peft for a LoRA; module for another's zoo."
    ),
    half: bool = typer.Option(False, "--half", help="Store weights in half precision."),
    backbone: str | None = typer.Option(
        None,
        "--backbone",
        help="Whose module, where several have one of that name; with --format module also the "
        "Hub's id of a backbone in a folder.",
    ),
    overwrite: bool = OVERWRITE,
) -> None:
    """Write a module for others: for plain `adapters`, plain `peft`, or as a module."""
    from adapter_stilts.zoo.find import find_module
    from adapter_stilts.zoo.push import export as write

    done = write(
        find_module(name, backbone),
        out,
        library=library,
        half=half,
        backbone=backbone,
        overwrite=overwrite,
    )
    typer.echo(f"written: {done}")


@zoo.command("readme")
def readme(
    folder: Path = typer.Argument(..., help="A folder of modules, such as adapters_zoo."),
) -> None:
    """Print a README for a folder of modules: what each is, from their records."""
    from adapter_stilts.zoo.card import zoo_readme

    typer.echo(zoo_readme(folder), nl=False)


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
    from adapter_stilts.zoo import pull as hub

    found = hub.pull(module, out=out, backbone=backbone, overwrite=overwrite)
    record = found.record
    if as_json:
        fields = {"path": str(found.path), "hub": record.hub, "name": record.name}
        print_json({**fields, "backbone": record.backbone}, indent=None)
        return
    task = f" for {record.task}" if record.task else ""
    typer.echo(f"{record.name}: {record.method}{task} on {record.backbone.get('name')}")
    typer.echo(f"module: {from_here(found.path)}")


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
    from adapter_stilts.zoo import push as hub

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

    from adapter_stilts.zoo import pull as hub

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
