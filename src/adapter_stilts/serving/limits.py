"""How much the service takes on, by which names it is called, and how it refuses the rest."""

from __future__ import annotations

import asyncio
import ipaddress
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

from annotated_types import Ge, Le

from adapter_stilts.safety import brief

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

Count = Annotated[int, Ge(1)]
DRAINED = 256
"""Bodies up to so many times the limit are read to their end, and forgotten: a client that is
still sending when the connection is closed would not see the refusal."""


@dataclass(frozen=True)
class Limits:
    """What one request, and all of them together, may ask for.

    Attributes:
        max_bytes: bytes that a request's body may have.
        max_items: inputs that a request may have.
        max_tokens: tokens that the texts of a request may have.
        max_windows: windows that the texts of a request may be cut into, each as long as a module
            reads at once.
        max_waiting: inputs that may wait for their turn, of all requests.
        concurrency: requests that are worked on at the same time.
        max_modules: modules and compositions that are in memory at the same time.
        max_connections: connections that are open at the same time; more push out those that have
            asked nothing.
        header_seconds: how long a client may take to send the head of a request.
        body_seconds: how long it may take to send a body, or to read an answer.
    """

    max_bytes: Count = 1 << 18
    max_items: Count = 64
    max_tokens: Count = 1 << 14
    max_windows: Count = 256
    max_waiting: Count = 512
    concurrency: Count = 256
    max_modules: Count = 32
    max_connections: Annotated[int, Ge(2)] = 768
    header_seconds: float = 10.0
    body_seconds: float = 30.0


@dataclass(frozen=True)
class ServiceOptions(Limits):
    """What the service offers, where it can be asked, and how much it takes on.

    Attributes:
        zoo: offer all modules that are here for the backbone as well.
        backbone: which backbone; by default that of the modules.
        precision: the precision of the backbone: `auto`, `bf16` or `fp32`.
        host: the address to listen at; by default only this machine can ask.
        allow_host: a name that the service may be called by, beside localhost and addresses, such
            as that of a proxy; *.NAME stands for all names below it; it may be repeated.
        port: the port to listen at; 0 takes a free one.
        gather: the milliseconds that a request waits for others to share its batch.
        grace: the seconds that the service may take to finish when it is stopped.
    """

    zoo: bool = False
    backbone: str | None = None
    precision: str = "auto"
    host: str = "127.0.0.1"
    allow_host: Sequence[str] = ()
    port: Annotated[int, Ge(0), Le(65535)] = 8000
    gather: Annotated[float, Ge(0), Le(1000)] = 5
    grace: Annotated[int, Ge(0)] = 30


class Guard:
    """Reads bodies up to their limit and lets so many requests through at a time.

    `/health` is answered whatever the load. Requests whose body has not arrived are no load yet:
    slow clients keep nobody out.
    """

    def __init__(self, app: ASGIApp, limits: Limits, hosts: Hosts | None = None) -> None:
        self._app = app
        self._limits = limits
        self._hosts = hosts
        self._running = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        is_http = scope["type"] == "http"
        if is_http and self._hosts is not None and (why := self._hosts.complaint(scope)):
            await refuse(send, 403, why)
            return
        if not is_http or scope["path"] == "/health":
            await self._app(scope, receive, send)
            return
        if await self._is_full(send):
            return
        whole = await self._whole_body(scope, receive, send)
        if whole is None or await self._is_full(send):
            return
        self._running += 1
        try:
            await self._app(scope, whole, send)
        finally:
            self._running -= 1

    async def _is_full(self, send: Send) -> bool:
        """Whether no more requests are let through, which is said then."""
        if full := self._running >= self._limits.concurrency:
            why = f"{self._running} requests are at work, which is the limit: try again"
            await refuse(send, 429, why, retry=1)
        return full

    async def _whole_body(self, scope: Scope, receive: Receive, send: Send) -> Receive | None:
        """What gives the body that has arrived; None where it was refused."""
        most = self._limits.max_bytes
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        if declared.isdigit() and int(declared) > most * DRAINED:
            await refuse(send, 413, _too_large(most))
            return None
        try:
            async with asyncio.timeout(self._limits.body_seconds):
                messages = await _body(receive, most)
        except TimeoutError:
            why = f"the request's body did not arrive within {self._limits.body_seconds:g} seconds"
            await refuse(send, 408, why)
            return None
        if messages is None:
            await refuse(send, 413, _too_large(most))
            return None
        return _replay(messages, receive)


def _too_large(most: int) -> str:
    return f"the request is larger than {most:,} bytes, which is the limit"


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


def _replay(messages: list[Message], receive: Receive) -> Receive:
    waiting = iter(messages)

    async def replay() -> Message:
        message = next(waiting, None)
        return await receive() if message is None else message

    return replay


async def refuse(send: Send, status: int, why: str, *, retry: int = 0) -> None:
    """Answers with a reason, as JSON."""
    body = json.dumps({"error": why}, allow_nan=False).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    if retry:
        headers.append((b"retry-after", b"%d" % retry))
    else:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class Hosts:
    """Checks the headers Host and Origin.

    A page of another site can let its own name point to this machine (DNS rebinding), and would
    then read the answers. It cannot do so with an address, nor with a name that is not its own.
    """

    def __init__(self, names: Iterable[str]) -> None:
        """Allows these names beside `localhost` and addresses; `*.` stands for all below one."""
        self._names = {name.lower().rstrip(".") for name in names} | {"localhost"}

    def complaint(self, scope: Scope) -> str:
        """Why a request is not answered; nothing if it is."""
        given = [value.decode("latin-1") for key, value in scope["headers"] if key == b"host"]
        if len(given) != 1 or not self._is_allowed(given[0]):
            shown = brief(given[0]) if given else ""
            return f"this service is not called '{shown}': start it with --allow-host NAME"
        for key, value in scope["headers"]:
            origin = value.decode("latin-1").lower()
            if key == b"origin" and not self._is_own(origin, given[0].lower()):
                return f"pages of '{brief(origin)}' may not ask this service"
        return ""

    def _is_allowed(self, host: str) -> bool:
        name = _name(host)
        return _is_address(name) or _is_among(name, self._names)

    def _is_own(self, origin: str, host: str) -> bool:
        """Whether a page comes from here, or from a name that was allowed on purpose."""
        place = origin.partition("://")[2]
        if place == host:
            return True
        name = _name(place)
        named = self._names - {"localhost"}
        return not _is_address(name) and _is_among(name, named)


def _is_among(name: str, names: set[str]) -> bool:
    """Whether it is one of the names, or below one that begins with `*.`."""
    parts = name.split(".")
    below = {f"*.{'.'.join(parts[n:])}" for n in range(1, len(parts))}
    return bool(name) and bool({name, "*", *below} & names)


def _name(host: str) -> str:
    """The name in `name:port`; empty where it is none."""
    try:
        found = urlsplit(f"//{host}")
        _ = found.port
    except ValueError:
        return ""
    if found.path or found.query or found.fragment or "@" in host:
        return ""
    return (found.hostname or "").rstrip(".")


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
