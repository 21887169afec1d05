"""The Hub's answers, checked before `huggingface_hub` acts on them.

`huggingface_hub` takes a server's `ETag` and `X-Repo-Commit` as names of files, reads as much as
is sent for as long as it is sent, and repeats requests inside of repeated calls. Within
`guard_downloads()` every answer goes through here first, for whichever of its functions or of
`datasets` asked.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import queue
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urljoin, urlsplit

import requests
from huggingface_hub import configure_http_backend, constants, get_session
from huggingface_hub.errors import FileMetadataError, OfflineModeIsEnabled
from requests.adapters import BaseAdapter
from urllib3.exceptions import ProtocolError, ReadTimeoutError

from adapter_stilts.errors import FailureError
from adapter_stilts.safety import brief

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


ANSWER_SECONDS = 30.0
"""Until an answer begins; four times as long where something is written."""
UPLOAD_BYTES = 1 << 14
"""Bytes a second that an upload is given time for, beside that."""
MAX_ANSWER = 64 << 20
"""Bytes of an answer whose size was not told before."""
MAX_REQUESTS = 20_000
"""Of one piece of work: lists that go on for ever end here."""
BUSY = (500, 502, 503, 504)

_HASH = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}", re.IGNORECASE)
_COMMIT = re.compile(r"[0-9a-f]{40}", re.IGNORECASE)
_ETAGS = ("X-Linked-Etag", "ETag")
_XET = "X-Xet-Hash"


class HubAnswerError(FailureError):
    """The Hub's answer is not what it may be."""


class NoAnswerError(FileMetadataError, requests.RequestException):
    """No answer came; unlike the error below it, `huggingface_hub` does not try again for it."""


@dataclass(frozen=True)
class RemoteFile:
    """A file as the Hub describes it: its size, and hashes where they are known.

    It has a SHA-256 where it is stored apart (LFS), and git's own hash elsewhere.
    """

    size: int
    sha256: str = ""
    git: str = ""


@dataclass
class Guard:
    """What has been promised, by address, and how often the Hub was asked.

    While it is `closed`, nothing is asked, and the libraries take what they have.
    """

    promises: dict[str, RemoteFile] = field(default_factory=dict)
    asked: int = 0
    closed: bool = False

    def expect(
        self, repo: str, revision: str, files: Mapping[str, RemoteFile], *, kind: str = ""
    ) -> None:
        """Holds the Hub to its own list of files; `kind` is `datasets/` for data sets, or empty."""
        top = f"{constants.ENDPOINT}/{kind}{repo}/resolve/{quote(revision, safe='')}"
        for name, promise in files.items():
            self.promises[unquote(f"{top}/{name}")] = promise

    def count(self) -> None:
        """Counts a request, and refuses one too many (HubAnswerError)."""
        self.asked += 1
        if self.asked > MAX_REQUESTS:
            raise HubAnswerError(f"the Hub's lists do not end (after {MAX_REQUESTS:,} requests)")

    def check(self, response: requests.Response, *, streamed: bool) -> requests.Response:
        """The answer, with a body that ends where it should.

        Raises:
            HubAnswerError: a header that is to become a file's name is none, or a length is
                another than was promised.
            requests.HTTPError: the Hub is busy; whoever asked may ask again.
        """
        request, headers = response.request, response.headers
        _check_names(response)
        headers.pop(_XET, None)  # that protocol would go past this guard
        if response.status_code in BUSY:
            response.close()
            raise requests.HTTPError(
                f"status {response.status_code} for {request.url}", response=response
            )
        place = unquote(request.url or "")
        promise = self.promises.get(place)
        if request.method == "HEAD":
            promise = _promise_of(place, headers, promise, ok=response.ok)
        if promise is not None:
            self.promises[place] = promise
            if "Location" in headers:
                self.promises[unquote(urljoin(request.url or "", headers["Location"]))] = promise
        if request.method != "HEAD":
            _bound(response, place, promise, streamed=streamed)
        return response


