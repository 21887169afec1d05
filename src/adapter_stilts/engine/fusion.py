"""Fusion layers in the engine: over bottleneck adapters and over LoRAs, single or stacked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from adapters import DynamicAdapterFusionConfig, StaticAdapterFusionConfig
from adapters.methods.bottleneck import BottleneckLayer
from adapters.methods.lora import LoRALinear
from torch import nn

from adapter_stilts.engine.composition import Expression, module_names
from adapter_stilts.engine.fusion_forward import (
    ArrowFusion,
    Attended,
    LeanFusion,
    LoraFusion,
    UniformFusion,
    Watcher,
    watching,
)

FusionKind = Literal["full", "lean", "uniform", "arrow"]


def add_bottleneck_fusion(
    model: Any,
    name: str,
    sources: Sequence[Expression],
    kind: FusionKind,
    *,
    rank: int,
    shared: bool,
) -> None:
    """Adds a fusion over bottleneck adapters in every layer that has any of them.

    Args:
        sources: names of modules, or stacks of such.
        rank: of query and key of a lean fusion; 0 is a sixteenth of the width.
        shared: one lean fusion for all layers.
    """
    names = modules_of(sources)
    full = kind == "full"
    config = (DynamicAdapterFusionConfig if full else StaticAdapterFusionConfig)(dropout_prob=None)
    one: nn.Module | None = None
    if full:
        model.add_adapter_fusion(names, config=config, name=name)
    else:
        model.adapters_config.add_fusion(names, config=config, fusion_name=name)
    for layer in model.modules():
        if not isinstance(layer, BottleneckLayer):
            continue
        if not set(names) & set(layer.adapters):
            layer.delete_fusion_layer(name)  # which all the modules leave out
        elif not full:
            width = int(layer.model_config.hidden_size)
            if one is None or not shared:
                one = LeanFusion(width, rank or width // 16) if kind == "lean" else UniformFusion()
            layer.adapter_fusion_layer[name] = one.to(_device(layer, names))


def modules_of(sources: Sequence[Expression]) -> list[str]:
    """Every module of a fusion's sources once."""
    return list(dict.fromkeys(name for source in sources for name in module_names(source)))


def _device(layer: Any, names: Sequence[str]) -> torch.device:
    adapter = next(layer.adapters[name] for name in names if name in layer.adapters)
    return torch.device(next(adapter.parameters()).device)


def add_lora_fusion(
    model: Any, name: str, sources: Sequence[Expression], kind: FusionKind, *, rank: int
) -> None:
    """Adds a fusion over LoRAs in every linear layer that has any of them."""
    names = [name for source in sources for name in module_names(source)]
    for layer in model.modules():
        if not isinstance(layer, LoRALinear):
            continue
        loras = [layer.loras[each] for each in names if each in layer.loras]
        if not loras:
            continue
        if not hasattr(layer, "fusions"):
            layer.fusions = nn.ModuleDict()
        ranks = [lora.lora_A.shape[0] for lora in loras]
        layer.fusions[name] = _over_loras(kind, layer.in_features, ranks, rank).to(
            layer.weight.device
        )


def _over_loras(kind: FusionKind, width: int, ranks: Sequence[int], rank: int) -> nn.Module:
    if kind == "uniform":
        return UniformFusion()
    if kind == "arrow":
        return ArrowFusion()
    return LoraFusion(width, ranks, rank or max(1, width // 64))


__all__ = [
    "Attended",
    "FusionKind",
    "Watcher",
    "add_bottleneck_fusion",
    "add_lora_fusion",
    "modules_of",
    "watching",
]
