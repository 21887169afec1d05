"""`adstilts serve`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import typer

from adapter_stilts.cli.derived_options import derived_options, with_options
from adapter_stilts.errors import UserError
from adapter_stilts.safety import printable
from adapter_stilts.serving.limits import Limits, ServiceOptions

_FIXED = ("header_seconds", "body_seconds")


def register(app: typer.Typer) -> None:
    """Adds the command."""
    about = (Limits, ServiceOptions)
    options = derived_options(ServiceOptions, ServiceOptions, about, without=_FIXED)
    app.command("serve")(with_options(serve, serve, options))


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
    the requests. SIGTERM or Ctrl-C finishes what has come and stops.
    """
    from adapter_stilts.backbones import check_precision
    from adapter_stilts.zoo.load import find

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
    typer.echo(printable(f"{len(names)} modules ({some}) at {url} (Ctrl-C stops)"), err=True)
