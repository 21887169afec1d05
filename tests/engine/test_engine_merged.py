"""Merges in the engine: what they compute there."""

from __future__ import annotations

import pytest
import torch
from adapters.composition import Stack
from adapters.methods.lora import LoRALinear
from torch import Tensor

from adapter_stilts.engine.composition import Call, parse
from adapter_stilts.engine.engine import Engine, activate_block, add_module, forward
from adapter_stilts.engine.merged import add_merged, with_merges
from adapter_stilts.engine.methods import MethodOptions, get_method
from made_modules import logits_of, make_module, token_batch


def _add(engine: Engine, text: str, name: str = "m") -> Call:
    expression = parse(text)
    assert isinstance(expression, Call)
    add_merged(engine, name, expression)
    return expression


def _hidden(engine: Engine, block: object) -> Tensor:
    """The hidden states of a block: no head adds to them."""
    batch = token_batch(engine, "embedding")
    activate_block(engine, block, "nothing")
    found: Tensor = logits_of(forward(engine, batch), batch)
    return found


def _two(engine: Engine, method: str) -> None:
    for seed, name in enumerate("ab"):
        make_module(engine, name, method, "span", seed=seed, leave_out=(0,))


@pytest.mark.parametrize(
    ("method", "text"),
    [
        ("bottleneck", "average(a, c)"),
        ("double-bottleneck", "slerp(a, c)"),
        ("lora", "linear(2*a, 1*c)"),
        ("lora", "slerp(a, c, lora=factors)"),
    ],
)
def test_a_module_merged_with_its_like_is_the_same(engine: Engine, method: str, text: str) -> None:
    _two(engine, method)
    make_module(engine, "c", method, "span", seed=0, leave_out=(0,))
    source = {key: p for key, p in engine.model.named_parameters() if ".a." in key}
    with torch.no_grad():
        for key, parameter in engine.model.named_parameters():
            if ".c." in key and not key.startswith("heads."):
                parameter.copy_(source[key.replace(".c.", ".a.")])
    _add(engine, text)
    assert torch.allclose(_hidden(engine, "m"), _hidden(engine, "a"), atol=2e-4)
    assert not torch.allclose(_hidden(engine, "m"), _hidden(engine, "b"), atol=1e-2)
    assert not any(p.requires_grad for key, p in engine.model.named_parameters() if ".m." in key)


@pytest.mark.parametrize("method", ["lora", "lora-all"])
def test_a_sum_of_products_is_a_stack(engine: Engine, method: str) -> None:
    _two(engine, method)
    _add(engine, "task-arithmetic(a, b, rank=16)")
    stacked = _hidden(engine, Stack("a", "b"))
    assert torch.allclose(_hidden(engine, "m"), stacked, atol=5e-4)
    # With weights: the same as stacking LoRAs whose updates are as many times as large.
    for layer in engine.model.modules():
        if isinstance(layer, LoRALinear) and "a" in layer.loras:
            layer.loras["a"].scaling *= 0.5
            layer.loras["b"].scaling *= -2
    weighted = _hidden(engine, Stack("a", "b"))
    for layer in engine.model.modules():
        if isinstance(layer, LoRALinear) and "a" in layer.loras:
            layer.loras["a"].scaling *= 2
            layer.loras["b"].scaling /= -2
    assert not torch.allclose(weighted, stacked, atol=1e-2)
    _add(engine, "task-arithmetic(0.5*a, -2*b, rank=16)", "n")
    assert torch.allclose(_hidden(engine, "n"), weighted, atol=5e-4)


def test_ranks_may_differ(engine: Engine) -> None:
    for name, rank, alpha in (("a", 2, 8), ("b", 4, 4)):
        options = MethodOptions(rank=rank, alpha=alpha)
        add_module(engine, name, get_method("lora"), options, head="span")
    with torch.no_grad():
        for key, parameter in engine.model.named_parameters():
            if ".loras." in key:
                parameter.normal_(std=0.1)
    engine.model.eval()
    _add(engine, "task-arithmetic(a, b, rank=6)")
    assert engine.model.adapters_config.get("m").r == 6
    both = _hidden(engine, Stack("a", "b"))
    assert torch.allclose(_hidden(engine, "m"), both, atol=5e-4)
    _add(engine, "average(a, b)", "n")
    assert engine.model.adapters_config.get("n").r == 4


def test_other_weights_later(engine: Engine) -> None:
    _two(engine, "bottleneck")
    call = parse("linear(0.5*a, 0.5*b)")
    assert isinstance(call, Call)
    setter = add_merged(engine, "m", call)
    middle = _hidden(engine, "m")
    setter([1.0, 0.0])
    assert torch.equal(_hidden(engine, "m"), _hidden(engine, "a"))
    setter([0.5, 0.5])
    assert torch.equal(_hidden(engine, "m"), middle)


def test_merges_in_expressions_are_computed_once(engine: Engine) -> None:
    _two(engine, "bottleneck")
    make_module(engine, "t", "bottleneck", "span", seed=5)
    inside = with_merges(engine, parse("stack(linear(0.9*a, 0.1*average(a, b)), t)"))
    assert isinstance(inside, Call)
    below, above = inside.parts
    assert isinstance(below, str)
    assert above == "t"
    assert with_merges(engine, parse("linear(0.9*a, 0.1*average(a, b))")) == below
    count = len(engine.modules)
    with_merges(engine, inside)
    assert len(engine.modules) == count == 5
    own = dict(engine.model.named_parameters())
    key = next(key for key in engine.modules["a"] if not key.startswith("heads."))
    a, b, merged = (own[key.replace(".a.", f".{name}.")] for name in ("a", "b", below))
    assert torch.allclose(merged, 0.95 * a + 0.05 * b, atol=1e-6)
