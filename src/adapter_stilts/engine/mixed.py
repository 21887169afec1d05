"""Several compositions in one batch: the frozen trunk over all rows, each module over its own.

Embeddings, attention and feed-forward layers are the same for every composition, so that rows for
different modules can pass through them together. Where a layer has modules, the rows are parted,
every part goes through its own composition as if it were alone, and they are joined again.
This takes whatever a composition can be, but for modules outside the layers; `patches` says why
`BatchSplit` of `adapters` does not serve.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from typing import Any, NamedTuple

from torch import Tensor

from adapter_stilts.engine.engine import Engine, activate_block, layer_of
from adapter_stilts.engine.patches import composed_by_rows

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
    trunk = engine.model.base_model
    alone = len(parts) == 1
    activate_block(engine, parts[0].block if alone else None, "")
    with nullcontext() if alone else composed_by_rows(trunk, parts), engine.running():
        return trunk(**engine.moved(batch))
