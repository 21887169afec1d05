"""The one way to the Hub: calls are repeated where that helps, and fail with one line."""

from __future__ import annotations

import contextlib
import datetime
import email.utils
import errno
import logging
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import requests
from huggingface_hub import HfApi, constants, errors, hf_hub_download
from huggingface_hub.hf_api import DatasetInfo, ModelInfo

from adapter_stilts.errors import FailureError, UserError
from adapter_stilts.hub import is_commit
from adapter_stilts.hub.guard import HubAnswerError, RemoteFile, damage, discard, guard_downloads
from adapter_stilts.safety import brief, first_line, printable

T = TypeVar("T")
logger = logging.getLogger(__name__)

ATTEMPTS = 5
MAX_WAIT = 60.0
"""Seconds; a Hub that asks for a longer pause is not waited for."""
SECONDS = 10.0
"""How long a question about a repository waits for its answer."""
_OTHER_COMMIT = (409, 412)
"""Another commit is being made, or was made since the repository was looked at."""
_BUSY = (429, 500, 502, 503, 504)
_NOT_CONNECTED = ("NewConnectionError", "NameResolutionError", "ConnectTimeoutError", "ProxyError")
_NETWORK = ("requests", "urllib3", "httpx", "httpcore")


@dataclass(frozen=True)
class Repository:
    """A repository on the Hub, and how messages speak of it.

    Attributes:
        id: such as `someone/xlmr-large-squad`.
        kind: what it holds.
        revision: a branch, a tag or a commit; nothing for the main branch.
        remedy: what a user can do without it.
    """

    id: str
    kind: Literal["module", "backbone", "data set"] = "module"
    revision: str = ""
    remedy: str = ""

    def __post_init__(self) -> None:
        """Refuses a revision that would lead out of the library's cache, which makes a path of it.

        A module's record names its backbone's, so a stranger may have written it.
        """
        parts = self.revision.split("/") if self.revision else ()
        if {"", ".", ".."}.intersection(parts) or set(self.revision) & set("\\\0"):
            what = "is no revision: that is a branch, a tag or a commit"
            raise UserError(f"{self}: '{brief(self.revision)}' {what}")

    def __str__(self) -> str:
        return f"{self.kind} '{self.id}'"

    @property
    def page(self) -> str:
        """Its address for a person."""
        return f"{constants.ENDPOINT}/{'datasets/' if self.kind == 'data set' else ''}{self.id}"


class NotInRepositoryError(UserError):
    """The repository has no such file."""


def call(repository: Repository, ask: Callable[[], T], *, writes: bool = False) -> T:
    """The result of a call of `huggingface_hub` or `datasets`, whose answers are checked.

    It is repeated where the Hub is busy or the line was cut, and then goes on where it stopped.
    Nothing below repeats it as well.

    Args:
        writes: whether it changes the repository.

    Raises:
        UserError: no such repository, revision or file, no access, no connection.
        FailureError: the disk is full, the Hub failed again and again, or its answer is refused.
    """
    try:
        return _retry(repository, ask, writes=writes)
    except Exception as error:
        told = explain(repository, error, writes=writes)
        if told is error:
            raise
        raise told from error


def look(repository: Repository) -> tuple[str, dict[str, RemoteFile]]:
    """The commit that a revision is now, and its files; fails as `call`, and for a useless list."""
    api = HfApi()
    ask: Callable[..., ModelInfo | DatasetInfo] = (
        api.dataset_info if repository.kind == "data set" else api.model_info
    )
    info = call(
        repository,
        lambda: ask(
            repository.id,
            revision=repository.revision or None,
            files_metadata=True,
            timeout=SECONDS,
        ),
    )
    if not isinstance(info.sha, str) or not is_commit(info.sha):
        raise FailureError(f"the Hub names no commit for {repository}")
    return info.sha, dict(_files(repository, info))


def _files(
    repository: Repository, info: ModelInfo | DatasetInfo
) -> Iterator[tuple[str, RemoteFile]]:
    for each in info.siblings or ():
        name, size = each.rfilename, each.size
        if not isinstance(name, str) or not isinstance(size, int) or size < 0:
            raise FailureError(f"the Hub's list of the files of {repository} is of no use")
        leads_out = name[:1] == "/" or "\0" in name or {"..", "."} & set(re.split(r"[/\\]", name))
        if repository.kind == "data set" and leads_out:  # `datasets` takes them all
            raise HubAnswerError(
                f"{repository}: '{brief(name)}' is listed, which is no file's name"
            )
        sha256 = str(each.lfs.sha256 or "") if each.lfs else ""
        yield name, RemoteFile(size, sha256, str(each.blob_id or ""))


