"""Calls of the Hub about modules: one line for all that can go wrong."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import TypeVar

import requests
from huggingface_hub import constants, errors

from adapter_stilts.errors import FailureError, UserError
from adapter_stilts.hub.retry import (
    OTHER_COMMIT,
    causes,
    is_offline,
    refused,
    repeated,
    said,
    status_of,
    wrong_answer,
)

T = TypeVar("T")


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
    try:
        return repeated(repo, call, writes=writes)
    except UserError:
        raise
    except Exception as error:
        raise explain(repo, error, writes=writes) from error


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
    if (found := refused(error)) is not None:
        return FailureError(f"'{repo}': {found}")
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
    if status in OTHER_COMMIT:
        return FailureError(f"others are writing to '{repo}' (status {status}): try again later")
    if status == 429:
        return FailureError(f"the Hub asks for a longer pause ('{repo}', status 429): try later")
    if status is not None:
        return FailureError(f"the Hub failed for '{repo}' (status {status}: {said(error)})")
    if (wrong := wrong_answer(error)) is not None:
        return FailureError(f"'{repo}': {wrong}")
    if isinstance(error, OSError | requests.RequestException):
        return UserError(
            f"the Hub cannot be reached for '{repo}' ({type(error).__name__} at "
            f"{constants.ENDPOINT}): connect first, or check HF_ENDPOINT and the proxies"
        )
    return FailureError(f"'{repo}': the Hub's answer is of no use ({said(error)})")
