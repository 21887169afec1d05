"""Stacks inside fusions, and fusions inside stacks."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from adapter_stilts.engine import fusion_forward
from adapter_stilts.engine.composition import Call, Expression, parse
from adapter_stilts.engine.engine import Engine, activate_block, block_of, forward
from adapter_stilts.engine.fusing import FusionShape, add_fusion, add_unlearnt
from adapter_stilts.engine.fusion_forward import Attended, watching
from adapter_stilts.engine.methods import check_fusable
from adapter_stilts.errors import UserError
from fusion_kit import shake
from made_modules import logits_of, make_engine, make_module, token_batch


def _engine(backbone: str, method: str) -> Engine:
    engine: Engine = make_engine(backbone)
    for seed, name in enumerate("abc"):
        make_module(engine, name, method, "span", seed=seed)
    return engine


def _logits(engine: Engine, expression: Expression) -> torch.Tensor:
    batch = token_batch(engine, "span")
    activate_block(engine, block_of(expression), "c")
    found: torch.Tensor = logits_of(forward(engine, batch), batch)
    return found


def _only(number: int) -> Any:
    """Attention that has all its weight on one source."""

    def attend(x: torch.Tensor, activations: torch.Tensor, folded: Any) -> torch.Tensor:
        weights = activations.new_zeros(*activations.shape[:-1], folded.segments.shape[1])
        weights[..., number] = 1
        return weights

    return attend


@pytest.mark.parametrize("method", ["bottleneck", "double-bottleneck", "lora", "lora-all"])
@pytest.mark.parametrize("kind", ["full", "lean"])
def test_a_source_counts_as_what_it_does_by_itself(
    tiny_backbone: str, method: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = _engine(tiny_backbone, method)
    sources = (parse("stack(a, b)"), "c")
    add_fusion(engine, "f", sources, FusionShape.of(f"fusion-{kind}"), head="span")
    engine.model.eval()
    fusion = Call("fuse", sources, "f")
    for number, source in enumerate(sources):
        monkeypatch.setattr(fusion_forward, "attention", _only(number))
        alone = _logits(engine, source)
        assert torch.allclose(_logits(engine, fusion), alone, atol=5e-4, rtol=1e-3)
    assert not torch.allclose(alone, _logits(engine, sources[0]), atol=1e-2)


def test_parallel_modules_count_as_what_they_do(
    tiny_xlmr: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = _engine(str(tiny_xlmr), "parallel-bottleneck")
    add_fusion(engine, "f", ("a", "c"), FusionShape.of("fusion-lean"), head="span")
    engine.model.eval()
    for number, source in enumerate("ac"):
        monkeypatch.setattr(fusion_forward, "attention", _only(number))
        found = _logits(engine, Call("fuse", ("a", "c"), "f"))
        assert torch.allclose(found, _logits(engine, source), atol=1e-5)


@pytest.mark.parametrize("method", ["bottleneck", "lora"])
@pytest.mark.parametrize("kind", ["full", "lean", "uniform"])
def test_stacks_are_attended_to(tiny_xlmr: Any, method: str, kind: str) -> None:
    engine = _engine(str(tiny_xlmr), method)
    sources = (parse("stack(a, b)"), parse("stack(a, c)"))
    add_fusion(engine, "f", sources, FusionShape.of(f"fusion-{kind}"), head="span")
    engine.model.eval()
    fusion = Call("fuse", sources, "f")
    before = _logits(engine, fusion)
    shake(engine, "f", by=1.0)
    seen: list[Attended] = []
    with watching(seen.append):
        after = _logits(engine, fusion)
    assert {told.layer for told in seen} == {0, 1, 2}
    assert {told.sources for told in seen} == {(0, 1)}
    assert all(told.weights.shape[-1] == 2 for told in seen)
    assert torch.equal(before, after) == (kind == "uniform")
    assert (max(float(told.weights.max()) for told in seen) > 0.6) == (kind != "uniform")


@pytest.mark.parametrize("below", ["bottleneck", "lora"])
@pytest.mark.parametrize("above", ["bottleneck", "lora"])
def test_any_module_stands_on_any_fusion(tiny_xlmr: Any, below: str, above: str) -> None:
    engine = _engine(str(tiny_xlmr), below)
    add_fusion(engine, "f", ("a", parse("stack(a, b)")), FusionShape.of("fusion-lean"), head="span")
    engine.model.eval()
    make_module(engine, "t", above, "span", seed=9)
    fusion = Call("fuse", ("a", parse("stack(a, b)")), "f")
    both = _logits(engine, Call("stack", (fusion, "t")))
    assert not torch.allclose(both, _logits(engine, fusion), atol=1e-3)
    assert not torch.allclose(both, _logits(engine, "t"), atol=1e-3)


def test_layers_that_the_sources_leave_out(tiny_xlmr: Any) -> None:
    engine = make_engine(str(tiny_xlmr))
    make_module(engine, "a", "bottleneck", "span", leave_out=(0, 1))
    make_module(engine, "b", "bottleneck", "span", leave_out=(0,), seed=1)
    make_module(engine, "c", "bottleneck", "span", seed=2)
    add_fusion(engine, "f", ("a", "b"), FusionShape.of("fusion-full"), head="span")
    engine.model.eval()
    seen: list[Attended] = []
    with watching(seen.append):
        _logits(engine, Call("stack", (Call("fuse", ("a", "b"), "f"), "c")))
    assert [(told.layer, told.sources) for told in seen] == [(1, (1,)), (2, (0, 1))]


def test_a_uniform_fusion_needs_nothing_but_its_modules(tiny_xlmr: Any) -> None:
    engine = _engine(str(tiny_xlmr), "lora")
    call = parse("uniform(a, b)")
    assert isinstance(call, Call)
    before = {key for key, _ in engine.model.named_parameters()}
    add_unlearnt(engine, call)
    add_unlearnt(engine, call)
    assert {key for key, _ in engine.model.named_parameters()} == before
    mean = _logits(engine, call)
    assert not torch.allclose(mean, _logits(engine, "a"), atol=1e-3)
    assert torch.isfinite(_logits(engine, Call("stack", (call, "c")))).all()


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("fuse(fuse(a, b), c)", "'fuse(a, b)' is a fusion inside a fusion"),
        ("fuse(stack(fuse(a, b), c), d)", "is a fusion inside a fusion"),
        ("fuse(uniform(a, b), c)", "'uniform(a, b)' is a fusion inside a fusion"),
        ("fuse(a, lora)", "'a' (bottleneck) and 'lora' (lora) are of two kinds"),
        ("fuse(a, double)", "'a' (bottleneck) and 'double' (double-bottleneck) are of two kinds"),
        ("fuse(a, stack(b, lora))", "'a' (bottleneck) and 'lora' (lora) are of two kinds"),
        ("fuse(a, ia3)", "'ia3' (ia3) cannot be fused: bottleneck modules and LoRAs can"),
        ("uniform(a, probe)", "'probe' (head) cannot be fused"),
        ("fuse(par, stack(par, par2))", "only the last one acts"),
    ],
)
def test_what_cannot_be_fused_is_refused_with_a_reason(text: str, what: str) -> None:
    methods = dict.fromkeys("abcd", "bottleneck")
    methods |= {"lora": "lora", "double": "double-bottleneck", "ia3": "ia3", "probe": "head"}
    methods |= {"par": "parallel-bottleneck", "par2": "parallel-bottleneck"}
    with pytest.raises(UserError) as raised:
        check_fusable(parse(text), methods)
    assert what in str(raised.value)


def test_what_can_be_fused() -> None:
    methods = {"a": "lora", "b": "lora-all", "c": "lora"}
    check_fusable(parse("stack(fuse(stack(a, b), c), c)"), methods)