def download(
    repository: Repository,
    file: str,
    known: RemoteFile | None = None,
    *,
    cached_only: bool = False,
) -> Path:
    """A file through the library's cache; what is damaged there is fetched once more.

    Args:
        known: what it must be; otherwise its name in the cache, which is its hash, tells.
        cached_only: do not ask the Hub.

    Raises:
        NotInRepositoryError: the repository has no such file.
        UserError, FailureError: as `call`; or it was damaged the second time too.
    """
    wrong = ""
    for again in (False, True):
        path = Path(
            call(
                repository,
                lambda again=again: hf_hub_download(  # type: ignore[misc]
                    repository.id,
                    file,
                    revision=repository.revision or None,
                    local_files_only=cached_only,
                    force_download=again and not cached_only,
                ),
            )
        )
        wrong = damage(path, known)
        if not wrong:
            return path
        discard(path)
    raise FailureError(
        f"{repository}: {brief(file)} arrived damaged twice (its {wrong} is not what the Hub "
        "says): try later"
    )


def _retry(repository: Repository, ask: Callable[[], T], *, writes: bool) -> T:
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with guard_downloads():
                return ask()
        except (UserError, FailureError):
            raise
        except Exception as error:
            wait = _pause(error, attempt, writes=writes)
            if wait is None or wait > MAX_WAIT or attempt == ATTEMPTS:
                raise
            logger.info("%s: trying again in %.0f s (%s)", repository, wait, _first_words(error))
            time.sleep(wait)
    raise AssertionError


def _pause(error: BaseException, attempt: int, *, writes: bool) -> float | None:
    """Seconds until it is worth trying again; None: never."""
    if _find_refusal(error) is not None or _is_offline(error) or _is_unreachable(error):
        return None
    status = status_of(error)
    if status in _BUSY or (writes and status in _OTHER_COMMIT):
        return _retry_after(error) or float(2**attempt) / 4
    cut = (requests.exceptions.ChunkedEncodingError, requests.ConnectionError, requests.Timeout)
    if status is None and any(isinstance(each, cut) for each in _causes(error)):
        return float(2**attempt) / 4
    return None


def _retry_after(error: BaseException) -> float | None:
    """What the header Retry-After says: seconds, or a date."""
    response = _response(error)
    asked = response.headers.get("Retry-After") if response is not None else None
    if not asked:
        return None
    if asked.strip().isdigit():
        return float(asked.strip()[:9])
    with contextlib.suppress(ValueError, TypeError):
        until = email.utils.parsedate_to_datetime(asked)
        return max(0.0, (until - datetime.datetime.now(datetime.UTC)).total_seconds())
    return None


def explain(
    repository: Repository, error: Exception, *, writes: bool = False
) -> UserError | FailureError:
    """The libraries' many exceptions as one line that names a way out."""
    if isinstance(error, UserError):
        return error
    if any(_is_full(each) for each in _causes(error)):
        return FailureError(
            f"disk full while downloading {repository}: free some space, then try again"
        )
    if (found := _find_refusal(error)) is not None:
        return found if str(repository) in str(found) else FailureError(f"{repository}: {found}")
    remedy = f"; {repository.remedy}" if repository.remedy else ""
    kinds = tuple(type(each) for each in _causes(error))
    status = status_of(error)
    if errors.HFValidationError in kinds:
        return UserError(f"'{repository.id}' is no id of the Hub ({first_line(error)}){remedy}")
    if errors.GatedRepoError in kinds or "is a gated dataset" in str(error):  # says `datasets`
        return UserError(
            f"{repository} is gated: ask for access at {repository.page}, then log in with "
            f"`hf auth login`{remedy}"
        )
    if errors.RevisionNotFoundError in kinds:
        revision = repository.revision or constants.DEFAULT_REVISION
        return UserError(f"{repository} has no revision '{revision}' on the Hub{remedy}")
    if writes and status in (401, 403):
        return UserError(
            f"no write access to '{repository.id}' on the Hub (status {status}): log in with "
            "`hf auth login` and a token that may write there"
        )
    if status == 401 or errors.RepositoryNotFoundError in kinds:
        return UserError(
            f"no {repository} on the Hub (misspelt, or private: log in with `hf auth login`)"
            f"{remedy}"
        )
    if status is None and _is_offline(error):
        return UserError(
            f"{repository} is not here, and HF_HUB_OFFLINE switches the Hub off: unset it{remedy}"
        )
    absent = isinstance(error, errors.EntryNotFoundError)
    if absent and not isinstance(error, errors.LocalEntryNotFoundError):
        return NotInRepositoryError(f"{repository} lacks a file ({first_line(error)})")
    return _explain_rest(repository, error, status, remedy)


