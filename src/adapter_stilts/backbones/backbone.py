"""A backbone on disk: its configuration, its tokenizer, its identity."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapter_stilts.errors import UserError
from adapter_stilts.quiet import quieten
from adapter_stilts.safety import first_line, read_json

if TYPE_CHECKING:
    import torch
    from transformers import PretrainedConfig, PreTrainedTokenizerFast


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
        from transformers import AutoConfig

        try:
            config: PretrainedConfig = AutoConfig.from_pretrained(
                self.path,
                trust_remote_code=False,  # a stranger's module may have named it
            )
        except (OSError, ValueError, KeyError) as error:
            raise UserError(
                f"backbone '{self.name}': {self.path}/config.json is not the configuration of a "
                f"known encoder ({first_line(error)})"
            ) from error
        return config

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerFast:
        """The fast tokenizer; a slow one has no offsets and is refused."""
        from transformers import AutoTokenizer

        quieten()
        try:
            tokenizer: PreTrainedTokenizerFast = AutoTokenizer.from_pretrained(
                self.path, use_fast=True, trust_remote_code=False
            )
        except (OSError, ValueError, KeyError, ImportError, AttributeError) as error:
            raise UserError(
                f"backbone '{self.name}': no tokenizer could be read from {self.path} "
                f"({first_line(error)})"
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
        positions = int(self._setting("max_position_embeddings"))
        # RoBERTa numbers positions from padding_idx + 1.
        model_type = self._setting("model_type")
        if model_type in {"roberta", "xlm-roberta", "xlm-roberta-xl", "camembert"}:
            positions -= int(self._setting("pad_token_id")) + 1
        return positions

    def _setting(self, name: str) -> Any:
        """A value of the configuration; `transformers` is only needed for those left out."""
        value = self._written.get(name)
        if type(value) in (int, str):
            return value
        config: Any = self.config
        return getattr(config, name)

    @cached_property
    def _written(self) -> dict[str, Any]:
        try:
            found = read_json(self.path / "config.json")
        except UserError:
            found = None  # `config` says what is wrong
        return found if isinstance(found, dict) else {}

    @property
    def slug(self) -> str:
        """The name as part of a path."""
        local = Path(self.name).expanduser()
        return local.resolve().name if local.exists() else self.name.replace("/", "--")


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
