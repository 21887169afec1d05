"""What is written opens without this package, in plain `adapters` and `peft`: equal logits."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from adapter_stilts.backbones import find_backbone
from adapter_stilts.engine.engine import Engine, forward
from adapter_stilts.engine.native import (
    has_peft_format,
    head_labels,
    load_native,
    save_native,
    save_peft,
)
from adapter_stilts.errors import UserError
from adapter_stilts.heads import get_head
from adapter_stilts.tasks.spec import HeadKind
from made_modules import (
    LABELS,
    MODULE_METHODS,
    logits_of,
    make_module,
    remove_module,
    token_batch,
)

HEADS: tuple[HeadKind, ...] = ("classification", "choice", "span", "tagging", "embedding")
EVERY_METHOD: list[tuple[str, HeadKind]] = [(method, "classification") for method in MODULE_METHODS]
EVERY_HEAD: list[tuple[str, HeadKind]] = [("bottleneck", head) for head in HEADS[1:]]
LORAS = [(method, head) for method in ("lora", "lora-all") for head in HEADS]


def equal(found: torch.Tensor, expected: torch.Tensor) -> bool:
    """Within 1e-5, relative where logits are large: the order of added differs."""
    return torch.allclose(found, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(("method", "head"), EVERY_METHOD + EVERY_HEAD)
def test_native_loads_with_plain_adapters(
    method: str,
    head: HeadKind,
    backbone: str,
    engine: Engine,
    plain_for: Callable[[str], Any],
    tmp_path: Path,
) -> None:
    batch = token_batch(engine, head)
    make_module(engine, "m", method, head)
    expected = logits_of(forward(engine, batch), batch)
    save_native(engine, "m", tmp_path)
    assert not list(tmp_path.glob("*.bin"))

    plain = plain_for(backbone)
    name = plain.load_adapter(str(tmp_path), use_safetensors=True, set_active=True)
    with torch.inference_mode():
        found = logits_of(plain(**batch), batch)
    plain.delete_adapter(name)
    assert (name in plain.heads) == (head != "embedding")
    if name in plain.heads:
        plain.delete_head(name)
    assert equal(found, expected)

    remove_module(engine, "m")
    load_native(engine, tmp_path, "again", head=head != "embedding")
    assert equal(logits_of(forward(engine, batch), batch), expected)
    assert not LABELS[head] or head_labels(engine, "again") == LABELS[head]
    assert not any(parameter.requires_grad for parameter in engine.model.parameters())


@pytest.mark.parametrize(("method", "head"), LORAS)
def test_lora_loads_with_plain_peft(
    method: str, head: HeadKind, engine: Engine, tmp_path: Path
) -> None:
    batch = token_batch(engine, head)
    make_module(engine, "m", method, head)
    expected = logits_of(forward(engine, batch), batch)
    save_peft(engine, "m", head, tmp_path)
    assert equal(in_peft(engine, head, tmp_path, batch), expected)


@pytest.mark.parametrize("head", HEADS)
def test_lora_with_layers_left_out_loads_with_plain_peft(
    head: HeadKind, engine: Engine, tmp_path: Path
) -> None:
    left_out = [0, engine.layers - 1]
    batch = token_batch(engine, head)
    make_module(engine, "m", "lora-all", head, leave_out=left_out)
    expected = logits_of(forward(engine, batch), batch)
    save_peft(engine, "m", head, tmp_path)
    with safe_open(tmp_path / "adapter_model.safetensors", framework="pt") as file:
        keys = list(file.keys())
    assert not [key for key in keys if any(f".layer.{layer}." in key for layer in left_out)]
    assert equal(in_peft(engine, head, tmp_path, batch), expected)


def in_peft(
    engine: Engine, head: HeadKind, folder: Path, batch: dict[str, torch.Tensor]
) -> torch.Tensor:
    """The logits that transformers and peft give, as the card says to load them."""
    import transformers
    from peft import PeftModel

    labels = {"num_labels": len(LABELS[head])} if LABELS[head] else {}
    auto = getattr(transformers, get_head(head).auto_class)
    base = auto.from_pretrained(str(engine.backbone.path), **labels)
    model = PeftModel.from_pretrained(base, str(folder)).eval()
    with safe_open(folder / "adapter_model.safetensors", framework="pt") as file:
        saved = set(file.keys())
    own = {key.replace(".default", "") for key in model.state_dict() if ".default" in key}
    own = {key.replace(".modules_to_save", "") for key in own}
    assert saved == own  # nothing is left as it was initialised, nothing is ignored
    with torch.inference_mode():
        return logits_of(model(**batch), batch)


def test_peft_formats() -> None:
    assert has_peft_format("bert")
    assert has_peft_format("xlm-roberta")
    assert not has_peft_format("t5")


PLAIN_SCRIPT = """
import json, sys, torch
from adapters import AutoAdapterModel
backbone, module, ids, mask = json.load(sys.stdin)
model = AutoAdapterModel.from_pretrained(backbone).eval()
model.load_adapter(module, use_safetensors=True, set_active=True)
with torch.inference_mode():
    logits = model(input_ids=torch.tensor(ids), attention_mask=torch.tensor(mask)).logits