def _explain_rest(
    repository: Repository, error: Exception, status: int | None, remedy: str
) -> UserError | FailureError:
    if status == 403:
        return UserError(f"the Hub gives no access to {repository} (status 403){remedy}")
    if status in _OTHER_COMMIT:
        return FailureError(f"others are writing to {repository} (status {status}): try again")
    if status == 429:
        return FailureError(
            f"the Hub asks for a longer pause ({repository}, status 429): try later"
        )
    if status is not None and (status >= 500 or isinstance(error, errors.HfHubHTTPError)):
        return FailureError(
            f"the Hub failed for {repository} (status {status}: {_first_words(error)}): "
            f"try later{remedy}"
        )
    if (wrong := _broken(error)) is not None:
        return FailureError(f"{repository}: {wrong}{remedy}")
    if network := [each for each in _causes(error) if _is_network(each)]:
        return UserError(
            f"{repository} is not here, and the Hub cannot be reached "
            f"({type(network[0]).__name__} at {constants.ENDPOINT}): connect first, or check "
            f"HF_ENDPOINT and the proxies{remedy}"
        )
    return UserError(f"{repository} cannot be read from the Hub ({_first_words(error)}){remedy}")


def status_of(error: BaseException) -> int | None:
    """The HTTP status that the Hub answered with, if it answered."""
    response = _response(error)
    return None if response is None else int(response.status_code)


def _response(error: BaseException) -> Any:
    found = (getattr(each, "response", None) for each in _causes(error))
    return next((each for each in found if each is not None), None)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error and what led to it."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _find_refusal(error: BaseException) -> FailureError | None:
    """What the guard said of an answer, if that is why the call failed."""
    return next((each for each in _causes(error) if isinstance(each, FailureError)), None)


def _is_offline(error: BaseException) -> bool:
    """Whether the Hub was not asked, as the user wished."""
    return bool(constants.HF_HUB_OFFLINE) or any(
        isinstance(each, errors.OfflineModeIsEnabled) for each in _causes(error)
    )


def _is_unreachable(error: BaseException) -> bool:
    """Whether no connection came about at all."""
    return status_of(error) is None and any(
        isinstance(each, requests.exceptions.ConnectTimeout | requests.exceptions.ProxyError)
        or any(kind in repr(each) for kind in _NOT_CONNECTED)
        for each in _causes(error)
        if isinstance(each, requests.ConnectionError | requests.Timeout)
    )


def _is_network(error: BaseException) -> bool:
    """Whether the line failed; HTTP libraries have their own names for that."""
    kinds = ConnectionError | TimeoutError | errors.LocalEntryNotFoundError
    return isinstance(error, kinds) or type(error).__module__.split(".")[0] in _NETWORK


def _is_full(error: BaseException) -> bool:
    return isinstance(error, OSError) and (
        error.errno == errno.ENOSPC or str(error).startswith("Not enough disk space")
    )


def _broken(error: BaseException) -> str | None:
    """What was wrong with what the Hub sent, where it is that and not the line to it."""
    for each in _causes(error):
        if type(each).__name__ == "JSONDecodeError":
            return f"the Hub's answer is broken JSON ({_first_words(each)})"
        if "Consistency check failed" in str(each):
            return f"a file has the wrong length ({_first_words(each)})"
    return None


def _first_words(error: BaseException) -> str:
    """The beginning of what an exception says, with its kind."""
    return printable(f"{type(error).__name__}: {' '.join(str(error).split())[:160]}")
