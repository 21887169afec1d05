"""Activations computed again give the same gradients, and are not kept."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from adapter_stilts.backbones import find_backbone
from adapter_stilts.engine.attention import FastAttention, recompute_activations
from adapter_stilts.engine.engine import Engine, load_engine, module_parameters
from adapter_stilts.engine.fusing import FusionShape, add_fusion
from made_modules import LABELS, make_engine, make_module, token_batch


@pytest.mark.parametrize("method", ["bottleneck", "lora", "fusion-lean"])
def test_gradients_are_the_same_and_less_is_kept(tiny_xlmr: Path, method: str) -> None:
    found = []
    for recomputed in (False, True):
        torch.manual_seed(0)
        engine = make_engine(str(tiny_xlmr))
        name = "a"
        make_module(engine, name, "bottleneck" if "fusion" in method else method, "classification")
        if "fusion" in method:
            make_module(engine, "b", "bottleneck", "classification")
            labels, name = LABELS["classification"], "f"
            add_fusion(
                engine,
                name,
                ["a", "b"],
                FusionShape.of(method),
                head="classification",
                labels=labels,
            )
        if recomputed:
            recompute_activations(engine.model)
        engine.model.train()
        room = kept(engine, name)
        gradients = {key: p.grad for key, p in module_parameters(engine, name).items()}
        found.append((room, gradients))
    (much, plain), (little, again) = found
    assert little < much / 2
    assert plain.keys() == again.keys()
    for key, gradient in plain.items():
        assert gradient is not None
        other = again[key]
        assert other is not None and torch.equal(gradient, other), key


def test_what_is_offloaded_leaves_the_gpu_and_changes_no_gradient(
    tiny_xlmr: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a GPU, what would be taken off it is counted; only that of one layer may stay."""
    found = []
    taken: list[int] = []

    class Counted(torch.autograd.graph.saved_tensors_hooks):
        def __init__(self, *, pin_memory: bool) -> None:
            assert not pin_memory

            def pack(tensor: torch.Tensor) -> torch.Tensor:
                taken.append(tensor.numel())
                return tensor.clone()

            super().__init__(pack, lambda tensor: tensor)

    monkeypatch.setattr(torch.autograd.graph, "save_on_cpu", Counted)
    for offload in (False, True):
        torch.manual_seed(0)
        backbone = find_backbone(str(tiny_xlmr))
        engine = load_engine(
            backbone, precision="fp32", device=torch.device("cpu"), offload=offload
        )
        make_module(engine, "a", "bottleneck", "classification")
        recompute_activations(engine.model)
        engine.model.train()
        batch = token_batch(engine, "classification")
        engine.model.active_head = "a"
        with engine.saving():
            loss = engine.model(**batch, labels=torch.tensor([0, 1, 2, 0])).loss
        loss.backward()
        assert bool(taken) == offload
        found.append({key: p.grad for key, p in module_parameters(engine, "a").items()})
    layer = batch["input_ids"].numel() * engine.model.config.hidden_size
    assert taken.count(layer) >= engine.layers
    for key, gradient in found[0].items():
        other = found[1][key]
        assert gradient is not None and other is not None and torch.equal(gradient, other), key


def kept(engine: Engine, name: str) -> int:
    """Numbers that are kept for the backward pass, which then runs."""
    model = engine.model
    batch = token_batch(engine, "classification")
    model.active_head = name
    own = {each.data_ptr() for each in model.parameters()}
    sizes: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.data_ptr() not in own:
            sizes[tensor.data_ptr()] = tensor.numel()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), FastAttention():
        loss = model(**batch, labels=torch.tensor([0, 1, 2, 0])).loss
    loss.backward()
    return sum(sizes.values())
