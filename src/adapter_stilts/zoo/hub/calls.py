"""Calls of the Hub: repeated where that helps, and one line for all that can go wrong."""

from __future__ import annotations

import contextlib
import datetime
import email.utils
import errno
import logging
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import requests
from huggingface_hub import constants, errors

from adapter_stilts.errors import FailureError, UserError
from adapter_stilts.safety import printable

T = TypeVar("T")
logger = logging.getLogger(__name__)

ATTEMPTS = 5
MAX_WAIT = 60.0
"""Seconds; a Hub that asks for a longer pause is not waited for."""
_BUSY = (429, 500, 502, 503, 504)
_OTHER_COMMIT = (409, 412)
"""Another commit is being made, or was made since the repository was looked at."""


class DamagedDownloadError(Exception):
    """What came is not what the Hub says that it has."""


def patient(repo: str, call: Callable[[], T], *, writes: bool = False) -> T:
    """The result of a call; it is repeated where the Hub is busy or the line was cut.

    Args:
        repo: the repository it is about, for what the user is told.
        call: a call of `huggingface_hub`, which goes on where it stopped.
        writes: whether it changes the repository.

    Raises:
        UserError: no such repository, no access, no connection.
        FailureError: the disk is full, or the Hub failed again and again.
    """
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return call()
        except (UserError, FailureError):
            raise
        except Exception as error:
            wait = _pause(error, attempt, writes=writes)
            if wait is None or wait > MAX_WAIT or attempt == ATTEMPTS:
                raise explain(repo, error, writes=writes) from error
            logger.info("%s: trying again in %.0f s (%s)", repo, wait, _said(error))
            time.sleep(wait)
    raise AssertionError


def _pause(error: BaseException, attempt: int, *, writes: bool) -> float | None:
    """Seconds until it is worth trying again; None: never."""
    if is_offline(error) or unreachable(error):
        return None
    status = status_of(error)
    if status in _BUSY or (writes and status in _OTHER_COMMIT):
        return _asked_pause(error) or float(2**attempt) / 4
    cut = (requests.exceptions.ChunkedEncodingError, requests.ConnectionError, requests.Timeout)
    if status is None and any(isinstance(each, cut) for each in causes(error)):
        return float(2**attempt) / 4
    return None


def _asked_pause(error: BaseException) -> float | None:
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


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error and what led to it."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _response(error: BaseException) -> Any:
    for each in causes(error):
        response = getattr(each, "response", None)
        if response is not None:
            return response
    return None


def status_of(error: BaseException) -> int | None:
    """The HTTP status that the Hub answered with, if it answered."""
    response = _response(error)
    return None if response is None else int(response.status_code)


def is_offline(error: BaseException) -> bool:
    """Whether the Hub was not asked, as the user wished."""
    return bool(constants.HF_HUB_OFFLINE) or any(
        isinstance(each, errors.OfflineModeIsEnabled) for each in causes(error)
    )


def unreachable(error: BaseException) -> bool:
    """Whether no connection came about at all."""
    refused = ("NewConnectionError", "NameResolutionError", "ConnectTimeoutError", "ProxyError")
    return status_of(error) is None and any(
        isinstance(each, requests.exceptions.ConnectTimeout | requests.exceptions.ProxyError)
        or any(kind in repr(each) for kind in refused)
        for each in causes(error)
        if isinstance(each, requests.ConnectionError | requests.Timeout)
    )


def explain(repo: str, error: Exception, *, writes: bool = False) -> UserError | FailureError:
    """The libraries' many exceptions as one line that names a way out."""
    kinds = {type(each) for each in causes(error)}
    status = status_of(error)
    if any(isinstance(each, OSError) and each.errno == errno.ENOSPC for each in causes(error)):
        return FailureError(
            f"disk full while downloading '{repo}': free some space, then try again"
        )
    if isinstance(error, DamagedDownloadError):
        return FailureError(str(error))
    if isinstance(error, errors.HFValidationError):
        return UserError(f"'{repo}' is no id of the Hub: ids look like someone/xlmr-large-squad")
    if is_offline(error):
        return UserError(
            f"the Hub is needed for '{repo}', and HF_HUB_OFFLINE switches it off: unset it"
        )
    if errors.GatedRepoError in kinds:
        return UserError(
            f"'{repo}' is gated: ask for access at {constants.ENDPOINT}/{repo}, then log in with "
            "`hf auth login`"
        )
    if errors.RevisionNotFoundError in kinds:
        return UserError(f"'{repo}' has no such revision on the Hub")
    if writes and status in (401, 403):
        return UserError(
            f"no write access to '{repo}' on the Hub (status {status}): log in with "
            "`hf auth login` and a token that may write there"
        )
    if status == 401:
        return UserError(
            f"'{repo}' is private or not on the Hub (status 401): log in with `hf auth login`"
        )
    if errors.RepositoryNotFoundError in kinds:
        return UserError(
            f"no module '{repo}' on the Hub (misspelt, or private: log in with `hf auth login`)"
        )
    return _explain_rest(repo, error, status)


def _explain_rest(repo: str, error: Exception, status: int | None) -> UserError | FailureError:
    if status == 403:
        return UserError(f"the Hub gives no access to '{repo}' (status 403)")
    if status in _OTHER_COMMIT:
        return FailureError(f"others are writing to '{repo}' (status {status}): try again later")
    if status == 429:
        return FailureError(f"the Hub asks for a longer pause ('{repo}', status 429): try later")
    if status is not None:
        return FailureError(f"the Hub failed for '{repo}' (status {status}: {_said(error)})")
    if isinstance(error, OSError | requests.RequestException):
        return UserError(
            f"the Hub cannot be reached for '{repo}' ({type(error).__name__} at "
            f"{constants.ENDPOINT}): connect first, or check HF_ENDPOINT and the proxies"
        )
    return FailureError(f"'{repo}': the Hub's answer is of no use ({_said(error)})")


def _said(error: BaseException) -> str:
    return printable(f"{type(error).__name__}: {' '.join(str(error).split())[:160]}")
