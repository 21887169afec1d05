"""Connections that send nothing useful end, and cannot keep others out."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from adapter_stilts.serving.limits import Limits


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