def _check_names(response: requests.Response) -> None:
    headers = response.headers
    commit = headers.get("X-Repo-Commit")
    if commit is not None and not _COMMIT.fullmatch(commit):
        raise HubAnswerError(f"the Hub's answer is refused: '{brief(commit)}' is no commit")
    # Only of a HEAD that succeeds, or leads elsewhere, does anybody take the ETag for a name. One
    # that leads to another path of the same place is followed first.
    followed = response.is_redirect and not urlsplit(headers["Location"]).netloc
    if response.request.method != "HEAD" or not response.ok or followed:
        return
    for name in _ETAGS:
        etag = headers.get(name)
        # As `huggingface_hub` reads it, and in the same order.
        if etag and not _HASH.fullmatch(etag.lstrip("W/").strip('"')):
            raise HubAnswerError(
                f"the Hub's answer is refused: its {name} '{brief(etag)}' is no hash of a file"
            )
        if etag:
            return


def _promise_of(
    place: str, headers: Mapping[str, str], known: RemoteFile | None, *, ok: bool
) -> RemoteFile | None:
    """What an answer without a body says of the file that will come."""
    said = headers.get("X-Linked-Size") or headers.get("Content-Length") or ""
    if not ok or not said.isdigit():
        return known
    if "Location" in headers and "X-Linked-Size" not in headers:
        return known  # the length is that of the note that it lies elsewhere
    if known is not None and int(said) != known.size:
        raise _wrong_length(place, int(said), known.size)
    return known or RemoteFile(int(said))


def _bound(
    response: requests.Response, place: str, promise: RemoteFile | None, *, streamed: bool
) -> None:
    declared = response.headers.get("Content-Length", "")
    encoded = response.headers.get("Content-Encoding", "identity").lower() != "identity"
    length = int(declared) if declared.isdigit() and not encoded else None
    whole = response.status_code == 200
    if not response.ok or response.is_redirect:
        promise = None
    most = MAX_ANSWER
    if promise is not None:
        most = promise.size
    elif streamed and length is not None:
        most = length
    if length is not None and (length > most or (promise and whole and length < most)):
        response.close()
        raise _wrong_length(place, length, most)

    def ended(count: int, sum_: Sum) -> None:
        if count > most or (promise and whole and count < most):
            raise _wrong_length(place, count, most)
        if promise and whole and not sum_.fits(promise.sha256, promise.git):
            raise HubAnswerError(
                f"{_file(place)} arrived damaged: its hash is not the one in the Hub's list"
            )

    hashed = promise is not None and whole and bool(promise.sha256 or promise.git)
    sum_ = Sum(promise.size if promise else 0, wanted=hashed)
    response.raw = Body(response.raw, most, ended, sum_)


def _file(place: str) -> str:
    """What a person calls what lies at an address."""
    name = place.partition("/resolve/")[2].partition("/")[2]
    return brief(name or place)


def _wrong_length(place: str, found: int, promised: int) -> HubAnswerError:
    more = " or more" if found > promised else ""
    return HubAnswerError(
        f"{_file(place)} has the wrong length: {found:,} bytes{more}, where the Hub promised "
        f"{promised:,}"
    )


class _Adapter(BaseAdapter):
    """Sends with another adapter, and checks what comes back."""

    def __init__(self, inner: BaseAdapter, guard: Guard) -> None:
        super().__init__()
        self._inner, self._guard = inner, guard

    def send(self, request: Any, stream: bool = False, **options: Any) -> requests.Response:  # type: ignore[override]
        """One request, without what it is redirected to."""
        self._guard.count()
        if constants.HF_HUB_OFFLINE or self._guard.closed:
            raise OfflineModeIsEnabled(f"not asked: {request.url}")
        seconds = ANSWER_SECONDS
        if request.method not in ("GET", "HEAD"):
            size = str(request.headers.get("Content-Length") or "0")
            seconds = 4 * seconds + (int(size) if size.isdigit() else 0) / UPLOAD_BYTES
        try:
            response = within(seconds, lambda: self._inner.send(request, stream=True, **options))
        except (requests.ConnectionError, requests.Timeout) as error:
            raise NoAnswerError(*error.args, request=request) from error
        return self._guard.check(response, streamed=stream)

    def close(self) -> None:
        """Closes the connections."""
        self._inner.close()


