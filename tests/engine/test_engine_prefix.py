"""Layers below the lowest module, shared: equal to the bit, and computed once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from adapter_stilts.engine.composition import Call, Expression, build_fusion, module_names, top
from adapter_stilts.engine.engine import (
    Engine,
    activate_block,
    block_of,
    forward,
    layers_below,
    shared_prefix,
)
from adapter_stilts.engine.fusing import FusionShape, add_fusion
from adapter_stilts.tasks.spec import HeadKind
from made_modules import logits_of, make_engine, make_module, token_batch

HEADS: tuple[HeadKind, ...] = ("classification", "choice", "span", "tagging")


def logits(engine: Engine, expression: Expression, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    activate_block(engine, block_of(expression), top(expression))
    return logits_of(forward(engine, batch), batch)


class Counter:
    """Counts how often a layer really runs."""

    def __init__(self, layer: Any) -> None:
        self.calls = 0
        self._forward = layer.forward
        layer.forward = self

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.calls += 1
        return self._forward(*args, **kwargs)


@pytest.fixture
def upper(engine: Engine) -> dict[str, Expression]:
    """Modules of two methods, none in the lowest layer, and a stack of them."""
    last = engine.layers - 1
    make_module(engine, "low", "bottleneck", "span", leave_out=(0,), seed=1)
    make_module(engine, "high", "bottleneck", "span", leave_out=range(last), seed=2)
    make_module(engine, "lora", "lora", "span", leave_out=(0, last), seed=3)
    make_module(engine, "all", "lora-all", "span", leave_out=(0,), seed=4)
    return {
        "low": "low",
        "high": "high",
        "lora": "lora",
        "all": "all",
        "stack": Call("stack", ("low", "high")),
    }


def test_layers_below_the_lowest_module(engine: Engine, upper: dict[str, Expression]) -> None:
    assert layers_below(engine, ["low"]) == layers_below(engine, ["low", "high"]) == 1
    assert layers_below(engine, ["high"]) == engine.layers - 1
    assert layers_below(engine, ["lora", "all", "high"]) == 1
    make_module(engine, "everywhere", "double-bottleneck", "span")
    assert layers_below(engine, ["high", "everywhere"]) == 0
    make_module(engine, "probe", "head", "span")
    assert layers_below(engine, ["probe"]) == layers_below(engine, []) == engine.layers
    assert layers_below(engine, ["probe", "high"]) == engine.layers - 1


def test_a_part_outside_the_layers_leaves_nothing_to_share(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(engine.modules, "inv", ("bert.invertible_adapters.inv.F.0.weight",))
    assert layers_below(engine, ["inv"]) == 0


def test_outputs_are_equal_to_the_bit_and_lower_layers_run_once(
    engine: Engine, upper: dict[str, Expression]
) -> None:
    batch = token_batch(engine, "span")
    alone = {name: logits(engine, each, batch) for name, each in upper.items()}
    layers = list(engine.model.base_model.encoder.layer)
    counters = [Counter(layer) for layer in layers]
    with shared_prefix(engine, 1) as prefix:
        for _ in range(2):
            prefix.forget()
            for name, each in upper.items():
                assert torch.equal(logits(engine, each, batch), alone[name]), name
    assert [counter.calls for counter in counters] == [2, *[10] * (len(layers) - 1)]
    for layer in layers:
        del layer.forward


@pytest.mark.parametrize("head", HEADS)
def test_every_head_on_top_of_several_shared_layers(engine: Engine, head: HeadKind) -> None:
    below = engine.layers - 1
    names = ("first", "second", "third")
    for seed, (name, method) in enumerate(zip(names, ("bottleneck", "lora", "head"), strict=True)):
        make_module(engine, name, method, head, leave_out=range(below), seed=seed)
    assert layers_below(engine, names) == below
    batch = token_batch(engine, head)
    alone = {name: logits(engine, name, batch) for name in names}
    with shared_prefix(engine, below) as prefix:
        prefix.forget()
        together = {name: logits(engine, name, batch) for name in reversed(names)}
    assert all(torch.equal(together[name], alone[name]) for name in names)
    assert not torch.equal(alone["first"], alone["second"])


def test_the_next_batch_is_computed_anew(engine: Engine, upper: dict[str, Expression]) -> None:
    batch = token_batch(engine, "span")
    other = {key: value[:2, :8] for key, value in batch.items()}
    expected = logits(engine, "high", other)
    with shared_prefix(engine, 1) as prefix:
        prefix.forget()
        logits(engine, "low", batch)
        prefix.forget()
        assert torch.equal(logits(engine, "high", other), expected)


def test_the_layers_are_as_before_when_it_ends(engine: Engine) -> None:
    encoder = engine.model.base_model.encoder
    layers = list(encoder.layer)
    names = [name for name, _ in engine.model.named_parameters()]
    with pytest.raises(RuntimeError), shared_prefix(engine, len(layers)):
        assert not set(encoder.layer) & set(layers)
        raise RuntimeError
    assert list(encoder.layer) == layers
    with shared_prefix(engine, 0):
        assert list(encoder.layer) == layers
    assert [name for name, _ in engine.model.named_parameters()] == names


def test_the_whole_trunk_is_shared_between_probes(engine: Engine) -> None:
    make_module(engine, "one", "head", "tagging", seed=1)
    make_module(engine, "two", "head", "tagging", seed=2)
    batch = token_batch(engine, "tagging")
    alone = [logits(engine, name, batch) for name in ("one", "two")]
    with shared_prefix(engine, layers_below(engine, ["one", "two"])) as prefix:
        prefix.forget()
        together = [logits(engine, name, batch) for name in ("one", "two")]
    assert all(map(torch.equal, alone, together))


@pytest.mark.parametrize("method", ["bottleneck", "lora"])
@pytest.mark.parametrize("shape", ["fusion", "fusion-lean"])
def test_fusions_of_upper_modules(tiny_xlmr: Path, method: str, shape: str) -> None:
    engine = make_engine(str(tiny_xlmr))
    for seed, name in enumerate(("a", "b")):
        make_module(engine, name, method, "span", leave_out=(0,), seed=seed)
    made = FusionShape.of(shape if shape != "fusion" else "fusion-full")
    add_fusion(engine, "f", ("a", "b"), made, head="span")
    engine.model.eval()
    expressions: tuple[Expression, ...] = ("a", build_fusion("a", "b", by="f"), "b")
    below = layers_below(engine, {name for each in expressions for name in module_names(each)})
    assert below == 1
    batch = token_batch(engine, "span")
    alone = [logits(engine, each, batch) for each in expressions]
    with shared_prefix(engine, below):
        together = [logits(engine, each, batch) for each in expressions]
    assert all(map(torch.equal, alone, together))
    assert not torch.equal(alone[0], alone[1])


def test_in_bfloat16(backbone: str) -> None:
    engine = make_engine(backbone, "bf16")
    make_module(engine, "one", "bottleneck", "span", leave_out=(0,), seed=1)
    make_module(engine, "two", "lora", "span", leave_out=(0,), seed=2)
    batch = token_batch(engine, "span")
    alone = [logits(engine, name, batch) for name in ("one", "two")]
    with shared_prefix(engine, 1):
        together = [logits(engine, name, batch) for name in ("one", "two")]
    assert all(map(torch.equal, alone, together))
