"""Stacked LoRAs add up."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from adapter_stilts.engine.composition import build_stack, parse
from adapter_stilts.engine.engine import Engine, activate_block, block_of, forward
from adapter_stilts.engine.methods import check_stackable
from adapter_stilts.errors import UserError
from made_modules import logits_of, make_engine, make_module, token_batch


def _merged(engine: Engine, names: list[str]) -> Any:
    """Adds the LoRAs' updates to the trunk's own weights; returns the old ones."""
    old = {}
    for key, layer in engine.model.named_modules():
        loras = [layer.loras[name] for name in names if name in getattr(layer, "loras", {})]
        if loras:
            old[key] = layer.weight.data.clone()
            for lora in loras:
                layer.weight.data += lora.lora_B @ lora.lora_A * lora.scaling
    return old


@pytest.mark.parametrize(
    ("methods", "text"),
    [
        (("lora", "lora"), "stack(a, b)"),
        (("lora-all", "lora"), "stack(a, b)"),
        (("lora", "lora-all"), "stack(a, b)"),
        (("lora", "lora", "lora"), "stack(a, b, c)"),
    ],
)
def test_stacked_loras_add_up(backbone: str, methods: tuple[str, ...], text: str) -> None:
    engine = make_engine(backbone)
    names = list("abc"[: len(methods)])
    for seed, (name, method) in enumerate(zip(names, methods, strict=True)):
        make_module(engine, name, method, "span", seed=seed)
    batch = token_batch(engine, "span")
    activate_block(engine, block_of(parse(text)), names[-1])
    stacked = logits_of(forward(engine, batch), batch)
    activate_block(engine, None, names[-1])
    alone = logits_of(forward(engine, batch), batch)
    with torch.no_grad():
        _merged(engine, names)
    expected = logits_of(forward(engine, batch), batch)
    assert torch.allclose(stacked, expected, atol=2e-4)
    assert not torch.allclose(stacked, alone, atol=1e-2)


def test_a_new_lora_leaves_what_is_below_as_it_is(backbone: str) -> None:
    engine = make_engine(backbone)
    make_module(engine, "a", "lora", "span")
    batch = token_batch(engine, "span")
    before = logits_of(forward(engine, batch), batch)
    make_module(engine, "b", "lora", "span")
    with torch.no_grad():
        for key, parameter in engine.model.named_parameters():
            if key.endswith("loras.b.lora_B"):
                parameter.zero_()
    activate_block(engine, block_of(parse("stack(a, b)")), "a")
    assert torch.equal(logits_of(forward(engine, batch), batch), before)


def two_stacked(
    backbone: Path, method: str
) -> tuple[Engine, dict[str, torch.Tensor], torch.Tensor]:
    """An engine with `a` and on it `b`, both of the method, a batch, and the logits of the two."""
    engine = make_engine(str(backbone))
    make_module(engine, "a", method, "span")
    make_module(engine, "b", method, "span", seed=1)
    batch = token_batch(engine, "span")
    activate_block(engine, block_of(parse("stack(a, b)")), "b")
    return engine, batch, logits_of(forward(engine, batch), batch)


def test_stacked_scalings_multiply(tiny_xlmr: Path) -> None:
    engine, batch, both = two_stacked(tiny_xlmr, "ia3")
    parameters = dict(engine.model.named_parameters())
    with torch.no_grad():
        for key, parameter in parameters.items():
            if ".loras.b." in key:
                parameter *= parameters[key.replace(".loras.b.", ".loras.a.")]
    activate_block(engine, "b", "b")
    assert torch.allclose(logits_of(forward(engine, batch), batch), both, atol=1e-5)


def check(*methods: str) -> None:
    """Checks a stack of modules of these methods, from the bottom up."""
    names = "abcd"[: len(methods)]
    check_stackable(build_stack(*names), dict(zip(names, methods, strict=True)))


def test_what_does_not_stack() -> None:
    check("bottleneck", "ia3", "ia3", "double-bottleneck")
    check("lora-all", "bottleneck", "lora")
    check("head", "parallel-bottleneck", "lora", "bottleneck")
    for below, above in (("lora", "ia3"), ("dora", "lora"), ("dora", "dora")):
        with pytest.raises(UserError, match=re.escape(f"'b' ({above}) cannot be stacked")):
            check(below, above)


@pytest.mark.parametrize("below", ["bottleneck", "double-bottleneck", "parallel-bottleneck"])
def test_a_parallel_adapter_stacks_on_no_bottleneck(below: str) -> None:
    with pytest.raises(UserError, match=r"'c' \(parallel-bottleneck\) cannot be stacked on 'a'"):
        check_stackable(
            parse("stack(a, b, c)"), {"a": below, "b": "lora", "c": "parallel-bottleneck"}
        )
    side_by_side = {"a": "parallel-bottleneck", "b": "parallel-bottleneck", "c": "bottleneck"}
    check_stackable(parse("stack(fuse(a, b), c)"), side_by_side)


def test_the_library_loses_what_is_below_a_parallel_adapter(tiny_xlmr: Path) -> None:
    """Should this fail, a newer `adapters` has mended it, and it need not be refused."""
    engine, batch, both = two_stacked(tiny_xlmr, "parallel-bottleneck")
    activate_block(engine, "b", "b")
    assert torch.equal(logits_of(forward(engine, batch), batch), both)