def within(seconds: float, call: Callable[[], requests.Response]) -> requests.Response:
    """What the call returns; a server that sends its headers byte by byte is not waited for.

    Raises:
        SlowHubError: it has not returned after so many seconds.
    """
    answers: queue.SimpleQueue[requests.Response | BaseException] = queue.SimpleQueue()
    late = threading.Event()

    def work() -> None:
        try:
            found: requests.Response | BaseException = call()
        except BaseException as error:
            found = error
        answers.put(found)
        if late.is_set() and isinstance(found, requests.Response):
            found.close()

    threading.Thread(target=work, name="hub-answer", daemon=True).start()
    try:
        found = answers.get(timeout=seconds)
    except queue.Empty:
        late.set()
        raise SlowHubError(f"the Hub has not answered within {seconds:g} seconds") from None
    if isinstance(found, BaseException):
        raise found
    return found


@dataclass
class _State:
    """The one guard of the process; nested and simultaneous work shares it."""

    users: int = 0
    guard: Guard = field(default_factory=Guard)
    before: requests.Session | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)


_STATE = _State()


@contextmanager
def guard_downloads() -> Iterator[Guard]:
    """Within it, all that `huggingface_hub` and `datasets` are answered is checked."""
    with _STATE.lock:
        _STATE.users += 1
        if _STATE.users == 1:
            _STATE.guard = Guard()
            # Switched off, the library has sessions that refuse all; so does the guard.
            before = None if constants.HF_HUB_OFFLINE else get_session()
            _STATE.before, model = before, before or requests.Session()
            configure_http_backend(lambda: _watch(model, _STATE.guard))
        guard = _STATE.guard
    try:
        yield guard
    finally:
        with _STATE.lock:
            _STATE.users -= 1
            if not _STATE.users:
                _restore(_STATE.before)


@contextmanager
def close_hub() -> Iterator[None]:
    """Within it the Hub is not asked: what needs it fails at once, instead of after a while."""
    with guard_downloads() as guard:
        before, guard.closed = guard.closed, True
        try:
            yield
        finally:
            guard.closed = before


def _restore(before: requests.Session | None) -> None:
    if before is None:
        configure_http_backend()
    else:
        configure_http_backend(lambda: _like(before))


def _watch(session: requests.Session, guard: Guard) -> requests.Session:
    """Such a session, with the guard around its adapters."""
    made = _like(session)
    for prefix, adapter in session.adapters.items():
        made.mount(prefix, _Adapter(adapter, guard))
    return made


def _like(session: requests.Session) -> requests.Session:
    """A session for another thread with the same proxies, certificates and adapters."""
    made = copy.copy(session)
    made.adapters = copy.copy(session.adapters)
    made.cookies = copy.copy(session.cookies)
    return made


_BLOCK = 1 << 20


def damage(path: Path, known: RemoteFile | None) -> str:
    """What is wrong with a file ("length" or "hash"); nothing where it is what it should be.

    Args:
        known: what the Hub lists. Without it, the hash that the cache calls the file by counts;
            a cache without symbolic links has no such names.
    """
    size = path.stat().st_size
    if known is None:
        name = path.resolve().name.lower()
        is_sha256, is_git = (re.fullmatch(f"[0-9a-f]{{{digits}}}", name) for digits in (64, 40))
        known = RemoteFile(size, name if is_sha256 else "", name if is_git else "")
    if size != known.size:
        return "length"
    found = Sum(size, wanted=bool(known.sha256 or known.git))
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            found.add(block)
    return "" if found.fits(known.sha256, known.git) else "hash"


def discard(path: Path) -> None:
    """Removes a file from the cache, so that it is fetched anew."""
    path.resolve().unlink(missing_ok=True)
    path.unlink(missing_ok=True)
