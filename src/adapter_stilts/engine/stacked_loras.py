"""Stacks of LoRAs: their updates add up.

In `adapters` 1.3 the second LoRA of a `Stack` reads the first one's *output* and replaces it: the
first module's update is lost, and a new LoRA, whose update begins at zero, takes everything below
it away. What is meant by training a LoRA on top of another is W + D1 + D2.
"""

from __future__ import annotations

from types import MethodType
from typing import Any

import torch
from adapters.composition import AdapterCompositionBlock, Stack
from adapters.methods.lora import LoRALinear


def add_up_stacked_loras(model: torch.nn.Module) -> None:
    """Makes every linear layer of the model add up the LoRAs that are stacked on it."""
    for layer in model.modules():
        if isinstance(layer, LoRALinear):
            layer.compose_stack = MethodType(_compose_stack, layer)


def _compose_stack(layer: Any, setup: Stack, state: Any, lvl: int = 0) -> Any:
    """The sum of the children's updates, each of the layer's own input; (IA)3 scalings multiply."""
    total: torch.Tensor | None = None
    last = None
    for child in setup:
        if isinstance(child, AdapterCompositionBlock):
            compose = layer._get_compose_func(type(child))
            one = compose(child, state._replace(hidden_states=None), lvl=lvl + 1)
        elif child in layer.adapter_modules:
            one = layer.compose_single(child, state._replace(hidden_states=None), lvl=lvl + 1)
        else:
            continue  # a bottleneck adapter, or a LoRA that leaves this layer out
        if one.hidden_states is None:
            continue
        scales = layer.loras[one.last].composition_mode == "scale"
        if total is None:
            total = one.hidden_states
        else:
            total = total * one.hidden_states if scales else total + one.hidden_states
        last = one.last
    return state._replace(hidden_states=total, last=last) if last else state
