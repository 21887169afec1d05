"""The body of an answer, read piece by piece: neither longer nor slower than it may be."""

from __future__ import annotations

import contextlib
import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from urllib3.exceptions import ProtocolError, ReadTimeoutError

from adapter_stilts.errors import FailureError

PIECE = 1 << 16
PIECE_SECONDS = 30.0
"""So long may a piece take to arrive: a line of 2 KB a second is enough."""


class SlowHubError(FailureError):
    """So little comes that it would never end."""


class Sum:
    """The hashes of what goes by: SHA-256, and git's own."""

    def __init__(self, size: int, *, wanted: bool) -> None:
        self._sha256 = hashlib.sha256() if wanted else None
        self._git = hashlib.sha1(b"blob %d\0" % size) if wanted else None

    def add(self, piece: bytes) -> None:
        """The next bytes."""
        for each in (self._sha256, self._git):
            if each is not None:
                each.update(piece)

    def fits(self, sha256: str, git: str) -> bool:
        """Whether it is that content; git's hash counts where there is no other."""
        if self._sha256 is None or self._git is None:
            return True
        if sha256:
            return self._sha256.hexdigest() == sha256
        return len(git) != 40 or self._git.hexdigest() == git


class Body:
    """Stands where `requests` has urllib3's response, and is read as that is."""

    def __init__(self, raw: Any, most: int, ended: Callable[[int, Sum], None], sum_: Sum) -> None:
        """`ended` is told how much came, at the end or once it is more than `most`."""
        self._raw, self._most, self._ended, self._sum = raw, most, ended, sum_
        self._since: float | None = None
        self._over = threading.Event()
        self._late = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._raw, name)

    def stream(self, amt: int = PIECE, decode_content: bool | None = None) -> Iterator[bytes]:
        """The body in pieces of at most `amt` bytes.

        Raises:
            SlowHubError: a piece took too long.
            ProtocolError: the line was cut, or nothing came any more.
        """
        threading.Thread(target=self._watch, name="hub-watch", daemon=True).start()
        count = 0
        try:
            while piece := self._piece(min(amt or PIECE, PIECE), decode_content):
                count += len(piece)
                if count > self._most:
                    self._ended(count, self._sum)
                self._sum.add(piece)
                yield piece
            self._ended(count, self._sum)
        except BaseException:
            self._raw.close()
            raise
        finally:
            self._over.set()

    def _piece(self, size: int, decode: bool | None) -> bytes:
        self._since = time.monotonic()
        try:
            piece: bytes = self._raw.read(size, decode_content=decode)
        except Exception as error:
            if self._late:
                raise self._slow() from error
            if isinstance(error, ReadTimeoutError):
                # Under its own name `huggingface_hub` would try again by itself.
                raise ProtocolError(str(error)) from error
            raise
        finally:
            self._since = None
        if self._late:
            raise self._slow()
        return piece

    def _slow(self) -> SlowHubError:
        return SlowHubError(
            f"the Hub sends so slowly ({PIECE:,} bytes did not come within {PIECE_SECONDS:g} "
            "seconds) that the download was given up: try later"
        )

    def _watch(self) -> None:
        while not self._over.wait(min(1.0, PIECE_SECONDS / 4)):
            since = self._since
            if since is not None and time.monotonic() - since > PIECE_SECONDS:
                self._late = True
                with contextlib.suppress(Exception):
                    self._raw.shutdown()
                return
