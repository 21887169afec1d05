"""Calls of the Hub that are repeated where that helps; nothing below repeats them as well."""

from __future__ import annotations

import contextlib
import datetime
import email.utils
import logging
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import requests
from huggingface_hub import constants, errors

from adapter_stilts.errors import FailureError, UserError
from adapter_stilts.hub.guard import guarded
from adapter_stilts.safety import printable

T = TypeVar("T")
logger = logging.getLogger(__name__)

ATTEMPTS = 5
MAX_WAIT = 60.0
"""Seconds; a Hub that asks for a longer pause is not waited for."""
OTHER_COMMIT = (409, 412)
"""Another commit is being made, or was made since the repository was looked at."""
_BUSY = (429, 500, 502, 503, 504)


def repeated(what: str, call: Callable[[], T], *, writes: bool = False) -> T:
    """The result of a call; it is made again where the Hub is busy or the line was cut.

    Args:
        what: what it is about, for the log.
        call: a call of `huggingface_hub` or `datasets`, which goes on where it stopped. What it is
            answered is checked.
        writes: whether it changes a repository.

    Raises:
        Exception: what the last attempt raised.
    """
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with guarded():
                return call()
        except (UserError, FailureError):
            raise
        except Exception as error:
            wait = _pause(error, attempt, writes=writes)
            if wait is None or wait > MAX_WAIT or attempt == ATTEMPTS:
                raise
            logger.info("%s: trying again in %.0f s (%s)", what, wait, said(error))
            time.sleep(wait)
    raise AssertionError


def _pause(error: BaseException, attempt: int, *, writes: bool) -> float | None:
    """Seconds until it is worth trying again; None: never."""
    if refused(error) is not None or is_offline(error) or unreachable(error):
        return None
    status = status_of(error)
    if status in _BUSY or (writes and status in OTHER_COMMIT):
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


def refused(error: BaseException) -> FailureError | None:
    """What the guard said of an answer, if that is why the call failed."""
    return next((each for each in causes(error) if isinstance(each, FailureError)), None)


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
    names = ("NewConnectionError", "NameResolutionError", "ConnectTimeoutError", "ProxyError")
    return status_of(error) is None and any(
        isinstance(each, requests.exceptions.ConnectTimeout | requests.exceptions.ProxyError)
        or any(kind in repr(each) for kind in names)
        for each in causes(error)
        if isinstance(each, requests.ConnectionError | requests.Timeout)
    )


def wrong_answer(error: BaseException) -> str | None:
    """What was wrong with what the Hub sent, where it is that and not the line to it."""
    for each in causes(error):
        if isinstance(each, FailureError):
            return str(each)
        if isinstance(each, requests.exceptions.JSONDecodeError | ValueError) and _is_json(each):
            return f"the Hub's answer is broken JSON ({said(each)})"
        if "Consistency check failed" in str(each):
            return f"a file has the wrong length ({said(each)})"
    return None


def _is_json(error: BaseException) -> bool:
    return type(error).__name__ == "JSONDecodeError"


def said(error: BaseException) -> str:
    """The beginning of what an exception says, with its kind."""
    return printable(f"{type(error).__name__}: {' '.join(str(error).split())[:160]}")
