"""Backbones of the Hub: downloaded through the cache of `huggingface_hub`."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from huggingface_hub import try_to_load_from_cache

from adapter_stilts.backbones.backbone import EMBEDDED, HUB_IDS, Backbone, hub_id
from adapter_stilts.backbones.tokenizer import FILES as TOKENIZER_FILES
from adapter_stilts.backbones.tokenizer import TOKENIZER
from adapter_stilts.backbones.weights import INDEX, WEIGHTS, shard_names
from adapter_stilts.errors import UserError, hint
from adapter_stilts.hub.client import NotInRepositoryError, Repository, download
from adapter_stilts.hub.guard import guard_downloads


def download_backbone(name: str) -> Backbone:
    """The backbone of that Hub id (`id@revision`).

    Raises:
        UserError: no such repository or revision, no access, or the Hub cannot be reached.
        FailureError: the disk is full.
    """
    remedy = "or use --backbone embedded|PATH (and --data sample|PATH)"
    if name not in HUB_IDS and (meant := hint(name, [EMBEDDED, *HUB_IDS])):
        remedy += f"; {meant}"
    asked = Repository(hub_id(name), "backbone", name.partition("@")[2], remedy)
    with guard_downloads():
        config = download(asked, "config.json")
        # The commit that was resolved is the name of the snapshot folder.
        commit = config.parent.name
        repository = dataclasses.replace(asked, revision=commit)
        found = Backbone(name, config.parent, commit)
        _download_tokenizer(repository)
        # Both are accepted before gigabytes are downloaded.
        assert found.fields and found.tokenizer
        _download_weights(repository)
    return found


def _fetch(repository: Repository, file: str) -> bool:
    """Whether the repository has the file, which is downloaded if need be.

    The local cache knows of absent files too: a backbone that is in it loads without the Hub.
    """
    known = try_to_load_from_cache(repository.id, file, revision=repository.revision)
    if known is not None:
        return isinstance(known, str)
    try:
        download(repository, file)
    except NotInRepositoryError:
        return False
    return True


def _download_tokenizer(repository: Repository) -> None:
    found, unreachable = set(), None
    for file in TOKENIZER_FILES:
        try:
            if _fetch(repository, file):
                found.add(file)
        except UserError as error:
            unreachable = error
    if unreachable and TOKENIZER not in found:
        raise unreachable


def _download_weights(repository: Repository) -> None:
    """Downloads safetensors, in one file or in shards; a pickle is not accepted."""
    if _fetch(repository, WEIGHTS):
        return
    if not _fetch(repository, INDEX):
        raise UserError(f"{repository} has no safetensors weights, and pickles are not loaded")
    index = try_to_load_from_cache(repository.id, INDEX, revision=repository.revision)
    for shard in shard_names(Path(str(index))):
        if not _fetch(repository, shard):
            raise UserError(f"{repository} lacks {shard}, which its index names")
