"""`adstilts predict` and `adstilts serve`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer

from adapter_stilts.cli.options import BACKBONE, derived_options, with_options
from adapter_stilts.cli.results import print_json
from adapter_stilts.errors import UserError, counted
from adapter_stilts.heads import get_head
from adapter_stilts.safety import printable
from adapter_stilts.serving.limits import Limits, ServiceOptions
from adapter_stilts.zoo.predict import InputFields


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    written_otherwise = (
        "text_a",
        "premise",
        "text_b",
        "hypothesis",
        "options",
        "choices",
        "tokens",
    )
    fields = derived_options(InputFields, None, (InputFields,), without=written_otherwise)
    app.command("predict")(with_options(predict, predict, fields))
    about = (Limits, ServiceOptions)
    limits = derived_options(ServiceOptions, ServiceOptions, about, without=_FIXED)
    app.command("serve")(with_options(serve, serve, limits))


def predict(
    module: str = typer.Option(
        ..., "--with", help="A module: its folder, or its name in the zoo.", metavar="MODULE"
    ),
    task: str | None = typer.Option(
        None, "--task", help="Whose head to use, of a module of several tasks."
    ),
    text_a: str | None = typer.Option(
        None, "--text-a", "--premise", help="The first text to be classified."
    ),
    text_b: str | None = typer.Option(None, "--text-b", "--hypothesis", help="The second text."),
    option: list[str] = typer.Option([], "--option", help="One of the choices; repeat it."),
    file: Path | None = typer.Option(
        None,
        "--file",
        help="JSON Lines with these fields (question, context, ...) instead; - for standard "
        "input. Answers come as lines do; id and lang of a line come back with its answer.",
    ),
    lang: str | None = typer.Option(
        None, "--lang", help="The input's language by ISO 639, such as sw or zh."
    ),
    backbone: str | None = BACKBONE,
    as_json: bool = typer.Option(False, "--json", help="Print JSON Lines."),
    **fields: Any,
) -> None:
    """Use a module: answer a question, classify a pair, choose an option, tag words, embed.

    The text may be in any language that the backbone reads.
    """
    from adapter_stilts.zoo.predict import answers

    fields |= {"text_a": text_a, "text_b": text_b or None, "options": option or None}
    row = {name: value for name, value in fields.items() if value is not None}
    for kind, answer in answers(module, row, file, task=task, lang=lang, backbone=backbone):
        if as_json:
            print_json(answer, indent=None)
        else:
            typer.echo(printable(get_head(kind).line(answer)))


_FIXED = ("header_seconds", "body_seconds")


def serve(
    modules: list[str] = typer.Option(
        [],
        "--with",
        metavar="MODULE",
        help="A module or composition to offer; repeat it. Without any: the zoo's.",
    ),
    **options: Any,
) -> None:
    """Answer over HTTP: one backbone, many modules, and a page to try them in a browser.

    Each request names its module; requests for different modules share a batch. /docs describes
    the requests. SIGTERM or Ctrl-C finishes what has come and stops, with exit code 0 or 130.
    """
    from adapter_stilts.backbones import check_precision
    from adapter_stilts.zoo.resolve import find

    service = ServiceOptions(**options)
    check_precision(service.precision)
    for name in modules:
        find(name, backbone=service.backbone)  # a wrong one is told before seconds of imports
    try:
        from adapter_stilts.serving.run import run
    except ModuleNotFoundError as error:
        if error.name not in ("fastapi", "starlette", "uvicorn"):
            raise
        raise UserError(
            f"`adstilts serve` needs {error.name}: pip install 'adapter-stilts[serve]'"
        ) from error
    run(modules, service, _tell)


def _tell(url: str, names: Sequence[str]) -> None:
    """Says where the service can be asked, and what it offers."""
    some = ", ".join(names[:8]) + (", …" if len(names) > 8 else "")
    typer.echo(
        printable(f"{counted(len(names), 'module')} ({some}) at {url} (Ctrl-C stops)"), err=True
    )
