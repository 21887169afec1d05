"""Word embeddings of a frozen trunk that stay on disk, but for those rows that are in use."""

from __future__ import annotations

import mmap
import os
import threading
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from adapter_stilts.backbones.weights import Stored
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
