"""Arrow: the same logits as peft's own, and what it chooses among."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModel

from adapter_stilts.engine.composition import Call, Expression, parse
from adapter_stilts.engine.engine import Engine, activate_block, block_of, forward
from adapter_stilts.engine.fusing import FusionShape, add_fusion, add_unlearnt
from adapter_stilts.engine.fusion_forward import Attended, prototype, route, watching
from adapter_stilts.engine.methods import check_fusable
from adapter_stilts.engine.native import save_peft
from adapter_stilts.errors import UserError
from made_modules import make_engine, make_module, token_batch

NAMES = "abcd"


def _engine(backbone: str, method: str) -> Engine:
    engine: Engine = make_engine(backbone)
    for seed, name in enumerate(NAMES):
        make_module(engine, name, method, "embedding", seed=seed)
    return engine


def _sharpen(engine: Engine) -> None:
    """Gives every LoRA one direction that it changes far more than others, all of them equally.

    peft's power iteration then arrives, whatever it begins with.
    """
    with torch.no_grad():
        for key, parameter in engine.model.named_parameters():
            if key.endswith("lora_B"):
                parameter[:, 1:] *= 0.05
            elif key.endswith("lora_A"):
                parameter *= 8


def _hidden(engine: Engine, expression: Expression) -> torch.Tensor:
    batch = token_batch(engine, "embedding")
    activate_block(engine, block_of(expression), "")
    found: torch.Tensor = forward(engine, batch).last_hidden_state
    return found * batch["attention_mask"][..., None]


def _arrow(engine: Engine, text: str) -> Expression:
    call = parse(text)
    assert isinstance(call, Call)
    for each in (call, *call.parts):
        if isinstance(each, Call) and each.operator == "arrow":
            add_unlearnt(engine, each)
    return call


def test_the_same_as_pefts(tiny_backbone: str, tmp_path: Path) -> None:
    """Of method lora: peft routes in all layers of one last name, and fails where some have none.

    Those of lora-all are called `dense`, like the pooler.
    """
    from peft import ArrowConfig
    from peft.tuners.lora import create_arrow_model

    engine = _engine(tiny_backbone, "lora")
    _sharpen(engine)
    for name in NAMES:
        save_peft(engine, name, "embedding", tmp_path / name)
    ours = _hidden(engine, _arrow(engine, f"arrow({', '.join(NAMES)})"))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        base = AutoModel.from_pretrained(tiny_backbone)
        folders = [str(tmp_path / name) for name in NAMES]
        model = create_arrow_model(base, folders, ArrowConfig(rng_seed=3)).eval()
    batch = token_batch(engine, "embedding")
    with torch.inference_mode():
        theirs = model(**batch).last_hidden_state * batch["attention_mask"][..., None]
    assert torch.allclose(ours, theirs, atol=1e-4, rtol=1e-3)
    plain, mean = _hidden(engine, "a"), _uniform(engine)
    assert (ours - plain).abs().max() > 0.05 and (ours - mean).abs().max() > 0.05


def _uniform(engine: Engine) -> torch.Tensor:
    call = parse(f"uniform({', '.join(NAMES)})")
    assert isinstance(call, Call)
    add_unlearnt(engine, call)
    return _hidden(engine, call)


def test_a_prototype_is_the_first_right_singular_vector() -> None:
    chance = np.random.default_rng(0)
    for rank in (1, 4, 8):
        down, up = chance.normal(size=(rank, 20)), chance.normal(size=(30, rank))
        found = prototype(torch.tensor(down), torch.tensor(up)).numpy()
        expected = np.linalg.svd(up @ down)[2][0]
        assert abs(found @ expected) == pytest.approx(1, abs=1e-9)
        assert np.linalg.norm(found) == pytest.approx(1)
    assert not prototype(torch.tensor(down), torch.zeros(30, 8).double()).any()


def test_a_token_is_routed_to_what_it_resembles() -> None:
    prototypes = torch.eye(4)
    x = torch.tensor([[0.0, -9.0, 1.0, 2.0], [5.0, 5.0, 0.0, 0.0]])
    weights = route(x, prototypes, top=2)
    expected = torch.tensor([[0, np.exp(9), 0, np.exp(2)], [1, 1, 0, 0]], dtype=torch.float32)
    assert torch.allclose(weights, expected / expected.sum(-1, keepdim=True))
    assert torch.allclose(route(-x, prototypes), route(x, prototypes))
    flat = route(x, prototypes, top=9, temperature=1e6)
    assert torch.allclose(flat, torch.full((2, 4), 0.25), atol=1e-4)


def test_of_a_stack_the_sum_counts(tiny_backbone: str) -> None:
    """A source of two LoRAs is one update: the same as the one LoRA that holds both."""
    engine = _engine(tiny_backbone, "lora")
    halves = _hidden(engine, _arrow(engine, "arrow(stack(a, b), c)"))
    with torch.no_grad():
        for layer in engine.model.modules():
            if hasattr(layer, "loras") and "a" in layer.loras:
                a, b = layer.loras["a"], layer.loras["b"]
                a.lora_A.data = torch.cat([a.lora_A, b.lora_A])
                a.lora_B.data = torch.cat([a.lora_B, b.lora_B], 1)
    assert torch.allclose(_hidden(engine, _arrow(engine, "arrow(a, c)")), halves, atol=1e-4)


def test_changed_loras_are_noticed(tiny_backbone: str) -> None:
    engine = _engine(tiny_backbone, "lora")
    call = _arrow(engine, "arrow(a, b)")
    seen: list[Attended] = []
    with watching(seen.append):
        before = _hidden(engine, call)
        assert torch.equal(_hidden(engine, call), before)
        with torch.no_grad():
            for key, parameter in engine.model.named_parameters():
                if ".a.lora_A" in key:
                    parameter.copy_(parameter.flip(1))
        _hidden(engine, call)
    first, _, after = (each.weights for each in seen[:: len(seen) // 3])
    assert (first - after).abs().max() > 0.05
    assert all(torch.allclose(told.weights.sum(-1), torch.ones(()), atol=1e-5) for told in seen)


def test_below_a_target_and_with_a_head_of_its_own(tiny_backbone: str) -> None:
    engine = _engine(tiny_backbone, "lora")
    arrow = _arrow(engine, "arrow(a, b, c)")
    above = _hidden(engine, Call("stack", (arrow, "d")))
    assert not torch.allclose(above, _hidden(engine, arrow), atol=1e-3)
    add_fusion(engine, "f", ("a", "b", "c"), FusionShape.of("fusion-arrow"), head="span")
    assert all(key.startswith("heads.f.") for key in engine.modules["f"])
    engine.model.eval()
    batch = token_batch(engine, "span")
    activate_block(engine, block_of(Call("fuse", ("a", "b", "c"), "f")), "f")
    logits = forward(engine, batch)
    stacked = torch.stack([logits.start_logits, logits.end_logits], -1)
    head = engine.model.heads["f"]
    activate_block(engine, block_of(arrow), "")
    hidden = forward(engine, batch).last_hidden_state
    with torch.inference_mode():
        assert torch.allclose(head[1](hidden), stacked, atol=1e-4)


@pytest.mark.parametrize("text", ["arrow(a, bottle)", "arrow(bottle, bottle2)", "arrow(a, ia3)"])
def test_only_loras_are_chosen_among(text: str) -> None:
    methods = {"a": "lora", "bottle": "bottleneck", "bottle2": "bottleneck", "ia3": "ia3"}
    with pytest.raises(UserError, match=r"bottle|ia3"):
        check_fusable(parse(text), methods)
