"""Modules of every method and learnt fusions share a batch, and say what they say alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from adapters.composition import Fuse

from adapter_stilts.engine.engine import Engine, activate_block, module_parameters
from adapter_stilts.engine.fusing import FusionShape, add_fusion
from adapter_stilts.engine.methods import METHODS
from adapter_stilts.zoo.together import Part, can_mix, mix_hidden
from made_modules import MODULE_METHODS, make_engine, make_module, token_batch

INSIDE = [name for name in MODULE_METHODS if name != "head" and not METHODS[name].invertible]
SOURCES = {"bottleneck": ("bottleneck", "second"), "lora": ("lora", "second-lora")}
FUSIONS = [
    *(("bottleneck", f"fusion-{kind}") for kind in ("full", "lean", "shared", "uniform")),
    ("lora", "fusion-lean"),
]


@pytest.fixture(scope="module")
def engine(tiny_xlmr: Path) -> Engine:
    """Has a module of every method, and fusions, all far from where they begin."""
    made = make_engine(str(tiny_xlmr))
    for number, method in enumerate(INSIDE):
        make_module(made, method, method, "embedding", seed=number)
    make_module(made, "second", "bottleneck", "embedding", seed=50)
    make_module(made, "second-lora", "lora", "embedding", seed=51)
    generator = torch.Generator().manual_seed(5)
    for family, method in FUSIONS:
        name = f"{method}-of-{family}"
        add_fusion(made, name, SOURCES[family], FusionShape.of(method))
        with torch.no_grad():
            for parameter in module_parameters(made, name).values():
                parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=1.0)
    made.model.eval()
    return made


def test_each_row_meets_its_own_module_only(engine: Engine) -> None:
    assert all(can_mix(engine, [name]) for name in INSIDE)
    blocks: dict[str, Any] = {name: name for name in INSIDE}
    for family, method in FUSIONS:
        name = f"{method}-of-{family}"
        assert can_mix(engine, [name, *SOURCES[family]])
        blocks[name] = Fuse(*SOURCES[family], name=name)
    batch = token_batch(engine, "span")
    row = {key: value[1:2] for key, value in batch.items()}
    parts = [Part(None, 1), *(Part(block, 1) for block in blocks.values())]
    rows = {key: value.repeat(len(parts), 1) for key, value in row.items()}
    found = mix_hidden(engine, rows, parts).last_hidden_state
    kept = row["attention_mask"][0].bool()
    alone = []
    for part in parts:
        activate_block(engine, part.block, "")
        with torch.inference_mode():
            alone.append(engine.model.base_model(**row).last_hidden_state[0])
    differing = [
        name
        for name, one, other in zip(["none", *blocks], found, alone, strict=True)
        if not torch.allclose(one[kept], other[kept], atol=1e-4, rtol=1e-4)
    ]
    assert differing == []
    flat = torch.stack([each[kept].flatten() for each in alone])
    apart = torch.cdist(flat, flat) + 1e6 * torch.eye(len(flat))
    assert apart.min() > 1e-2  # no two of them say the same