assert "adapter_stilts" not in sys.modules
print(json.dumps(logits.tolist()))
"""


def test_native_loads_in_a_process_without_this_package(
    tiny_xlmr: Path, engine_for: Callable[[str], Engine], tmp_path: Path
) -> None:
    engine = engine_for(str(tiny_xlmr))
    batch = token_batch(engine, "classification")
    make_module(engine, "m", "bottleneck", "classification")
    expected = forward(engine, batch).logits
    save_native(engine, "m", tmp_path / "module")
    remove_module(engine, "m")
    said = [str(tiny_xlmr), str(tmp_path / "module"), *(part.tolist() for part in batch.values())]
    done = subprocess.run(
        [sys.executable, "-c", PLAIN_SCRIPT],
        input=json.dumps(said),
        env=dict(os.environ),
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert equal(torch.tensor(json.loads(done.stdout)), expected)


def test_weights_of_another_shape_are_refused_in_one_line(
    tiny_xlmr: Path, engine_for: Callable[[str], Engine], tmp_path: Path
) -> None:
    engine = engine_for(str(tiny_xlmr))
    make_module(engine, "m", "bottleneck", "span")
    save_native(engine, "m", tmp_path)
    remove_module(engine, "m")
    path = tmp_path / "adapter.safetensors"
    weights = load_file(path)
    key = next(key for key in weights if key.endswith("adapter_down.0.weight"))
    save_file({**weights, key: torch.zeros(1, 1)}, path)
    with pytest.raises(UserError, match="the weights do not fit backbone") as caught:
        load_native(engine, tmp_path, "n")
    assert "\n" not in str(caught.value)
    assert not engine.modules


def test_lacking_weights_are_refused(
    tiny_xlmr: Path, engine_for: Callable[[str], Engine], tmp_path: Path
) -> None:
    engine = engine_for(str(tiny_xlmr))
    make_module(engine, "m", "bottleneck", "span")
    save_native(engine, "m", tmp_path)
    remove_module(engine, "m")
    path = tmp_path / "adapter.safetensors"
    weights = load_file(path)
    key = next(iter(weights))
    del weights[key]
    save_file(weights, path)
    with pytest.raises(UserError, match=f"weights lack .*{key.split('.')[-1]}"):
        load_native(engine, tmp_path, "n")
    assert not engine.modules


def test_a_name_that_begins_like_another_ones(engine: Engine, tmp_path: Path) -> None:
    """`adapters` takes all heads whose names begin with a module's for its own."""
    batch = token_batch(engine, "span")
    make_module(engine, "squad-v2", "bottleneck", "span", seed=1)
    make_module(engine, "squad", "bottleneck", "span", seed=2)
    expected = logits_of(forward(engine, batch), batch)
    save_native(engine, "squad", tmp_path / "squad")
    assert {key.split(".")[1] for key in load_file(tmp_path / "squad/model_head.safetensors")} == {
        "squad"
    }
    remove_module(engine, "squad")
    load_native(engine, tmp_path / "squad", "squad")
    assert torch.equal(logits_of(forward(engine, batch), batch), expected)


def test_find_backbone_is_what_the_engine_has(backbone: str, engine: Engine) -> None:
    assert engine.backbone.path == find_backbone(backbone).path
