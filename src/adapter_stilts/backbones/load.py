"""Finds a backbone: the embedded one, a local folder, or a model on the Hub."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
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
from transformers import AutoConfig, AutoTokenizer

from adapter_stilts.backbones.embedded import embedded_backbone
from adapter_stilts.errors import FailureError, UserError, suggest
from adapter_stilts.quiet import quieten

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedTokenizerFast

EMBEDDED = "embedded"
DEFAULT_BACKBONE = "xlm-roberta-large"

# Short names whose repositories moved under an organisation.
_HUB_IDS = {
    "xlm-roberta-large": "FacebookAI/xlm-roberta-large",
    "xlm-roberta-base": "FacebookAI/xlm-roberta-base",
}


@dataclass(frozen=True)
class Backbone:
    """A frozen encoder on disk.

    `name` is what the user typed, `path` the folder with configuration, weights and tokenizer,
    `revision` the Hub commit (empty for a local folder).
    """

    name: str
    path: Path
    revision: str = ""

    @cached_property
    def config(self) -> PretrainedConfig:
        """The model's configuration, read anew for every backbone object."""
        try:
            config: PretrainedConfig = AutoConfig.from_pretrained(
                self.path,
                trust_remote_code=False,  # a stranger's module may have named it
            )
        except (OSError, ValueError, KeyError) as error:
            raise UserError(
                f"backbone '{self.name}': {self.path}/config.json is not the configuration of a "
                f"known encoder ({_first_line(error)})"
            ) from error
        return config

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerFast:
        """The fast tokenizer; a slow one has no offsets and is refused."""
        quieten()
        try:
            tokenizer: PreTrainedTokenizerFast = AutoTokenizer.from_pretrained(
                self.path, use_fast=True, trust_remote_code=False
            )
        except (OSError, ValueError, KeyError, ImportError, AttributeError) as error:
            raise UserError(
                f"backbone '{self.name}': no tokenizer could be read from {self.path} "
                f"({_first_line(error)})"
            ) from error
        if not tokenizer.is_fast:
            raise UserError(
                f"backbone '{self.name}' has no fast tokenizer (tokenizer.json in {self.path}); "
                "convert it with transformers first"
            )
        return tokenizer

    @property
    def max_length(self) -> int:
        """The longest sequence, in tokens, that the position embeddings hold."""
        config: Any = self.config
        positions = int(config.max_position_embeddings)
        # RoBERTa numbers positions from padding_idx + 1.
        if config.model_type in {"roberta", "xlm-roberta", "xlm-roberta-xl", "camembert"}:
            positions -= int(config.pad_token_id) + 1
        return positions

    @property
    def slug(self) -> str:
        """The name as part of a path."""
        local = Path(self.name).expanduser()
        return local.resolve().name if local.exists() else self.name.replace("/", "--")


def _first_line(error: BaseException) -> str:
    return str(error).strip().split("\n", 1)[0][:200]


def hub_id(name: str) -> str:
    """The id on the Hub of a backbone given by such an id, or by one of the short names."""
    repo = name.partition("@")[0]
    return _HUB_IDS.get(repo, repo)


def find_backbone(name: str) -> Backbone:
    """The backbone of that name: `embedded`, a local folder, or a Hub id (`id@revision`).

    Raises:
        UserError: no such folder or repository, or the Hub cannot be reached.
    """
    if name == EMBEDDED:
        return Backbone(name, embedded_backbone())
    local = Path(name).expanduser()
    if local.is_dir():
        if not (local / "config.json").is_file():
            raise UserError(f"backbone folder {local} has no config.json")
        return Backbone(name, local)
    if name.startswith((".", "/", "~")) or name.partition("@")[0].count("/") > 1:
        raise UserError(f"backbone folder {name} is not there")
    return _from_hub(name)


_VOCABULARIES = ("tokenizer.json", "sentencepiece.bpe.model", "vocab.txt")
_TOKENIZER_FILES = (*_VOCABULARIES, "tokenizer_config.json", "special_tokens_map.json")


def _from_hub(name: str) -> Backbone:
    repo, revision = hub_id(name), name.partition("@")[2]
    remedy = "or use --backbone embedded|PATH (and --data sample|PATH)"
    if name not in _HUB_IDS and (near := suggest(name, [EMBEDDED, *_HUB_IDS])):
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
        raise UserError(f"backbone '{name}': {_first_line(error)}; {remedy}") from error
    except (OfflineModeIsEnabled, HfHubHTTPError, OSError) as error:
        if isinstance(error, OSError) and error.errno == 28:
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
    for file in _TOKENIZER_FILES:
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


def fingerprint(model: torch.nn.Module) -> str:
    """SHA-256 (first 16 hex digits) over names, shapes and float32 values of the trunk's weights.

    The pooler is left out: it is absent from many checkpoints, newly initialised then, and no
    head here reads it; so is `prompt_tuning`, an alias of the word embeddings that `adapters`
    adds. Call it before adding modules or changing precision.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        if name.startswith(("pooler.", "prompt_tuning.")) or not tensor.is_floating_point():
            continue
        digest.update(f"{name}{tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().float().contiguous().numpy().data)
    return digest.hexdigest()[:16]
