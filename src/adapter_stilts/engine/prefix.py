"""The layers below the lowest module, computed once for several compositions.

No module changes what these layers see, so what leaves them is the same for every composition.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

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


class SharedPrefix:
    """Keeps what leaves the lower layers at a batch's first pass, for the passes after it."""

    def __init__(self) -> None:
        self._kept: Any = None

    def forget(self) -> None:
        """To be called before the first pass of every batch."""
        self._kept = None

    def passing(self, forward: Callable[..., Any]) -> Callable[..., Any]:
        """A lower layer: computed at the first pass, left out of the others."""

        def run(hidden_states: Any, *args: Any, **kwargs: Any) -> Any:
            if self._kept is not None:
                return (hidden_states,)
            return forward(hidden_states, *args, **kwargs)

        return run

    def keeping(self, forward: Callable[..., Any]) -> Callable[..., Any]:
        """The highest of the lower layers: its output is kept."""

        def run(*args: Any, **kwargs: Any) -> Any:
            if self._kept is None:
                self._kept = forward(*args, **kwargs)
            return self._kept

        return run


@contextmanager
def shared_prefix(engine: Engine, layers: int) -> Iterator[SharedPrefix]:
    """Inside this context the lowest `layers` layers run once a batch, whatever is active.

    Every pass between two calls of `forget` must be over the same batch. The outputs are the
    same to the bit as without it.
    """
    prefix = SharedPrefix()
    below = list(engine.model.base_model.encoder.layer)[:layers]
    before = [vars(layer).get("forward") for layer in below]
    for layer in below:
        wrap = prefix.keeping if layer is below[-1] else prefix.passing
        layer.forward = wrap(layer.forward)
    try:
        yield prefix
    finally:
        for layer, forward in zip(below, before, strict=True):
            if forward is None:
                del layer.forward
            else:
                layer.forward = forward
        prefix.forget()
