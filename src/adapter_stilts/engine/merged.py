"""Merges in the engine: a module whose weights are computed from others' that are there."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from adapters.methods.lora import LoRALinear
from torch import Tensor

from adapter_stilts.engine.composition import Call, Expression, canonical
from adapter_stilts.engine.engine import Engine, module_parameters
from adapter_stilts.engine.native import LARGEST, LARGEST_SCALE, builds, in_range
from adapter_stilts.errors import UserError
from adapter_stilts.hashing import text_digest
from adapter_stilts.merging.blend import Blend, Factors, blend, blend_factors, blend_products
from adapter_stilts.merging.methods import MERGES, Terms, full_weights
from adapter_stilts.registered import additions

Setter = Callable[[Sequence[float]], None]
"""Gives a merged module the weights that come of these weights of its sources."""


def with_merges(engine: Engine, expression: Expression) -> Expression:
    """The expression with modules for merges, which are computed if they are not there yet."""
    if isinstance(expression, str):
        return expression
    parts = tuple(with_merges(engine, part) for part in expression.parts)
    if expression.terms is None:
        return dataclasses.replace(expression, parts=parts)
    written = canonical(expression)
    if written not in engine.names:
        name = f"merged-{text_digest(written, 12)}"
        add_merged(engine, name, dataclasses.replace(expression, parts=parts))
        engine.names[written] = name
    return engine.names[written]


@builds
def add_merged(engine: Engine, name: str, merge: Call) -> Setter:
    """Adds a merge of modules that are in the engine, without a head; all of it stays frozen.

    The `merge` is of modules of one shape. What is returned computes it anew for other weights.
    """
    assert merge.terms is not None
    sources = tuple(map(str, merge.parts))
    config = engine.model.adapters_config.get(sources[0])
    if rank := _rank(engine, sources, merge.terms):
        config = config.replace(r=rank, alpha=rank)  # of scaling 1
    with engine.adding(name):
        engine.model.add_adapter(name, config=config)
    engine.model.to(device=engine.device)
    engine.model.eval()
    setter = _setter(engine, name, sources, merge.operator, merge.terms, rank)
    setter(full_weights(MERGES[merge.operator], merge.terms, len(sources)))
    return setter


def _rank(engine: Engine, sources: Sequence[str], terms: Terms) -> int:
    """The rank of the merged LoRA; 0 for bottleneck modules."""
    width = int(engine.model.config.hidden_size)
    if terms.rank and terms.rank > width:
        raise UserError(f"rank {terms.rank} is above {width}, the width of the layers: lower it")
    configs = [engine.model.adapters_config.get(source) for source in sources]
    return terms.rank or max(int(getattr(config, "r", 0)) for config in configs)


def _setter(
    engine: Engine, name: str, sources: Sequence[str], how: str, terms: Terms, rank: int
) -> Setter:
    options: dict[str, Any] = {"density": terms.density or MERGES[how].density, "seed": terms.seed}
    blends: list[tuple[tuple[Tensor, ...], Callable[[Tensor], tuple[Tensor, ...]]]] = []
    if rank:
        for key, layer in _lora_layers(engine, name):
            each = [layer.loras[source] for source in sources]
            loras = [Factors(one.lora_A, one.lora_B, float(one.scaling)) for one in each]
            own = layer.loras[name]
            if terms.lora == "factors":
                merged = blend_factors(how, loras, key=key, **options)
            else:
                merged = blend_products(how, loras, rank=rank, key=key, **options)
            blends.append(((own.lora_A, own.lora_B), merged))
    else:
        tables = [_general(engine, source) for source in sources]
        for key, own in _general(engine, name).items():
            one = blend(how, [tensors[key] for tensors in tables], key=key, **options)
            blends.append(((own,), _alone(one)))

    own_method = additions("merge method").get(how)
    too_large = UserError(
        f"{how} of {', '.join(sources)} gives weights that are not finite, or above {LARGEST:g}: "
        "choose smaller weights" + (f", or mend {own_method.place}" if own_method else "")
    )

    def put(weights: Sequence[float]) -> None:
        given = torch.tensor(list(weights), dtype=torch.float32)
        if float(given.abs().max()) > LARGEST_SCALE:
            raise too_large
        with torch.no_grad():
            for places, merge in blends:
                for place, value in zip(places, merge(given), strict=True):
                    if not in_range(value):
                        raise too_large
                    place.copy_(value)

    return put


def _alone(one: Blend) -> Callable[[Tensor], tuple[Tensor, ...]]:
    return lambda weights: (one(weights),)


def _lora_layers(engine: Engine, name: str) -> Iterator[tuple[str, Any]]:
    """The linear layers that have a LoRA of that name, by their names in the model."""
    for key, layer in engine.model.named_modules():
        if isinstance(layer, LoRALinear) and name in layer.loras:
            yield key, layer


def _general(engine: Engine, name: str) -> dict[str, Tensor]:
    """A module's parameters, without its head's, by their names without that of the module."""
    return {
        ".".join("*" if part == name else part for part in key.split(".")): parameter
        for key, parameter in module_parameters(engine, name).items()
        if not key.startswith("heads.")
    }
