"""The engine: what is frozen, what is trained, what is refused."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import modeling_utils

from adapter_stilts.engine.engine import (
    Engine,
    add_head,
    add_module,
    forward,
    layer_of,
    load_engine,
    module_parameters,
)
from adapter_stilts.engine.methods import MethodOptions, get_method
from adapter_stilts.errors import UserError
from made_modules import (
    LABELS,
    MODULE_METHODS,
    make_engine,
    make_module,
    token_batch,
)

EMPTY = "init_empty_weights"
WORDS = "embeddings.word_embeddings.weight"


@pytest.mark.parametrize("method", MODULE_METHODS)
def test_only_module_and_head_change_in_training(
    method: str, backbone: str, engine: Engine, plain_for: Callable[[str], Any]
) -> None:
    add_module(
        engine,
        "m",
        get_method(method),
        MethodOptions(),
        head="classification",
        labels=LABELS["classification"],
    )
    model = engine.model
    trunk = dict(plain_for(backbone).base_model.named_parameters())
    mine = module_parameters(engine, "m")
    assert any(key.startswith("heads.m.") for key in mine)
    assert any(not key.startswith("heads.m.") for key in mine) == (method != "head")
    assert all(p.requires_grad and p.dtype == torch.float32 for p in mine.values())
    before = {key: value.detach().clone() for key, value in mine.items()}

    batch = token_batch(engine, "classification")
    model.train()
    optimizer = torch.optim.AdamW(mine.values(), lr=1e-2)
    for _ in range(2):
        output = model(**batch, labels=torch.tensor([0, 1, 2, 0]))
        output.loss.backward()
        assert all((p.grad is not None) == (n in mine) for n, p in model.named_parameters())
        optimizer.step()
        optimizer.zero_grad()
    model.eval()

    words = model.base_model.get_input_embeddings().weight  # on disk, so no parameter
    now = {WORDS: words, **dict(model.base_model.named_parameters())}
    assert all(not now[key].requires_grad for key in trunk)
    assert all(torch.equal(now[key], trunk[key]) for key in trunk)
    moved = [key for key, value in mine.items() if not torch.equal(value, before[key])]
    assert len(moved) > 0.7 * len(mine)  # a unit of ReLU may be dead in so small a bottleneck


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_no_dropout_in_the_trunk_and_float32_modules(tiny_xlmr: Path, precision: str) -> None:
    engine = make_engine(str(tiny_xlmr), precision)
    trunk = [m for m in engine.model.base_model.modules() if isinstance(m, torch.nn.Dropout)]
    assert trunk
    assert all(m.p == 0 for m in trunk)
    make_module(engine, "m", "lora", "tagging")
    wanted = torch.bfloat16 if precision == "bf16" else torch.float32
    mine = module_parameters(engine, "m")
    for key, parameter in engine.model.named_parameters():
        assert parameter.dtype == (torch.float32 if key in mine else wanted), key
    logits = forward(engine, token_batch(engine, "tagging")).logits
    assert torch.isfinite(logits).all()


def test_training_is_deterministic_in_train_mode_without_dropout(tiny_xlmr: Path) -> None:
    engine = make_engine(str(tiny_xlmr))
    make_module(engine, "m", "bottleneck", "classification")
    engine.model.train()
    batch = token_batch(engine, "classification")
    assert torch.equal(forward(engine, batch).logits, forward(engine, batch).logits)


def test_trunk_dropout_and_head_dropout_on_demand(tiny_xlmr: Path) -> None:
    backbone = make_engine(str(tiny_xlmr)).backbone
    engine = load_engine(backbone, precision="fp32", device=torch.device("cpu"), trunk_dropout=True)
    trunk = [m.p for m in engine.model.base_model.modules() if isinstance(m, torch.nn.Dropout)]
    assert max(trunk) == 0.1
    add_head(engine, "m", "classification", labels=["a", "b"], dropout=0.3)
    head = [m.p for m in engine.model.heads["m"].modules() if isinstance(m, torch.nn.Dropout)]
    assert head
    assert set(head) == {0.3}


def test_heads_stay_in_their_own_model(tiny_xlmr: Path) -> None:
    first = make_engine(str(tiny_xlmr))
    make_module(first, "m", "bottleneck", "classification")
    # The same backbone object: its configuration is shared unless it is copied.
    second = load_engine(first.backbone, precision="fp32", device=torch.device("cpu"))
    assert "m" in first.model.config.prediction_heads
    assert not getattr(second.model.config, "prediction_heads", {})
    assert not second.model.heads
    assert not second.model.adapters_config.adapters


@pytest.mark.parametrize("layer", [-1, 3])
def test_leaving_out_a_layer_that_is_not_there(tiny_xlmr: Path, layer: int) -> None:
    engine = make_engine(str(tiny_xlmr))
    with pytest.raises(UserError, match=rf"cannot leave out layer {layer}.*layers 0 to 2"):
        make_module(engine, "m", "bottleneck", "span", leave_out=[0, layer])
    assert not engine.modules


@pytest.mark.parametrize("method", MODULE_METHODS)
def test_left_out_layers_have_no_module(tiny_xlmr: Path, method: str) -> None:
    engine = make_engine(str(tiny_xlmr))
    make_module(engine, "m", method, "span", leave_out=[0, 2])
    layers = {layer_of(key) for key in module_parameters(engine, "m")}
    assert layers == ({None} if method == "head" else {1, None})  # None: the head


def test_unknown_method_suggests_a_near_one() -> None:
    assert get_method("Double_Bottleneck").name == "double-bottleneck"
    with pytest.raises(UserError, match="no method 'bottelneck': did you mean 'bottleneck'"):
        get_method("bottelneck")


def test_threads_that_load_at_once_do_not_spoil_each_other(
    tiny_xlmr: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """transformers lets no parameter of any thread have values while it loads a model."""
    began = threading.Event()
    plain: Callable[[], AbstractContextManager[None]] = vars(modeling_utils)[EMPTY]

    @contextmanager
    def slow() -> Iterator[None]:
        with plain():
            began.set()
            time.sleep(0.3)  # as a large model takes
            yield

    monkeypatch.setattr(modeling_utils, EMPTY, slow)
    engine = make_engine(str(tiny_xlmr))
    began.clear()
    with ThreadPoolExecutor(2) as pool:
        other = pool.submit(make_engine, str(tiny_xlmr))
        assert began.wait(60)
        make_module(engine, "one", "bottleneck", "span")
        loaded = other.result()
    for made in (engine, loaded):
        assert not any(each.is_meta for each in made.model.parameters())
    assert all(each.any() for each in module_parameters(engine, "one").values())
