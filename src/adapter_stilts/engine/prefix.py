"""The layers below the lowest module, computed once for several compositions.

No module changes what these layers see, so what leaves them is the same for every composition.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

from adapter_stilts.engine.engine import Engine, layer_of


def layers_below(engine: Engine, modules: Iterable[str]) -> int:
    """How many layers, from the bottom, none of the modules (by name in the engine) touches."""
    lowest = engine.layers
    for name in modules:
        for parameter in engine.modules[name]:
            if parameter.startswith("heads."):
                continue
            layer = layer_of(parameter)
            # A part outside the layers may act on what enters them.
            lowest = min(lowest, 0 if layer is None else layer)
    return lowest


class SharedPrefix(nn.Module):
    """Keeps what leaves the lower layers at a batch's first pass, for the passes after it."""

    def __init__(self, layers: Iterable[nn.Module]) -> None:
        super().__init__()
        self._layers = tuple(layers)
        self._kept: Any = None

    def forget(self) -> None:
        """To be called before the first pass of every batch."""
        self._kept = None

    def forward(self, hidden_states: Any, *args: Any, **kwargs: Any) -> Any:
        """What leaves the highest of these layers, computed at the first pass."""
        if self._kept is None:
            for layer in self._layers:
                (hidden_states, *_) = layer(hidden_states, *args, **kwargs)
            self._kept = (hidden_states,)
        return self._kept


@contextmanager
def shared_prefix(engine: Engine, layers: int) -> Iterator[SharedPrefix]:
    """Inside this context the lowest `layers` layers run once a batch, whatever is active.

    Every pass between two calls of `forget` must be over the same batch. The outputs are the
    same to the bit as without it.
    """
    encoder = engine.model.base_model.encoder
    whole = encoder.layer
    prefix = SharedPrefix(whole[:layers])
    encoder.layer = nn.ModuleList([prefix, *whole[layers:]] if layers else whole)
    try:
        yield prefix
    finally:
        encoder.layer = whole
        prefix.forget()
