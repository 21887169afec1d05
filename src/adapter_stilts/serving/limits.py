"""How much the service takes on, and what a client is told that asks for more."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass

from starlette.types import ASGIApp, Message, Receive, Scope, Send

DRAINED = 256
"""Bodies up to so many times the limit are read to their end, and forgotten: a client that is
still sending when the connection is closed would not see the refusal."""


@dataclass(frozen=True)
class Limits:
    """What one request, and all of them together, may ask for.

    Attributes:
        max_bytes: of a request's body.
        max_items: inputs in one request.
        max_waiting: inputs that wait for their turn, of all requests.
        concurrency: requests at work at the same time.
        max_modules: modules and compositions in memory.
        body_seconds: how long a client may take to send a body.
    """

    max_bytes: int = 1 << 18
    max_items: int = 64
    max_waiting: int = 512
    concurrency: int = 128
    max_modules: int = 32
    body_seconds: float = 30.0


class Guard:
    """Reads bodies up to their limit and lets so many requests through at a time.

    `/health` is answered whatever the load.
    """

    def __init__(self, app: ASGIApp, limits: Limits) -> None:
        self._app = app
        self._limits = limits
        self._running = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http" or scope["path"] == "/health":
            await self._app(scope, receive, send)
            return
        if self._running >= self._limits.concurrency:
            why = f"{self._running} requests are at work, which is the limit: try again"
            await refuse(send, 429, why, retry=1)
            return
        self._running += 1
        try:
            await self._within_size(scope, receive, send)
        finally:
            self._running -= 1

    async def _within_size(self, scope: Scope, receive: Receive, send: Send) -> None:
        most = self._limits.max_bytes
        declared = _declared(scope)
        if declared > most * DRAINED:
            await refuse(send, 413, _too_large(most))
            return
        try:
            async with asyncio.timeout(self._limits.body_seconds):
                messages = await _body(receive, most)
        except TimeoutError:
            why = f"the request's body did not arrive within {self._limits.body_seconds:g} seconds"
            await refuse(send, 408, why)
            return
        if messages is None:
            await refuse(send, 413, _too_large(most))
            return
        await self._app(scope, _replayed(messages, receive), send)


def _too_large(most: int) -> str:
    return f"the request is larger than {most:,} bytes, which is the limit"


def _declared(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value) if value.isdigit() else 0
    return 0


async def _body(receive: Receive, most: int) -> list[Message] | None:
    """The messages of a body; None if it is too large."""
    messages: list[Message] = []
    size, more = 0, True
    while more:
        message = await receive()
        size += len(message.get("body", b""))
        more = message["type"] == "http.request" and message.get("more_body", False)
        if size <= most:
            messages.append(message)
        elif size > most * DRAINED:
            break
    return messages if size <= most else None


def _replayed(messages: list[Message], receive: Receive) -> Receive:
    waiting = iter(messages)

    async def replay() -> Message:
        message = next(waiting, None)
        return await receive() if message is None else message

    return replay


async def refuse(send: Send, status: int, why: str, *, retry: int = 0) -> None:
    """Answers with a reason, as JSON."""
    body = json.dumps({"error": why}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    if retry:
        headers.append((b"retry-after", b"%d" % retry))
    else:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
