"""Words in the engine: embeddings that stay on disk, and a head that tells masked ones by them."""

from __future__ import annotations

import mmap
import os
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from adapters.heads import PredictionHead
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.nn import functional
from transformers.modeling_outputs import MaskedLMOutput

from adapter_stilts.backbones.weights import Stored
from adapter_stilts.engine.native import builds, claim_head
from adapter_stilts.errors import UserError
from adapter_stilts.heads.tagging import IGNORED

if TYPE_CHECKING:
    from adapter_stilts.engine.engine import Engine

_RUN = 4096
"""Rows that are read at once, at most."""


class WordsOnDisk(nn.Module):
    """A frozen `nn.Embedding` that reads its rows when they are first asked for.

    The values are those of the whole table, to the bit. It has no parameters; `weight`, and with
    it the state, is the whole table, which is read for that.

    Args:
        stored: where the table lies.
        dtype: what its values are turned into, by way of float32 as in the rest of the trunk.
    """

    def __init__(self, stored: Stored, dtype: torch.dtype) -> None:
        super().__init__()
        self.num_embeddings, self.embedding_dim = stored.shape
        self._stored = stored
        self._file = stored.path.open("rb")
        self._lock = threading.Lock()
        self._there = np.zeros(self.num_embeddings, dtype=bool)
        # The kernel gives such memory page by page, when it is first written to.
        size = self.num_embeddings * self.embedding_dim * dtype.itemsize
        room = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        if hasattr(mmap, "MADV_NOHUGEPAGE"):
            room.madvise(mmap.MADV_NOHUGEPAGE)
        self._table = torch.frombuffer(room, dtype=dtype).view(stored.shape)

    @property
    def weight(self) -> nn.Parameter:
        """The whole table."""
        self._read(np.arange(self.num_embeddings))
        return nn.Parameter(self._table, requires_grad=False)

    def forward(self, ids: Tensor) -> Tensor:
        """The rows of these words: (...) to (..., width); an id out of range is an `IndexError`."""
        where = ids.cpu()
        if where.numel() and not 0 <= int(where.min()) <= int(where.max()) < self.num_embeddings:
            raise IndexError(f"word ids must lie between 0 and {self.num_embeddings - 1}")
        self._read(where.numpy())
        return functional.embedding(where, self._table).to(ids.device)

    def _read(self, ids: npt.NDArray[np.int64]) -> None:
        """Brings in what is missing of these rows."""
        with self._lock:
            missing = np.unique(ids[~self._there[ids]])
            gaps = np.flatnonzero(np.diff(missing) != 1) + 1
            for run in np.split(missing, gaps):
                for begin in range(0, len(run), _RUN):
                    part = run[begin : begin + _RUN]
                    self._table[part[0] : part[0] + len(part)] = self._rows(part[0], len(part))
            self._there[missing] = True

    def _rows(self, first: int, count: int) -> Tensor:
        size = self.embedding_dim * self._stored.dtype.itemsize
        content = bytearray(count * size)
        place = self._stored.offset + int(first) * size
        if os.preadv(self._file.fileno(), [content], place) != len(content):
            raise UserError(f"{self._stored.path} has become shorter: fetch it again")
        rows = torch.frombuffer(content, dtype=self._stored.dtype)
        return rows.view(count, self.embedding_dim).float().to(self._table.dtype)

    def _save_to_state_dict(
        self, destination: dict[str, Any], prefix: str, keep_vars: bool
    ) -> None:
        destination[f"{prefix}weight"] = self.weight


def leave_words_on_disk(model: Any, stored: Stored, dtype: torch.dtype) -> None:
    """Puts such embeddings in the place of a model's own, wherever it refers to them."""
    own, new = model.get_input_embeddings(), WordsOnDisk(stored, dtype)
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if child is own:
                setattr(module, name, new)
    for module in model.modules():
        loaded = getattr(module, "loaded_embeddings", {})  # the library's, by name
        loaded.update({name: new for name, each in loaded.items() if each is own})


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

    def __init__(self, model: Any, name: str, rows: Tensor | None = None) -> None:
        super().__init__(name)
        self.config = {"head_type": "masked_words", "label2id": {}}
        embeddings = model.get_input_embeddings()
        size = int(model.config.hidden_size)
        self.add_module("dense", nn.Linear(size, size))
        self.add_module("norm", nn.LayerNorm(size, eps=model.config.layer_norm_eps))
        words = embeddings.num_embeddings if rows is None else len(rows)
        self.bias = nn.Parameter(torch.zeros(words))
        self.register_buffer("rows", rows, persistent=False)
        nn.init.normal_(self.dense.weight, std=model.config.initializer_range)
        nn.init.zeros_(self.dense.bias)
        # In a tuple, where torch does not find it: else the embeddings would learn and be saved.
        self._embeddings = (embeddings,)

    def forward(
        self,
        outputs: Any,
        *args: Any,
        labels: Tensor,
        invertible_adapter: Any = None,
        **kwargs: Any,
    ) -> Any:
        """The loss over the tokens that `labels`, (rows, tokens), ask for, and their logits."""
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

    It chooses among the `words` of these ids (None: among all).
    """
    rows = None if words is None else torch.as_tensor(words)
    made = MaskedWordsHead(engine.model, head, rows)
    found = _read_pretrained(engine.backbone.path, made)
    if found:
        made.load_state_dict(found)
    engine.model.add_prediction_head(made.to(engine.device))
    claim_head(engine, module, head, trainable=True)


def _read_pretrained(folder: Path, head: MaskedWordsHead) -> dict[str, Tensor]:
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
