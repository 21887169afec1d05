"""Sentence vectors: pooling by hand, layers as `hidden_states` has them, nothing above computed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from adapter_stilts.engine.engine import Engine
from adapter_stilts.errors import UserError
from adapter_stilts.heads.embedding import POOLINGS
from adapter_stilts.inference.vectors import batch_vectors, check_choice, first_layers, pool
from made_modules import make_module, token_batch

HIDDEN = torch.tensor([[[1.0, -4.0], [3.0, 0.0], [90.0, 90.0]], [[5.0, 2.0], [7.0, 8.0], [0.0, 5]]])
MASK = torch.tensor([[1, 1, 0], [1, 1, 1]])


@pytest.mark.parametrize(
    ("pooling", "expected"),
    [
        ("mean", [[2.0, -2.0], [4.0, 5.0]]),
        ("first", [[1.0, -4.0], [5.0, 2.0]]),
        ("max", [[3.0, 0.0], [7.0, 8.0]]),
    ],
)
def test_pooling_leaves_padding_out(pooling: str, expected: list[list[float]]) -> None:
    assert pool(HIDDEN, MASK, pooling).tolist() == expected
    half = pool(HIDDEN.bfloat16(), MASK, pooling)
    assert half.dtype == torch.float32 and half.tolist() == expected


@pytest.mark.parametrize("method", ["bottleneck", "lora"])
def test_layers_are_those_of_hidden_states(method: str, engine: Engine) -> None:
    make_module(engine, "m", method, "embedding")
    assert engine.model.active_head is None
    batch = token_batch(engine, "embedding")
    with torch.inference_mode():
        states = engine.model(**batch, output_hidden_states=True).hidden_states
    assert len(states) == engine.layers + 1
    for pooling in POOLINGS:
        for layer in range(engine.layers + 1):
            expected = pool(states[layer], batch["attention_mask"], pooling)
            (found,) = batch_vectors(engine, batch, [layer], pooling, normalise=False)
            torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
    together = batch_vectors(engine, batch, range(engine.layers + 1))
    norms = together.norm(dim=-1)
    torch.testing.assert_close(norms, torch.ones_like(norms))
    (last,) = batch_vectors(engine, batch, [engine.layers])
    torch.testing.assert_close(together[-1], last, atol=1e-5, rtol=1e-4)


def test_layers_come_in_the_order_asked_for(
    tiny_xlmr: Path, engine_for: Callable[[str], Engine]
) -> None:
    engine = engine_for(str(tiny_xlmr))
    batch = token_batch(engine, "embedding")
    every = batch_vectors(engine, batch, range(4))
    torch.testing.assert_close(batch_vectors(engine, batch, [3, 0, 2]), every[[3, 0, 2]])


def test_modules_change_the_vectors(engine: Engine) -> None:
    batch = token_batch(engine, "embedding")
    plain = batch_vectors(engine, batch, range(engine.layers + 1))
    make_module(engine, "m", "bottleneck", "embedding", leave_out=[0])
    found = batch_vectors(engine, batch, range(engine.layers + 1))
    same = [bool(torch.allclose(a, b, atol=1e-5)) for a, b in zip(plain, found, strict=True)]
    assert same == [True, True] + [False] * (engine.layers - 1)


def test_nothing_above_the_highest_layer_is_computed(
    tiny_xlmr: Path, engine_for: Callable[[str], Engine]
) -> None:
    engine = engine_for(str(tiny_xlmr))
    ran: list[int] = []
    layers: Any = engine.model.base_model.encoder.layer
    hooks = [
        layer.register_forward_hook(lambda *_, number=number: ran.append(number))
        for number, layer in enumerate(layers, start=1)
    ]
    for asked, expected in (([0], []), ([2], [1, 2]), ([1, 0], [1]), ([3, 1], [1, 2, 3])):
        ran.clear()
        batch_vectors(engine, token_batch(engine, "embedding"), asked)
        assert ran == expected
    for hook in hooks:
        hook.remove()
    with pytest.raises(RuntimeError, match="boom"), first_layers(engine, 1):
        raise RuntimeError("boom")
    assert len(engine.model.base_model.encoder.layer) == 3  # whole again, whatever happened


@pytest.mark.parametrize(
    ("layer", "pooling", "line"),
    [
        (-1, "mean", "no layer -1: .* has layers 1 to 3, and 0 is the output of its embeddings"),
        (4, "mean", "no layer 4: "),
        (2, "cls", "no pooling 'cls': choose from first, max, mean"),
    ],
)
def test_what_does_not_exist(
    tiny_xlmr: Path, engine_for: Callable[[str], Engine], layer: int, pooling: str, line: str
) -> None:
    with pytest.raises(UserError, match=line):
        check_choice(engine_for(str(tiny_xlmr)), layer, pooling)


def test_e5_puts_a_translation_next_to_its_sentence(
    embedded: str, engine_for: Callable[[str], Engine]
) -> None:
    engine = engine_for(embedded)
    texts = ["The cat sleeps.", "Die Katze schläft.", "Stocks fell in Tokyo.", "東京株が下落した。"]
    encoded = engine.backbone.tokenizer(texts, padding=True, return_tensors="pt")
    batch = {key: encoded[key] for key in ("input_ids", "attention_mask")}
    (vectors,) = batch_vectors(engine, batch, [12])
    cosines = (vectors @ vectors.T).numpy() - 2 * np.eye(4)
    assert cosines.argmax(1).tolist() == [1, 0, 3, 2]
