"""The frozen trunk in memory, with those rows of its word embeddings that are in use."""

from __future__ import annotations

import copy
import mmap
import os
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import adapters
import numpy as np
import numpy.typing as npt
import torch
from adapters.context import ForwardContext
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel

from adapter_stilts.backbones import Backbone, default_device, fingerprint, resolve_precision
from adapter_stilts.backbones.tokenizer import quieten
from adapter_stilts.backbones.weights import Stored
from adapter_stilts.engine.attention import FastAttention, fast_attention, keeping_outputs
from adapter_stilts.engine.composition import Expression
from adapter_stilts.engine.patches import patch_layers
from adapter_stilts.environment import return_freed, return_large_blocks
from adapter_stilts.errors import UserError

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


@dataclass
class Engine:
    """A backbone in memory, frozen, to which modules and heads are added.

    `fingerprint` identifies the trunk's weights whatever the precision they run in; `dtype` is
    that precision. `modules` holds the parameters of every module by its name inside the engine,
    `names` that name by the content of a module read from disk, or by the text of a merge,
    `fusions` the sources and the shape of every fusion. With `offload`, what a training on a GPU
    keeps for the backward pass waits in the machine's memory.
    """

    model: Any  # a transformers model with what `adapters` mixes in at run time
    backbone: Backbone
    fingerprint: str
    dtype: torch.dtype
    offload: bool = False
    modules: dict[str, tuple[str, ...]] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    fusions: dict[str, tuple[tuple[Expression, ...], Any]] = field(default_factory=dict)

    @property
    def identity(self) -> dict[str, str]:
        """What a record says of the backbone."""
        return {
            "name": self.backbone.name,
            "revision": self.backbone.revision,
            "model_type": str(self.model.config.model_type),
            "fingerprint": self.fingerprint,
        }

    @property
    def device(self) -> torch.device:
        """Where the trunk lies."""
        return torch.device(self.model.device)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Inside it the trunk runs without gradients, in its precision, with fast attention."""
        half = self.dtype == torch.bfloat16
        autocast = torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=half)
        with torch.inference_mode(), autocast, fast_attention(self.device):
            yield

    @contextmanager
    def saving(self) -> Iterator[None]:
        """What is computed inside it keeps for the backward pass what the engine says, there."""
        with fast_attention(self.device):
            if not self.offload:
                yield
                return
            with torch.autograd.graph.save_on_cpu(pin_memory=self.device.type == "cuda"):
                yield

    def moved(self, batch: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """The batch on the trunk's device, shapes as they were; a copy is not waited for."""
        return {key: value.to(self.device, non_blocking=True) for key, value in batch.items()}

    @contextmanager
    def adding(self, name: str, *, trainable: bool = False) -> Iterator[None]:
        """All parameters that the model gets inside it become a module's own, in float32."""
        before = {key for key, _ in self.model.named_parameters()}
        yield
        added = {key: p for key, p in self.model.named_parameters() if key not in before}
        self.modules[name] = tuple(added)
        for parameter in added.values():
            parameter.data = parameter.data.to(self.device, torch.float32)
            parameter.requires_grad_(trainable)

    @property
    def layers(self) -> int:
        """Number of transformer layers in the trunk."""
        return int(self.model.config.num_hidden_layers)


_OF_TORCH = frozenset((*dir(torch.nn.ModuleDict()), *dir(torch.nn.ParameterDict())))


_WIDE = 1024
"""The width of XLM-R Large's layers."""


def return_memory(engine: Engine) -> None:
    """Gives back what is free before a training; in that of a wide trunk, large blocks at once.

    Taking them anew from the machine costs time, of which a narrow trunk has little to spare: it
    computes little for each. Answers without a training take more time than memory.
    """
    if engine.model.config.hidden_size >= _WIDE:
        return_large_blocks()
    return_freed()


def free_name(engine: Engine, wanted: str) -> str:
    """What a module is called inside the engine: as itself, where that can be.

    torch's containers have methods, such as `to`, `type` and `train`, that no module in them may
    be called after; `adapters` reads commas and brackets as compositions.
    """
    name = re.sub(r"[^\w+-]+", "-", wanted)
    while name in engine.modules or name in _OF_TORCH:
        name += "_"
    return name


def load_engine(
    backbone: Backbone,
    *,
    precision: str = "auto",
    device: torch.device | None = None,
    trunk_dropout: bool = False,
    offload: bool = False,
) -> Engine:
    """Loads the trunk, frozen, in the precision asked for; on a CPU its words stay on disk.

    So they do on a GPU with `offload`, see `Engine`, which goes with `recompute_activations`.
    Without a `device` it is the GPU, if there is one.

    Dropout is off in the trunk unless `trunk_dropout`: its weights do not change, so dropout only
    adds noise and, on a CPU, doubles the time of a step.

    Raises:
        UserError: weights that are damaged, or not those of the configuration.
    """
    device = device or default_device()
    dtype = resolve_precision(precision, device)
    # Heads are kept in the configuration: every model gets its own copy (never shared).
    config = copy.deepcopy(backbone.config)
    if not trunk_dropout:
        config.hidden_dropout_prob = 0.0
        config.attention_probs_dropout_prob = 0.0
    quieten()
    # Without a folder the library has nothing to look up in it: neither code nor other weights.
    model = _class_of(config.model_type).from_pretrained(
        None, config=config, state_dict=_placed(backbone), dtype=torch.float32
    )
    patch_layers(model)
    # `adapters` writes it into every file: the name of the backbone, not a folder of this machine.
    model.config.name_or_path = backbone.name
    identity = fingerprint(model.base_model.state_dict())
    if device.type == "cpu" or offload:
        leave_words_on_disk(model, backbone.words(), dtype)
    model.to(device=device, dtype=dtype)
    model.requires_grad_(False)
    model.eval()
    return Engine(model, backbone, identity, dtype, offload)


def _class_of(model_type: str) -> Any:
    """The library's model for one of `backbones.configuration.Architecture`."""
    classes = {
        "bert": adapters.BertAdapterModel,
        "roberta": adapters.RobertaAdapterModel,
        "xlm-roberta": adapters.XLMRobertaAdapterModel,
    }
    return classes[model_type]


def _placed(backbone: Backbone) -> dict[str, torch.Tensor]:
    """The backbone's weights by their names in a model with heads."""
    prefix = _class_of(backbone.config.model_type).base_model_prefix
    return {f"{prefix}.{name}": tensor for name, tensor in backbone.weights().items()}


def recompute_activations(engine: Engine) -> None:
    """Keeps only what goes into each layer in training (Chen et al. 2016, arXiv:1604.06174).

    Gradients stay the same to the bit. In float32 a layer of XLM-R Large keeps a tenth, and a
    step takes a third to a half as long again.
    """
    # The method of `adapters` takes no contexts but its own.
    options = {"use_reentrant": False, "context_fn": _contexts}
    PreTrainedModel.gradient_checkpointing_enable(engine.model, options)


def _contexts() -> tuple[AbstractContextManager[Any], AbstractContextManager[Any]]:
    """Of a layer, and of the same computed again: what is active around it now is so again."""
    return keeping_outputs(), _as_before(ForwardContext.get_context())


@contextmanager
def _as_before(outer: AbstractContextManager[Any]) -> Iterator[None]:
    with outer, FastAttention(), keeping_outputs():
        yield
