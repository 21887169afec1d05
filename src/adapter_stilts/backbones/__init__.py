"""Frozen encoders: where they come from, their files, their identity, their precision."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from adapter_stilts.backbones.configuration import build_config, longest_text, read_fields
from adapter_stilts.backbones.tokenizer import (
    FILES,
    TOKENIZER,
    build_own_tokenizer,
    build_tokenizer,
    read_options,
)
from adapter_stilts.backbones.weights import (
    INDEX,
    WEIGHTS,
    Stored,
    read_weights,
    shard_names,
    stored_words,
)
from adapter_stilts.errors import RefusedError, UserError, hint, unknown
from adapter_stilts.paths import is_folder

if TYPE_CHECKING:
    import torch
    from transformers import PretrainedConfig, PreTrainedTokenizerFast

    from adapter_stilts.hub.client import Repository


@dataclass(frozen=True)
class Backbone:
    """A frozen encoder on disk.

    `name` is what the user typed, `path` the folder with configuration, weights and tokenizer,
    `revision` the Hub commit (empty for a local folder), `own` says that this package wrote the
    folder and found it as it was written.
    """

    name: str
    path: Path
    revision: str = ""
    own: bool = False

    @cached_property
    def fields(self) -> dict[str, Any]:
        """The configuration's fields; refuses what is not accepted of it or of the tokenizer's."""
        with self._naming():
            fields = read_fields(self.path / "config.json")
            read_options(self.path, fields["model_type"])
        return fields

    @cached_property
    def config(self) -> PretrainedConfig:
        """The model's configuration, made anew for every backbone object."""
        return build_config(self.fields)

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerFast:
        """The fast tokenizer; refuses a folder without one: a slow one has no offsets."""
        if self.own:
            return build_own_tokenizer(self.path)
        fields = self.fields
        with self._naming():
            made = build_tokenizer(self.path, fields["model_type"], fields["vocab_size"])
            # RoBERTa's positions pass over this token, so both must mean the same.
            if fields["model_type"] != "bert" and made.pad_token_id != fields["pad_token_id"]:
                raise UserError(
                    f"{self.path}: the tokenizer's padding is token {made.pad_token_id}, the "
                    f"model's {fields['pad_token_id']}"
                )
        return made

    @cached_property
    def pad_id(self) -> int:
        """The token that fills up a batch's shorter texts."""
        return int(self.tokenizer.pad_token_id)

    def put_tokenizer_away(self) -> None:
        """Lets go of the tokenizer, 0.3 GB with XLM-R's words; who asks for it reads it again."""
        self.__dict__.pop("tokenizer", None)

    def weights(self) -> dict[str, torch.Tensor]:
        """The trunk's weights; refuses those whose headers do not fit the configuration."""
        with self._naming():
            return read_weights(self.path, self.fields)

    def words(self) -> Stored:
        """Where the word embeddings lie, of weights that have been read."""
        with self._naming():
            return stored_words(self.path, self.fields["model_type"])

    @cached_property
    def fingerprint(self) -> str:
        """The identity of its weights, wherever they lie; refuses as `weights`."""
        return fingerprint(self.weights())

    @contextmanager
    def _naming(self) -> Iterator[None]:
        """Says of which backbone a file is that is refused."""
        try:
            yield
        except UserError as error:
            named = self.name in str(error)
            line = str(error) if named else f"backbone '{self.name}': {error}"
            raise RefusedError(line) from error

    @property
    def max_length(self) -> int:
        """The longest sequence, in tokens, that the position embeddings hold."""
        return longest_text(self.fields)

    def sequence_length(self, wanted: int = 0) -> int:
        """Tokens that a sequence may have: as many as wanted (0: as can be), or fewer if it must.

        Modules of other programs do not say how long their sequences were, and tasks are made for
        large backbones.
        """
        return min(wanted or self.max_length, self.max_length)

    @property
    def slug(self) -> str:
        """The name as part of a path."""
        local = Path(self.name).expanduser()
        return local.resolve().name if is_folder(local) else self.name.replace("/", "--")


