"""Backbones of the Hub: downloaded through the cache of `huggingface_hub`."""

from __future__ import annotations

import errno
import json
from collections.abc import Sequence
from pathlib import Path

from huggingface_hub import (
    constants,
    get_session,
    hf_hub_download,
    hf_hub_url,
    try_to_load_from_cache,
)
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from adapter_stilts.backbones.backbone import Backbone
from adapter_stilts.errors import FailureError, UserError, suggest
from adapter_stilts.safety import first_line

# Short names whose repositories moved under an organisation.
_HUB_IDS = {
    "xlm-roberta-large": "FacebookAI/xlm-roberta-large",
    "xlm-roberta-base": "FacebookAI/xlm-roberta-base",
}


def hub_id(name: str) -> str:
    """The id on the Hub of a backbone given by such an id, or by one of the short names."""
    repo = name.partition("@")[0]
    return _HUB_IDS.get(repo, repo)


_VOCABULARIES = ("tokenizer.json", "sentencepiece.bpe.model", "vocab.txt")
TOKENIZER_FILES = (*_VOCABULARIES, "tokenizer_config.json", "special_tokens_map.json")


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
    if name not in _HUB_IDS and (near := suggest(name, [*others, *_HUB_IDS])):
        remedy += f"; did you mean '{near[0]}'?"
    try:
        config = _download_config(repo, revision or None)
        # The commit that was resolved is the name of the snapshot folder.
        commit = config.parent.name
        _download_tokenizer(repo, commit)
        _download_weights(repo, commit)
    except GatedRepoError as error:
        raise UserError(
            f"backbone '{repo}' is gated: ask for access on its page, then `hf auth login`, "
            f"{remedy}"
        ) from error
    except RepositoryNotFoundError as error:
        raise UserError(
            f"no backbone '{repo}' on the Hub (misspelt, or private without a token), {remedy}"
        ) from error
    except RevisionNotFoundError as error:
        raise UserError(
            f"backbone '{repo}' has no revision '{revision or 'main'}' on the Hub; {remedy}"
        ) from error
    except (HFValidationError, EntryNotFoundError) as error:
        if isinstance(error, LocalEntryNotFoundError):
            raise _unreachable(repo, remedy) from error
        raise UserError(f"backbone '{name}': {first_line(error)}; {remedy}") from error
    except (OfflineModeIsEnabled, HfHubHTTPError, OSError) as error:
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            raise FailureError(f"disk full while downloading backbone '{repo}'") from error
        raise _unreachable(repo, remedy) from error
    return Backbone(name, config.parent, commit)


def _unreachable(repo: str, remedy: str) -> UserError:
    why = "the Hub cannot be reached: connect"
    if constants.HF_HUB_OFFLINE:
        why = "HF_HUB_OFFLINE switches the Hub off: unset it"
    return UserError(f"backbone '{repo}' is not in the local cache and {why}, {remedy}")


def _download_config(repo: str, revision: str | None) -> Path:
    """The configuration at the revision; from the cache at once where the Hub does not answer."""
    answers = True
    try:
        # The library would ask six times, with waits of 23 seconds in all.
        get_session().head(hf_hub_url(repo, "config.json", revision=revision), timeout=10)
    except OSError:
        answers = False
    return Path(
        hf_hub_download(repo, "config.json", revision=revision, local_files_only=not answers)
    )


def _fetch(repo: str, file: str, commit: str) -> Path | None:
    """A file of the repository, downloaded if need be; None where the repository has none.

    The local cache knows of absent files too: a backbone that is in it loads without the Hub.
    """
    known = try_to_load_from_cache(repo, file, revision=commit)
    if known is not None:
        return Path(known) if isinstance(known, str) else None
    try:
        return Path(hf_hub_download(repo, file, revision=commit))
    except LocalEntryNotFoundError:
        raise
    except EntryNotFoundError:
        return None


def _download_tokenizer(repo: str, commit: str) -> None:
    found, unreachable = set(), None
    for file in TOKENIZER_FILES:
        try:
            if _fetch(repo, file, commit):
                found.add(file)
        except LocalEntryNotFoundError as error:
            unreachable = error
    if unreachable and found.isdisjoint(_VOCABULARIES):
        raise unreachable


def _download_weights(repo: str, commit: str) -> None:
    """Downloads safetensors, in one file or in shards; a pickle is not accepted."""
    if _fetch(repo, "model.safetensors", commit):
        return
    index = _fetch(repo, "model.safetensors.index.json", commit)
    if index is None:
        raise UserError(f"backbone '{repo}' has no safetensors weights, and pickles are not loaded")
    weight_map = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
    for shard in sorted(set(weight_map.values())):
        if _fetch(repo, shard, commit) is None:
            raise UserError(f"backbone '{repo}' lacks {shard}, which its index names")
