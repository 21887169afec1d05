"""A head that tells masked tokens, tied to the frozen word embeddings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from adapters.heads import PredictionHead
from safetensors import SafetensorError, safe_open
from torch.nn import functional
from transformers.modeling_outputs import MaskedLMOutput

from adapter_stilts.features.tagging import IGNORED
from adapter_stilts.modules.engine import Engine
from adapter_stilts.modules.heads import claim_head

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
    tokens, the logits over 250,000 words would need gigabytes.
    """

    def __init__(self, model: Any, name: str) -> None:
        super().__init__(name)
        self.config = {"head_type": "masked_words", "label2id": {}}
        embeddings = model.get_input_embeddings()
        size = int(model.config.hidden_size)
        self.add_module("dense", torch.nn.Linear(size, size))
        self.add_module("norm", torch.nn.LayerNorm(size, eps=model.config.layer_norm_eps))
        self.bias = torch.nn.Parameter(torch.zeros(embeddings.num_embeddings))
        self.apply(model._init_weights)
        # In a tuple, where torch does not find it: else the embeddings would learn and be saved.
        self._embeddings = (embeddings,)

    def forward(self, outputs: Any, *args: Any, labels: torch.Tensor, **kwargs: Any) -> Any:
        """The loss over the tokens that `labels` asks for, and these tokens' logits."""
        asked = labels != IGNORED
        states = self.norm(functional.gelu(self.dense(outputs[0][asked])))
        (embeddings,) = self._embeddings
        logits: Any = functional.linear(states, embeddings.weight, self.bias)
        loss: Any = functional.cross_entropy(logits.float(), labels[asked])
        return MaskedLMOutput(loss=loss, logits=logits)


def add_masked_words_head(engine: Engine, module: str, head: str) -> None:
    """Adds such a head that learns with a module; it goes on from the checkpoint's, if it has one.

    Raises:
        UserError: the backbone's weights cannot be read.
    """
    made = MaskedWordsHead(engine.model, head)
    found = _pretrained(engine.backbone.path, made)
    if found:
        made.load_state_dict(found)
    engine.model.add_prediction_head(made)
    claim_head(engine, module, head, trainable=True)


def _pretrained(folder: Path, head: MaskedWordsHead) -> dict[str, torch.Tensor]:
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
    except (OSError, SafetensorError):  # in several files, or written as a pickle
        return {}
    shapes = {name: tensor.shape for name, tensor in head.state_dict().items()}
    return found if {name: tensor.shape for name, tensor in found.items()} == shapes else {}
