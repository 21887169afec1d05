"""By which names the service may be called: pages of other sites are to have no way to it."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.types import Scope

from adapter_stilts.safety import brief


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
