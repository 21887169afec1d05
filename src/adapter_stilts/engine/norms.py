"""Outputs of layer norms that are computed again for the backward pass, where they would be kept.

A bottleneck adapter's first weights need what went into them for their gradient. That is the output
of a layer norm, whose own input is kept in any case.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

Function = Callable[..., Any]


_KEEPS = ContextVar("keeps outputs of layer norms", default=False)


@contextmanager
def keeping_outputs() -> Iterator[None]:
    """Inside it `LayerNorms` changes nothing.

    Where a whole layer is computed again, what it keeps is counted, both times.
    """
    before = _KEEPS.set(True)
    try:
        yield
    finally:
        _KEEPS.reset(before)


@dataclass(frozen=True)
class _Norm:
    """How the output of a layer norm is computed again, to the bit."""

    function: Function
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    autocast: bool

    def compute(self) -> Tensor:
        """The norm's output once more, in its shape, without a gradient."""
        with torch.no_grad(), torch.autocast("cpu", enabled=self.autocast):
            output: Tensor = self.function(*self.args, **self.kwargs)
        return output


class LayerNorms:
    """Calls layer norms, and linear layers with weights that learn, which may follow them."""

    def __init__(self) -> None:
        self._norm: _Norm | None = None
        self._output: weakref.ref[Tensor] | None = None

    def norm(self, function: Function, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Tensor:
        """A layer norm; its output is remembered while others use it."""
        norm = _Norm(function, args, kwargs, torch.is_autocast_enabled("cpu"))
        output: Tensor = function(*args, **kwargs)
        # Where nothing below learns, the input is not kept either.
        self._norm = norm if output.requires_grad else None
        self._output = weakref.ref(output)
        return output

    def linear(
        self, function: Function, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Tensor:
        """A linear layer; it keeps no input that is the output of the last layer norm."""
        output = self._output() if self._output and self._norm and not _KEEPS.get() else None
        if output is None or len(args) < 2 or args[0] is not output or not args[1].requires_grad:
            return cast(Tensor, function(*args, **kwargs))
        norm = self._norm
        assert norm is not None
        place, dtype, size = output.untyped_storage().data_ptr(), output.dtype, output.numel()

        def keep(tensor: Tensor) -> Tensor | tuple[_Norm, torch.Size]:
            same = (tensor.untyped_storage().data_ptr(), tensor.dtype, tensor.numel())
            return (norm, tensor.shape) if same == (place, dtype, size) else tensor

        with saved_tensors_hooks(keep, _kept):
            return cast(Tensor, function(*args, **kwargs))


def _kept(kept: Tensor | tuple[_Norm, torch.Size]) -> Tensor:
    if isinstance(kept, Tensor):
        return kept
    norm, shape = kept
    return norm.compute().view(shape)
