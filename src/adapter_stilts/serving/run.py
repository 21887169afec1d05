"""Runs the service until it is told to stop."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import uvicorn

from adapter_stilts.errors import UserError
from adapter_stilts.serving.app import create_app
from adapter_stilts.serving.connections import protocol
from adapter_stilts.serving.hosts import Hosts
from adapter_stilts.serving.limits import Limits, ServiceOptions
from adapter_stilts.serving.pool import ModulePool, stock


def bound(host: str, port: int) -> socket.socket:
    """A socket at that address, which nobody else has; port 0 takes a free one.

    Raises:
        UserError: the address is taken or is none of this machine's.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        made = socket.socket(family, kind, protocol)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", None) or error
        raise UserError(
            f"cannot listen at {host}:{port} ({why}): choose --host and --port"
        ) from error
    return made


class Server(uvicorn.Server):
    """Ends with the usual exit code when it was asked to end, instead of by the signal."""

    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """SIGINT and SIGTERM stop the service; a second Ctrl-C does not wait."""
        if threading.current_thread() is not threading.main_thread():
            yield  # only the main thread may handle signals
            return
        signals = (signal.SIGINT, signal.SIGTERM)
        before = {each: signal.signal(each, self.handle_exit) for each in signals}
        try:
            yield
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Tells when requests are taken."""
        await super().startup(sockets)
        self._on_ready()


def server(
    pool: ModulePool,
    limits: Limits,
    *,
    hosts: Sequence[str] = (),
    gather: float,
    grace: int,
    on_ready: Callable[[], None],
) -> Server:
    """The service, which runs until SIGINT or SIGTERM, then finishes what has come.

    Args:
        hosts: names that it may be called by, beside `localhost` and addresses.
        gather: seconds that a request waits for others to share its batch.
        grace: seconds at most to finish.
    """
    options: dict[str, Any] = {
        "log_level": "warning",
        "access_log": False,
        "http": protocol(limits),
        "ws": "none",
    }
    config = uvicorn.Config(
        create_app(pool, limits, gather=gather, hosts=Hosts(hosts)),
        timeout_graceful_shutdown=grace,
        **options,
    )
    return Server(config, on_ready)


def run(
    modules: Sequence[str],
    options: ServiceOptions,
    on_ready: Callable[[str, Sequence[str]], None],
) -> None:
    """Offers modules until the service is told to stop.

    Args:
        modules: names and compositions; none of them: all that are here for the backbone.
        on_ready: is given the address and the names of the modules, when requests are taken.

    Raises:
        UserError: as `bound` and `stock`.
    """
    host = options.host
    with bound(host, options.port) as listening:
        pool = stock(
            modules,
            backbone=options.backbone,
            zoo=options.zoo or not modules,
            most=options.max_modules,
            precision=options.precision,
        )
        shown = f"[{host}]" if ":" in host else host
        url = f"http://{shown}:{listening.getsockname()[1]}"
        server(
            pool,
            options,
            hosts=[host, *options.allow_host],
            gather=options.gather / 1000,
            grace=options.grace,
            on_ready=lambda: on_ready(url, list(pool.offers)),
        ).run(sockets=[listening])
