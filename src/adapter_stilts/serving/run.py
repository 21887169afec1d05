"""Runs the service until it is told to stop, with connections that cannot block each other."""

from __future__ import annotations

import asyncio
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from adapter_stilts.errors import UserError
from adapter_stilts.serving.app import create_app
from adapter_stilts.serving.limits import Hosts, Limits, ServiceOptions
from adapter_stilts.serving.pool import ModulePool, stock


def bound(host: str, port: int) -> socket.socket:
    """A socket at that address, which nobody else has; port 0 takes a free one.

    Refuses an address that is taken or none of this machine's.
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
    """Ends with an exit code when it was asked to end, instead of by the signal.

    `interrupted` says that it was Ctrl-C.
    """

    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready
        self.interrupted = False

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

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begins to end, and remembers a Ctrl-C."""
        self.interrupted |= sig == signal.SIGINT
        super().handle_exit(sig, frame)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Tells when requests are taken."""
        await super().startup(sockets)
        self._on_ready()


def server(pool: ModulePool, options: ServiceOptions, on_ready: Callable[[], None]) -> Server:
    """The service, which runs until SIGINT or SIGTERM, then finishes what has come."""
    hosts = Hosts([options.host, *options.allow_host])
    config = uvicorn.Config(
        create_app(pool, options, gather=options.gather / 1000, hosts=hosts),
        log_level="warning",
        access_log=False,
        http=protocol(options),
        ws="none",
        timeout_graceful_shutdown=options.grace,
    )
    return Server(config, on_ready)


def run(
    modules: Sequence[str],
    options: ServiceOptions,
    on_ready: Callable[[str, Sequence[str]], None],
) -> None:
    """Offers modules (none named: all that are here for the backbone) until it is told to stop.

    It gives `on_ready` the address and the names of the modules, when requests are taken. It
    refuses as `bound` and `stock`, and ends with KeyboardInterrupt at Ctrl-C.
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
        service = server(pool, options, lambda: on_ready(url, list(pool.offers)))
        service.run(sockets=[listening])
        if service.interrupted:
            raise KeyboardInterrupt


class PatientProtocol(H11Protocol):
    """uvicorn's HTTP with limits that it does not have: patience for heads, and for slow readers.

    uvicorn lets a client send the head of its first request for ever, and wait for ever before it
    reads its answer; its own limit of connections refuses new ones and keeps those that are stuck.
    """

    limits: Limits
    _head: asyncio.TimerHandle | None = None
    _reader: asyncio.TimerHandle | None = None
    _began = 0.0

    def connection_made(self, transport: Any) -> None:
        """Makes room for the connection where there are too many."""
        super().connection_made(transport)
        self._began = time.monotonic()
        if len(self.connections) > self.limits.max_connections:
            others = (each for each in self.connections if isinstance(each, PatientProtocol))
            idle = [each for each in others if each.is_idle and each is not self]
            stuck = min(idle, key=lambda each: each._began, default=self)
            stuck.transport.abort()
        self._watch_head()

    def data_received(self, data: bytes) -> None:
        """Reads on, and stops the clock once a request is whole enough to begin."""
        super().data_received(data)
        self._watch_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stops the clocks."""
        for timer in (self._head, self._reader):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        """Starts the clock for the next request; the time between two is uvicorn's own."""
        self._began = time.monotonic()
        super().on_response_complete()

    def pause_writing(self) -> None:
        """Gives a client that does not read its answer so much time."""
        super().pause_writing()
        self._reader = self.loop.call_later(self.limits.body_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """It reads."""
        if self._reader is not None:
            self._reader.cancel()
            self._reader = None
        super().resume_writing()

    @property
    def is_idle(self) -> bool:
        """Whether no whole request has come that is not answered yet."""
        return self.cycle is None or self.cycle.response_complete or self.cycle.more_body

    def _watch_head(self) -> None:
        waiting = self.conn.their_state is h11.IDLE and not self.transport.is_closing()
        between = self.timeout_keep_alive_task is not None
        if waiting and not between and self._head is None:
            self._head = self.loop.call_later(self.limits.header_seconds, self._too_slow)
        elif not waiting and self._head is not None:
            self._head.cancel()
            self._head = None

    def _too_slow(self) -> None:
        if not self.transport.is_closing():
            self.transport.abort()


def protocol(limits: Limits) -> type[PatientProtocol]:
    """The protocol with these limits, as uvicorn takes it."""
    return type("LimitedProtocol", (PatientProtocol,), {"limits": limits})