def fingerprint(weights: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 (first 16 hex digits) over names, shapes and float32 values of the trunk's weights.

    The pooler is left out: it is absent from many checkpoints, newly initialised then, and no
    head here reads it; so is `prompt_tuning`, an alias of the word embeddings that `adapters`
    adds. Of a model, take them before adding modules or changing precision.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(weights.items()):
        if name.startswith(("pooler.", "prompt_tuning.")) or not tensor.is_floating_point():
            continue
        digest.update(f"{name}{tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().float().contiguous().numpy().data)
    return digest.hexdigest()[:16]


EMBEDDED = "embedded"
DEFAULT_BACKBONE = "xlm-roberta-large"

# Short names whose repositories moved under an organisation.
HUB_IDS = {
    "xlm-roberta-large": "FacebookAI/xlm-roberta-large",
    "xlm-roberta-base": "FacebookAI/xlm-roberta-base",
}


def hub_id(name: str) -> str:
    """The id on the Hub of a backbone given by such an id, or by one of the short names."""
    repo = name.partition("@")[0]
    return HUB_IDS.get(repo, repo)


def find_backbone(name: str) -> Backbone:
    """The backbone of that name: `embedded`, a local folder, or a Hub id (`id@revision`).

    Refuses what is not there, cannot be reached, or has a configuration that is not accepted.
    """
    if name == EMBEDDED:
        from adapter_stilts.backbones.embedded import embedded_backbone

        return Backbone(name, embedded_backbone(), own=True)
    local = Path(name).expanduser()
    if is_folder(local):
        if not (local / "config.json").is_file():
            raise UserError(f"backbone folder {local} has no config.json")
        found = Backbone(str(local.absolute()), local)
        assert found.fields  # checked before any work, wherever the name came from
        return found
    if name.startswith((".", "/", "~")) or name.partition("@")[0].count("/") > 1:
        raise UserError(f"backbone folder {name} is not there")
    return download_backbone(name)


def download_backbone(name: str) -> Backbone:
    """The backbone of that Hub id (`id@revision`); fails as `hub.client.download` does."""
    from adapter_stilts.hub.client import Repository, download
    from adapter_stilts.hub.guard import guard_downloads

    remedy = "or use --backbone embedded|PATH (and --data sample|PATH)"
    if name not in HUB_IDS and (meant := hint(name, [EMBEDDED, *HUB_IDS])):
        remedy += f"; {meant}"
    asked = Repository(hub_id(name), "backbone", name.partition("@")[2], remedy)
    with guard_downloads():
        config = download(asked, "config.json")
        # The commit that was resolved is the name of the snapshot folder.
        commit = config.parent.name
        repository = replace(asked, revision=commit)
        found = Backbone(name, config.parent, commit)
        _download_tokenizer(repository)
        # Both are accepted before gigabytes are downloaded.
        assert found.fields and found.tokenizer
        _download_weights(repository, found.path)
    return found


def _fetch(repository: Repository, file: str) -> bool:
    """Whether the repository has the file, which is downloaded if need be.

    The local cache knows of absent files too: a backbone that is in it loads without the Hub.
    """
    from huggingface_hub import try_to_load_from_cache

    from adapter_stilts.hub.client import NotInRepositoryError, download

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
    for file in FILES:
        try:
            if _fetch(repository, file):
                found.add(file)
        except UserError as error:
            unreachable = error
    if unreachable and TOKENIZER not in found:
        raise unreachable


def _download_weights(repository: Repository, folder: Path) -> None:
    """Downloads safetensors, in one file or in shards; a pickle is not accepted."""
    if _fetch(repository, WEIGHTS):
        return
    if not _fetch(repository, INDEX):
        raise UserError(f"{repository} has no safetensors weights, and pickles are not loaded")
    for shard in shard_names(folder / INDEX):
        if not _fetch(repository, shard):
            raise UserError(f"{repository} lacks {shard}, which its index names")


Precision = Literal["fp32", "bf16", "auto"]


def check_precision(precision: str) -> None:
    """Refuses another word than these; torch is not needed to know them."""
    if precision not in get_args(Precision):
        raise unknown("precision", precision, get_args(Precision))


def bf16_available(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 matrices in hardware.

    A CPU counts when it has AVX512-BF16 or AMX; without them bfloat16 is emulated and slower
    than float32.
    """
    import torch

    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    return False


def resolve_precision(precision: str, device: torch.device) -> torch.dtype:
    """The dtype of the frozen weights for `fp32`, `bf16` or `auto` (bf16 where it is fast).

    Refuses another word.
    """
    import torch

    check_precision(precision)
    if precision == "auto":
        return torch.bfloat16 if bf16_available(device) else torch.float32
    return torch.bfloat16 if precision == "bf16" else torch.float32


def default_device() -> torch.device:
    """The first CUDA device of this process if there is one, else the CPU."""
    import torch

    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
