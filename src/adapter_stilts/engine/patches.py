"""Every member of a library that is overridden here, although the library keeps it to itself.

All are of `adapters`, whose layers compose modules in ways that lose some of them. Each entry says
why, and is compared at import with the library that is installed. `tests/engine/test_patches.py`
runs the library alone and shows that the fault is still there: where such a test fails, the entry
can go.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import MethodType
from typing import Any

import adapters
import torch
from adapters.composition import Stack
from adapters.context import AdapterSetup
from adapters.methods.bottleneck import BottleneckLayer
from adapters.methods.lora import LoRALinear
from torch import Tensor

from adapter_stilts.engine.fusion_forward import fuse_bottlenecks, fuse_loras
from adapter_stilts.errors import FailureError


@dataclass(frozen=True)
class Patch:
    """A method of a library's layers that others stand in for.

    Attributes:
        owner: the class of the layers.
        method: its name.
        takes: the arguments that it has in the library, without `self`.
        why: what is wrong with it.
        upstream: where the library's maintainers speak of it.
        by: the function that stands in for it; None where that depends on the batch.
    """

    owner: type[Any]
    method: str
    takes: tuple[str, ...]
    why: str
    upstream: str
    by: Callable[..., Any] | None = None


def _stack_loras(layer: Any, setup: Stack, state: Any, lvl: int = 0) -> Any:
    """The sum of the children's updates, each of the layer's own input; (IA)3 scalings multiply.

    What is meant by training a LoRA on top of another is W + D1 + D2.
    """
    total: Tensor | None = None
    last = None
    alone = state._replace(hidden_states=None)
    for child in setup:
        if isinstance(child, str) and child not in layer.adapter_modules:
            continue  # a bottleneck adapter, or a LoRA that leaves this layer out
        if isinstance(child, str):
            compose = layer.compose_single
        else:
            compose = layer.compose_stack if isinstance(child, Stack) else layer.compose_fuse
        one = compose(child, alone, lvl=lvl + 1)
        if one.hidden_states is None:
            continue
        if total is None:
            total = one.hidden_states
        elif layer.loras[one.last].composition_mode == "scale":
            total = total * one.hidden_states
        else:
            total = total + one.hidden_states
        last = one.last
    return state._replace(hidden_states=total, last=last) if last else state


_COMPOSES = ("adapter_setup", "state", "lvl")
_SPLIT = (
    "`BatchSplit`, the way of the library for a batch of several modules, norms the input of "
    "stacks twice, fails where a LoRA leaves a layer out, and takes no fusions"
)

PATCHES = (
    Patch(
        LoRALinear,
        "compose_stack",
        _COMPOSES,
        "the second LoRA of a stack reads the output of the first one and replaces its update, so "
        "that a new LoRA, whose update begins at zero, takes away everything below it",
        "no issue known; composition of LoRAs came with adapter-hub/adapters#598",
        _stack_loras,
    ),
    Patch(
        LoRALinear,
        "compose_fuse",
        _COMPOSES,
        "LoRAs cannot be fused: it raises a NotImplementedError without a message",
        "adapter-hub/adapters#598 leaves it out on purpose",
        fuse_loras,
    ),
    Patch(
        BottleneckLayer,
        "compose_fuse",
        _COMPOSES,
        "of a stack inside a fusion the input is normed twice, and what all but its last module "
        "add is lost; besides, every module is a product of its own",
        "adapter-hub/adapters#574 asks for stacks inside fusions",
        fuse_bottlenecks,
    ),
    Patch(
        BottleneckLayer,
        "bottleneck_layer_forward",
        ("hidden_states", "residual_input", "layer_norm"),
        _SPLIT,
        "no issue known",
    ),
    Patch(LoRALinear, "forward", ("input_states",), _SPLIT, "no issue known"),
)


def _check(patch: Patch) -> None:
    """Refuses (FailureError) a library whose method is another one than was replaced."""
    method = getattr(patch.owner, patch.method, None)
    found = tuple(inspect.signature(method).parameters)[1:] if method is not None else None
    if found != patch.takes:
        takes = "is gone" if found is None else f"takes ({', '.join(found)})"
        raise FailureError(
            f"adapters {adapters.__version__} does not fit this package: "
            f"{patch.owner.__name__}.{patch.method} {takes}, where "
            f"({', '.join(patch.takes)}) was expected; install adapters 1.3"
        )


for _patch in PATCHES:
    _check(_patch)


def patch_layers(model: torch.nn.Module) -> None:
    """Makes every layer of a model compose modules as is meant here."""
    for layer in model.modules():
        for patch in PATCHES:
            if patch.by is not None and isinstance(layer, patch.owner):
                setattr(layer, patch.method, MethodType(patch.by, layer))


Rows = tuple[Any, int]
"""A block, and so many rows of a batch that go through it (None: no module)."""


@contextmanager
def compose_by_rows(model: torch.nn.Module, parts: Sequence[Rows]) -> Iterator[None]:
    """Inside this context every layer with modules runs part by part.

    Each part goes through its own block as if it were alone, and they are joined again.
    """
    setups = [(AdapterSetup(block), count) for block, count in parts]
    names = {name for setup, _ in setups for name in _names(setup)}
    changed: list[tuple[torch.nn.Module, str]] = []
    try:
        for layer in model.modules():
            for patch in PATCHES:
                if patch.by is not None or not isinstance(layer, patch.owner):
                    continue
                if names & set(layer.adapter_modules):
                    run = getattr(layer, patch.method)
                    setattr(layer, patch.method, _by_rows(run, setups))
                    changed.append((layer, patch.method))
        yield
    finally:
        for layer, method in changed:
            delattr(layer, method)


def _names(setup: AdapterSetup) -> set[str]:
    return setup.adapter_setup.flatten() if setup.adapter_setup is not None else set()


def _by_rows(
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
