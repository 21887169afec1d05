"""Several compositions in one batch: the frozen trunk over all rows, each module over its own.

Embeddings, attention and feed-forward layers are the same for every composition, so that rows for
different modules can pass through them together. Where a layer has modules, the rows are parted,
every part goes through its own composition as if it were alone, and they are joined again.
`adapters` has `BatchSplit` for this, which takes single bottleneck adapters of one configuration
well, but norms the input of stacks twice, scales all LoRAs like the last one, and refuses
fusions; this takes whatever a composition can be, but for modules outside the layers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import torch
from adapters.context import AdapterSetup
from adapters.methods.bottleneck import BottleneckLayer
from adapters.methods.lora import LoRALinear
from torch import Tensor

from adapter_stilts.engine.attention import FastAttention
from adapter_stilts.engine.engine import Engine, activate_block, layer_of

_INSIDE = (".adapters.", ".loras.", ".adapter_fusion_layer.", ".fusions.")


class Part(NamedTuple):
    """The next so many sequences of a batch, and the block they go through (None: no module)."""

    block: Any
    sequences: int


def can_mix(engine: Engine, modules: Iterable[str]) -> bool:
    """Whether a composition of these modules (by name in the engine) can share a batch.

    All of a module must lie in bottlenecks, LoRAs and fusions of the trunk's layers. Invertible
    adapters act on the embeddings, prefixes on the attention: these run by themselves.
    """
    return all(
        key.startswith("heads.")
        or (layer_of(key) is not None and any(place in key for place in _INSIDE))
        for name in modules
        for key in engine.modules[name]
    )


def mixed_hidden(engine: Engine, batch: dict[str, Tensor], parts: Sequence[Part]) -> Any:
    """What leaves the trunk's last layer, every part's sequences having met its own modules.

    Args:
        batch: `input_ids` and `attention_mask`, (S, L), the parts' sequences one after the other.

    Returns:
        The trunk's output, with `last_hidden_state` (S, L, D) and `pooler_output`.
    """
    batch = {key: value.to(engine.device, non_blocking=True) for key, value in batch.items()}
    autocast = torch.autocast(
        engine.device.type, dtype=torch.bfloat16, enabled=engine.dtype == torch.bfloat16
    )
    with ExitStack() as stack:
        if len(parts) == 1:
            activate_block(engine, parts[0].block, "")
        else:
            activate_block(engine, None, "")
            stack.enter_context(_parted(engine, parts))
        for each in (torch.inference_mode(), autocast, FastAttention()):
            stack.enter_context(each)
        return engine.model.base_model(**batch)


@contextmanager
def _parted(engine: Engine, parts: Sequence[Part]) -> Iterator[None]:
    """Inside this context every layer with modules runs part by part."""
    setups = [(AdapterSetup(part.block), part.sequences) for part in parts]
    names = {name for setup, _ in setups for name in _names(setup)}
    changed: list[tuple[Any, str]] = []
    try:
        for layer in engine.model.base_model.modules():
            if isinstance(layer, BottleneckLayer):
                method = "bottleneck_layer_forward"
            elif isinstance(layer, LoRALinear):
                method = "forward"
            else:
                continue
            if names & set(layer.adapter_modules):
                setattr(layer, method, _by_parts(getattr(layer, method), setups))
                changed.append((layer, method))
        yield
    finally:
        for layer, method in changed:
            delattr(layer, method)


def _names(setup: AdapterSetup) -> set[str]:
    return setup.adapter_setup.flatten() if setup.adapter_setup is not None else set()


def _by_parts(
    run: Callable[..., Tensor], setups: Sequence[tuple[AdapterSetup, int]]
) -> Callable[..., Tensor]:
    """The layer over each part's rows with that part's modules active."""

    def parted(hidden: Tensor, *more: Any) -> Tensor:
        outputs, first = [], 0
        for setup, count in setups:
            rows = slice(first, first + count)
            # What is no tensor of the batch (a layer norm, nothing) is the same for all.
            own = [each[rows] if isinstance(each, Tensor) else each for each in more]
            with setup:
                outputs.append(run(hidden[rows], *own))
            first += count
        return torch.cat(outputs)

    return parted
