"""Backbones of the Hub: downloaded through the cache of `huggingface_hub`."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from pathlib import Path

from huggingface_hub import constants, hf_hub_download, try_to_load_from_cache
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from adapter_stilts.backbones.backbone import Backbone
from adapter_stilts.backbones.names import HUB_IDS, hub_id
from adapter_stilts.backbones.tokenizer import FILES as TOKENIZER_FILES
from adapter_stilts.backbones.tokenizer import TOKENIZER
from adapter_stilts.backbones.weights import INDEX, WEIGHTS, shard_names
from adapter_stilts.errors import FailureError, UserError, suggest
from adapter_stilts.hub.content import discard, is_intact
from adapter_stilts.hub.guard import guarded
from adapter_stilts.hub.retry import refused, repeated, said, status_of, wrong_answer
from adapter_stilts.safety import brief, first_line


def download_backbone(name: str, others: Sequence[str]) -> Backbone:
    """The backbone of that Hub id (`id@revision`).

    Args:
        others: what else might have been meant.

    Raises:
        UserError: no such repository or revision, no access, or the Hub cannot be reached.
        FailureError: the disk is full.
    """
    repo, revision = hub_id(name), name.partition("@")[2]
    remedy = "or use --backbone embedded|PATH (and --data sample|PATH)"
    if name not in HUB_IDS and (near := suggest(name, [*others, *HUB_IDS])):
        remedy += f"; did you mean '{near[0]}'?"
    try:
        with guarded():
            config = _whole(repo, "config.json", revision or None)
            # The commit that was resolved is the name of the snapshot folder.
            commit = config.parent.name
            found = Backbone(name, config.parent, commit)
            _download_tokenizer(repo, commit)
            # Both are accepted before gigabytes are downloaded.
            assert found.fields and found.tokenizer
            _download_weights(repo, commit)
    except (UserError, FailureError) as error:
        if (wrong := refused(error)) is not None:
            raise FailureError(f"backbone '{repo}': {wrong}") from error
        raise
    except Exception as error:
        raise _explain(name, repo, revision, remedy, error) from error
    return found


def _explain(
    name: str, repo: str, revision: str, remedy: str, error: Exception
) -> UserError | FailureError:
    """The libraries' many exceptions as one line that names a way out."""
    if isinstance(error, GatedRepoError):
        return UserError(
            f"backbone '{repo}' is gated: ask for access on its page, then `hf auth login`, "
            f"{remedy}"
        )
    if isinstance(error, RepositoryNotFoundError):
        return UserError(
            f"no backbone '{repo}' on the Hub (misspelt, or private without a token), {remedy}"
        )
    if isinstance(error, RevisionNotFoundError):
        return UserError(
            f"backbone '{repo}' has no revision '{revision or 'main'}' on the Hub; {remedy}"
        )
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return FailureError(f"disk full while downloading backbone '{repo}'")
    if (wrong := wrong_answer(error)) is not None:
        return FailureError(f"backbone '{repo}': {wrong}")
    if (status := status_of(error)) is not None and status >= 500:
        return FailureError(f"backbone '{repo}': the Hub failed (status {status}): try later")
    if isinstance(error, LocalEntryNotFoundError | OfflineModeIsEnabled):
        return _unreachable(repo, remedy)
    if isinstance(error, HFValidationError | EntryNotFoundError):
        return UserError(f"backbone '{name}': {first_line(error)}; {remedy}")
    if isinstance(error, OSError):
        return _unreachable(repo, remedy)
    return FailureError(f"backbone '{repo}': the Hub's answer is of no use ({said(error)})")


def _unreachable(repo: str, remedy: str) -> UserError:
    why = "the Hub cannot be reached: connect"
    if constants.HF_HUB_OFFLINE:
        why = "HF_HUB_OFFLINE switches the Hub off: unset it"
    return UserError(f"backbone '{repo}' is not in the local cache and {why}, {remedy}")


def _fetch(repo: str, file: str, commit: str) -> Path | None:
    """A file of the repository, downloaded if need be; None where the repository has none.

    The local cache knows of absent files too: a backbone that is in it loads without the Hub.
    """
    known = try_to_load_from_cache(repo, file, revision=commit)
    if known is not None:
        return Path(known) if isinstance(known, str) else None
    try:
        return _whole(repo, file, commit)
    except LocalEntryNotFoundError:
        raise
    except EntryNotFoundError:
        return None


def _whole(repo: str, file: str, revision: str | None) -> Path:
    """A file through the library's cache; what arrived damaged is fetched once more.

    Raises:
        FailureError: it was damaged the second time too.
    """
    was_here = isinstance(try_to_load_from_cache(repo, file, revision=revision), str)
    for again in (False, True):
        path = Path(
            repeated(
                repo,
                lambda again=again: hf_hub_download(  # type: ignore[misc]
                    repo, file, revision=revision, force_download=again
                ),
            )
        )
        if was_here or is_intact(path):
            return path
        discard(path)
    raise FailureError(f"{brief(file)} arrived damaged twice (its hash is not what the Hub says)")


def _download_tokenizer(repo: str, commit: str) -> None:
    found, unreachable = set(), None
    for file in TOKENIZER_FILES:
        try:
            if _fetch(repo, file, commit):
                found.add(file)
        except LocalEntryNotFoundError as error:
            unreachable = error
    if unreachable and TOKENIZER not in found:
        raise unreachable


def _download_weights(repo: str, commit: str) -> None:
    """Downloads safetensors, in one file or in shards; a pickle is not accepted."""
    if _fetch(repo, WEIGHTS, commit):
        return
    index = _fetch(repo, INDEX, commit)
    if index is None:
        raise UserError(f"backbone '{repo}' has no safetensors weights, and pickles are not loaded")
    for shard in shard_names(index):
        if _fetch(repo, shard, commit) is None:
            raise UserError(f"backbone '{repo}' lacks {shard}, which its index names")
