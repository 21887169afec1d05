"""A head that tells masked tokens, tied to the frozen word embeddings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from adapters.heads import PredictionHead
from safetensors import SafetensorError, safe_open
from torch.nn import functional
from transformers.modeling_outputs import MaskedLMOutput

from adapter_stilts.engine.engine import Engine
from adapter_stilts.engine.native import builds, claim_head
from adapter_stilts.heads.tagging import IGNORED

_PRETRAINED: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "dense.weight": ("lm_head.dense.weight", "cls.predictions.transform.dense.weight"),
        "dense.bias": ("lm_head.dense.bias", "cls.predictions.transform.dense.bias"),
        "norm.weight": ("lm_head.layer_norm.weight", "cls.predictions.transform.LayerNorm.weight"),
        "norm.bias": ("lm_head.layer_norm.bias", "cls.predictions.transform.LayerNorm.bias"),
        "bias": ("lm_head.bias", "cls.predictions.bias"),
    }
)
"""The same weights in checkpoints of XLM-R and of BERT."""


class MaskedWordsHead(PredictionHead):  # type: ignore[misc]
    """logits = E norm(gelu(W h + b)) + c, with the trunk's word embeddings E, which stay frozen.

    The head of BERT and XLM-R (Devlin et al. 2019). It is computed for masked tokens only: of all
    tokens, the logits over 250,000 words would need gigabytes. With `rows` it chooses among these
    words alone, and labels number them. Where an invertible adapter is active, its inverse comes
    before the embeddings (MAD-X, Pfeiffer et al. 2020, section 3.2, arXiv:2005.00052).
    """

    def __init__(self, model: Any, name: str, rows: torch.Tensor | None = None) -> None:
        super().__init__(name)
        self.config = {"head_type": "masked_words", "label2id": {}}
        embeddings = model.get_input_embeddings()
        size = int(model.config.hidden_size)
        self.add_module("dense", torch.nn.Linear(size, size))
        self.add_module("norm", torch.nn.LayerNorm(size, eps=model.config.layer_norm_eps))
        words = embeddings.num_embeddings if rows is None else len(rows)
        self.bias = torch.nn.Parameter(torch.zeros(words))
        self.register_buffer("rows", rows, persistent=False)
        torch.nn.init.normal_(self.dense.weight, std=model.config.initializer_range)
        torch.nn.init.zeros_(self.dense.bias)
        # In a tuple, where torch does not find it: else the embeddings would learn and be saved.
        self._embeddings = (embeddings,)

    def forward(
        self,
        outputs: Any,
        *args: Any,
        labels: torch.Tensor,
        invertible_adapter: Any = None,
        **kwargs: Any,
    ) -> Any:
        """The loss over the tokens that `labels` asks for, and their logits, (asked, vocabulary).

        Args:
            labels: word ids, (rows, tokens); a negative number where nothing is asked.
        """
        asked = labels != IGNORED
        states = self.norm(functional.gelu(self.dense(outputs[0][asked])))
        if invertible_adapter is not None:
            (states,) = invertible_adapter(states[None], rev=True)  # it takes a batch
        (embeddings,) = self._embeddings
        words = embeddings.weight if self.rows is None else embeddings(self.rows)
        logits: Any = functional.linear(states, words, self.bias)
        loss: Any = functional.cross_entropy(logits.float(), labels[asked])
        return MaskedLMOutput(loss=loss, logits=logits)


@builds
def add_masked_words_head(
    engine: Engine, module: str, head: str, words: Sequence[int] | None = None
) -> None:
    """Adds such a head that learns with a module; it goes on from the checkpoint's, if it has one.

    Args:
        words: the ids among which it chooses; None: all.

    Raises:
        UserError: the backbone's weights cannot be read.
    """
    rows = None if words is None else torch.as_tensor(words)
    made = MaskedWordsHead(engine.model, head, rows)
    found = _read_pretrained(engine.backbone.path, made)
    if found:
        made.load_state_dict(found)
    engine.model.add_prediction_head(made.to(engine.device))
    claim_head(engine, module, head, trainable=True)


def _read_pretrained(folder: Path, head: MaskedWordsHead) -> dict[str, torch.Tensor]:
    """The head's weights in the backbone's checkpoint; nothing where it has not all of them."""
    path = folder / "model.safetensors"
    try:
        with safe_open(path, framework="pt") as file:
            there = set(file.keys())
            places = {
                own: next((name for name in names if name in there), "")
                for own, names in _PRETRAINED.items()
            }
            if not all(places.values()):
                return {}
            found = {own: file.get_tensor(place) for own, place in places.items()}
            if head.rows is not None:
                found["bias"] = found["bias"][head.rows]
    except (OSError, SafetensorError, IndexError):  # in several files, or written as a pickle
        return {}
    shapes = {name: tensor.shape for name, tensor in head.state_dict().items()}
    return found if {name: tensor.shape for name, tensor in found.items()} == shapes else {}
