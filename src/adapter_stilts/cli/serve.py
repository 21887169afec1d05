"""`adstilts serve`."""

from __future__ import annotations

import typer

from adapter_stilts.errors import UserError
from adapter_stilts.safety import printable


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("serve")(serve)


def serve(
    modules: list[str] = typer.Option(
        [],
        "--with",
        metavar="MODULE",
        help="A module or composition to offer; repeat it. Without any: the zoo's.",
    ),
    zoo: bool = typer.Option(
        False, "--zoo", help="Offer all modules that are here for the backbone as well."
    ),
    backbone: str | None = typer.Option(
        None, "--backbone", help="Which backbone; by default that of the modules."
    ),
    precision: str = typer.Option("auto", help="Of the backbone: fp32, bf16 or auto."),
    host: str = typer.Option(
        "127.0.0.1", help="The address to listen at; by default only this machine can ask."
    ),
    allow_host: list[str] = typer.Option(
        [],
        "--allow-host",
        metavar="NAME",
        help="A name that it may be called by beside localhost and addresses, such as that of a "
        "proxy; *.NAME for all below it; repeat it.",
    ),
    port: int = typer.Option(8000, min=0, max=65535, help="0 takes a free one."),
    max_bytes: int = typer.Option(1 << 18, min=1, help="Bytes a request may have."),
    max_items: int = typer.Option(64, min=1, help="Inputs a request may have."),
    max_tokens: int = typer.Option(1 << 14, min=1, help="Tokens a request's texts may have."),
    max_windows: int = typer.Option(
        256, min=1, help="Windows that a request's texts may be cut into."
    ),
    max_waiting: int = typer.Option(512, min=1, help="Inputs that may wait, of all requests."),
    max_modules: int = typer.Option(32, min=1, help="Modules in memory at the same time."),
    max_connections: int = typer.Option(768, min=2, help="Connections open at the same time."),
    concurrency: int = typer.Option(256, min=1, help="Requests at work at the same time."),
    gather: float = typer.Option(
        5, min=0, max=1000, help="Milliseconds that a request waits for others to share its batch."
    ),
    grace: int = typer.Option(
        30, min=0, help="Seconds that the service may take to finish when it is stopped."
    ),
) -> None:
    """Answer over HTTP: one backbone, many modules, and a page to try them in a browser.

    Each request names its module; requests for different modules share a batch. /docs describes
    the requests. SIGTERM or Ctrl-C finishes what has come and stops.
    """
    from adapter_stilts.backbones import check_precision
    from adapter_stilts.zoo.load import find

    check_precision(precision)
    for name in modules:
        find(name, backbone=backbone)  # a wrong one is told before seconds of imports
    try:
        from adapter_stilts.serving.limits import Limits
        from adapter_stilts.serving.pool import stock
        from adapter_stilts.serving.run import bound, server
    except ModuleNotFoundError as error:
        if error.name not in ("fastapi", "starlette", "uvicorn", "pydantic"):
            raise
        raise UserError(
            f"`adstilts serve` needs {error.name}: pip install 'adapter-stilts[serve]'"
        ) from error
    limits = Limits(
        max_bytes=max_bytes,
        max_items=max_items,
        max_tokens=max_tokens,
        max_windows=max_windows,
        max_connections=max_connections,
        max_waiting=max_waiting,
        concurrency=concurrency,
        max_modules=max_modules,
    )
    with bound(host, port) as listening:
        pool = stock(
            modules,
            backbone=backbone,
            zoo=zoo or not modules,
            most=max_modules,
            precision=precision,
        )
        shown = f"[{host}]" if ":" in host else host
        url = f"http://{shown}:{listening.getsockname()[1]}"
        names = ", ".join(list(pool.offers)[:8]) + (", …" if len(pool.offers) > 8 else "")

        def ready() -> None:
            typer.echo(
                printable(f"{len(pool.offers)} modules ({names}) at {url} (Ctrl-C stops)"),
                err=True,
            )

        service = server(
            pool,
            limits,
            hosts=[host, *allow_host],
            gather=gather / 1000,
            grace=grace,
            on_ready=ready,
        )
        service.run(sockets=[listening])
