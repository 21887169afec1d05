"""Fusion layers: equal to the library's, to a mean where they begin, and what they add up."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from adapters.composition import Fuse, Stack
from adapters.methods.bottleneck import BottleneckLayer
from adapters.methods.lora import LoRALinear

from adapter_stilts.engine.engine import Engine, activate_block, forward
from adapter_stilts.engine.fusing import FusionShape, add_bottleneck_fusion, add_lora_fusion
from adapter_stilts.engine.fusion_forward import watching
from made_modules import logits_of, make_engine, make_module, token_batch

NAMES = ("a", "b", "c")


def _engine(backbone: str, method: str) -> Engine:
    engine: Engine = make_engine(backbone)
    for seed, name in enumerate(NAMES):
        make_module(engine, name, method, "span", seed=seed)
    return engine


def _shake(engine: Engine, part: str) -> None:
    """Makes every parameter of the fusion differ from where it began."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for key, parameter in engine.model.named_parameters():
            if part in key:
                parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.1)


def _logits(engine: Engine, block: Any) -> torch.Tensor:
    batch = token_batch(engine, "span")
    activate_block(engine, block, "c")
    found: torch.Tensor = logits_of(forward(engine, batch), batch)
    return found


@pytest.mark.parametrize("method", ["bottleneck", "double-bottleneck"])
@pytest.mark.parametrize("top", [False, True])
def test_full_fusion_equals_the_library(backbone: str, method: str, top: bool) -> None:
    engine = _engine(backbone, method)
    add_bottleneck_fusion(engine.model, "f", NAMES, FusionShape("full"))
    _shake(engine, "adapter_fusion_layer")
    if top:
        make_module(engine, "t", method, "span", seed=9)
    fuse = Fuse(*NAMES, name="f")
    block = Stack(fuse, "t") if top else fuse
    ours = _logits(engine, block)
    seen: list[torch.Tensor] = []
    with watching(lambda told: seen.append(told.weights)):
        assert torch.equal(_logits(engine, block), ours)
    assert max(float(weights.max()) for weights in seen) > 0.36  # it does attend
    for layer in engine.model.modules():
        if isinstance(layer, BottleneckLayer):
            layer.__dict__.pop("compose_fuse", None)
    assert torch.allclose(ours, _logits(engine, block), atol=2e-4)


def test_changed_weights_are_noticed(tiny_xlmr: Any) -> None:
    engine = _engine(str(tiny_xlmr), "bottleneck")
    add_bottleneck_fusion(engine.model, "f", NAMES, FusionShape("full"))
    before = _logits(engine, Fuse(*NAMES, name="f"))
    _shake(engine, "adapter_fusion_layer")
    assert not torch.allclose(before, _logits(engine, Fuse(*NAMES, name="f")), atol=1e-3)


def _mean_of_updates(engine: Engine, inside: str) -> None:
    """Turns module c into the mean of all three, by bottlenecks side by side."""
    for layer in engine.model.modules():
        if isinstance(layer, LoRALinear) and "c" in layer.loras:
            delta = sum(
                layer.loras[n].lora_B @ layer.loras[n].lora_A * layer.loras[n].scaling
                for n in NAMES
            )
            layer.weight.data += delta / len(NAMES)


@pytest.mark.parametrize("kind", ["lean", "uniform"])
@pytest.mark.parametrize("shared", [False, True])
def test_lean_fusion_begins_as_the_mean(backbone: str, kind: Any, shared: bool) -> None:
    engine = _engine(backbone, "bottleneck")
    add_bottleneck_fusion(engine.model, "f", NAMES, FusionShape(kind, shared=shared))
    seen: list[torch.Tensor] = []
    with watching(lambda told: seen.append(told.weights)):
        fused = _logits(engine, Fuse(*NAMES, name="f"))
    assert len(seen) == engine.layers
    assert all(torch.allclose(w, torch.full_like(w, 1 / 3)) for w in seen)
    assert not torch.allclose(fused, _logits(engine, "c"), atol=1e-3)


def test_parameters_of_lean_fusion(tiny_xlmr: Any) -> None:
    counts = {}
    for kind, shared in (("full", False), ("lean", False), ("lean", True), ("uniform", False)):
        engine = _engine(str(tiny_xlmr), "bottleneck")
        add_bottleneck_fusion(engine.model, "f", NAMES, FusionShape(kind, shared=shared))  # type: ignore[arg-type]
        counts[kind, shared] = sum(
            p.numel() for key, p in engine.model.named_parameters() if "fusion_layer" in key
        )
    assert counts["full", False] == 3 * (3 * 32 * 32 + 2 * 32)
    assert counts["lean", False] <= counts["full", False] / 20
    assert counts["lean", True] == counts["lean", False] / 3
    assert counts["uniform", False] == 0


@pytest.mark.parametrize("kind", ["lean", "uniform"])
@pytest.mark.parametrize("method", ["lora", "lora-all"])
def test_lora_fusion_begins_as_the_mean(backbone: str, kind: Any, method: str) -> None:
    engine = _engine(backbone, method)
    add_lora_fusion(engine.model, "f", NAMES, FusionShape(kind))
    fused = _logits(engine, Fuse(*NAMES, name="f"))
    activate_block(engine, None, "c")
    with torch.no_grad():
        _mean_of_updates(engine, "f")
    batch = token_batch(engine, "span")
    assert torch.allclose(fused, logits_of(forward(engine, batch), batch), atol=2e-4)


def test_lora_fusion_attends(tiny_xlmr: Any) -> None:
    engine = _engine(str(tiny_xlmr), "lora")
    add_lora_fusion(engine.model, "f", NAMES, FusionShape("lean", 4))
    before = _logits(engine, Fuse(*NAMES, name="f"))
    _shake(engine, "fusions")
    with torch.no_grad():
        for key, parameter in engine.model.named_parameters():
            if "fusions" in key:
                parameter *= 20
    seen: list[torch.Tensor] = []
    with watching(lambda told: seen.append(told.weights)):
        after = _logits(engine, Fuse(*NAMES, name="f"))
    assert not torch.allclose(before, after, atol=1e-4)
    assert max(float(weights.max()) for weights in seen) > 0.5
    assert all(torch.allclose(w.sum(-1), torch.ones(()), atol=1e-5) for w in seen)


def test_lora_above_a_lora_fusion_adds_up(tiny_xlmr: Any) -> None:
    engine = _engine(str(tiny_xlmr), "lora")
    add_lora_fusion(engine.model, "f", NAMES, FusionShape("lean", 4))
    make_module(engine, "t", "lora", "span", seed=9)
    fuse = Fuse(*NAMES, name="f")
    alone = _logits(engine, fuse)
    both = _logits(engine, Stack(fuse, "t"))
    assert not torch.allclose(alone, both, atol=1e-3)
    with torch.no_grad():
        for key, parameter in engine.model.named_parameters():
            if key.endswith("loras.t.lora_B"):
                parameter.zero_()
    assert torch.allclose(_logits(engine, Stack(fuse, "t")), alone, atol=1e-6)
