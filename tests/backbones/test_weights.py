"""The headers of safetensors files, and whether weights are those of the configuration."""

from __future__ import annotations

import json
import random
import shutil
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertForMaskedLM, XLMRobertaForMaskedLM, XLMRobertaModel

from adapter_stilts.backbones import find_backbone, fingerprint
from adapter_stilts.backbones.weights import WEIGHTS, read_header
from adapter_stilts.errors import RefusedError, UserError
from made_modules import make_engine

LAYER = "encoder.layer.2.attention.self.key.weight"
WORDS = "embeddings.word_embeddings.weight"


@pytest.fixture
def copy(tiny_xlmr: Path, tmp_path: Path) -> Path:
    """The tiny XLM-R, to be spoilt."""
    return Path(shutil.copytree(tiny_xlmr, tmp_path / "copy"))


@pytest.fixture
def sharded(tiny_xlmr: Path, copy: Path) -> Path:
    """The same in several files."""
    (copy / WEIGHTS).unlink()
    XLMRobertaModel.from_pretrained(tiny_xlmr).save_pretrained(copy, max_shard_size="60KB")
    return copy


@pytest.fixture(autouse=True)
def nothing_is_built(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is refused is refused before a model is there."""
    if "accepted" not in request.node.name:
        monkeypatch.setattr("adapter_stilts.engine.engine._class_of", _must_not)


def _must_not(model_type: str) -> Any:
    raise AssertionError(f"{model_type} is built")


def refusal(folder: Path) -> str:
    """The one line."""
    with pytest.raises(RefusedError) as caught:
        find_backbone(str(folder)).weights()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def change(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def rewrite(folder: Path, **changes: torch.Tensor | None) -> None:
    """Writes other tensors (None: leaves them out); names have `__` for dots."""
    tensors: dict[str, Any] = load_file(folder / WEIGHTS)
    tensors |= {name.replace("__", "."): tensor for name, tensor in changes.items()}
    kept = {name: tensor for name, tensor in tensors.items() if tensor is not None}
    save_file(kept, folder / WEIGHTS, metadata={"format": "pt"})


# Configuration and weights


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("num_hidden_layers", 2),
        ("num_hidden_layers", 4),
        ("num_hidden_layers", 256),
        ("hidden_size", 64),
        ("hidden_size", 1 << 15),
        ("vocab_size", 801),
        ("vocab_size", 1 << 23),
        ("intermediate_size", 128),
        ("max_position_embeddings", 514),
        ("type_vocab_size", 2),
    ],
)
def test_configuration_of_another_model(copy: Path, key: str, value: int) -> None:
    change(copy, **{key: value})
    assert f"'{key}' is {value}" in refusal(copy)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({LAYER: None}, f"lack '{LAYER}'"),
        ({"embeddings.LayerNorm.bias": None}, "lack 'embeddings.LayerNorm.bias'"),
        ({LAYER: torch.zeros(32, 31)}, "32 x 31, not 32 x 32"),
        ({LAYER: torch.zeros(32)}, "has the shape 32, not"),
        ({LAYER: torch.zeros(32, 32, dtype=torch.int32)}, "is of type I32"),
        ({LAYER: torch.zeros(32, 32, dtype=torch.bool)}, "is of type BOOL"),
        ({LAYER: torch.zeros(32, 32, dtype=torch.complex64)}, "is of type C64"),
        ({LAYER: torch.full((32, 32), float("nan"))}, "not finite"),
        ({LAYER: torch.full((32, 32), float("-inf"))}, "not finite"),
        ({"encoder.layer.7.output.dense.bias": torch.zeros(32)}, "no layer 3, but layer 7"),
        ({"encoder.layer.3.x": torch.zeros(1)}, "have 4"),
        (
            {"encoder.layer.1.adapter.x": torch.zeros(1)},
            "'encoder.layer.1.adapter.x', which has no",
        ),
        ({"pooler.dense.weight": torch.zeros(2, 2)}, "'pooler.dense.weight' has the shape"),
        ({"embeddings.LayerNorm.gamma": torch.zeros(32)}, "hold both"),
        ({"something": torch.zeros(1)}, "'something', which has no place"),
    ],
)
def test_weights_of_another_model(
    copy: Path, changes: Mapping[str, torch.Tensor | None], words: str
) -> None:
    rewrite(copy, **{name.replace(".", "__"): tensor for name, tensor in changes.items()})
    assert words in refusal(copy)


@pytest.mark.parametrize("kind", ["bf16", "fp16", "fp64", "no pooler", "ids", "gamma", "whole"])
def test_accepted_forms_of_the_same_weights(tiny_xlmr: Path, copy: Path, kind: str) -> None:
    expected = load_file(tiny_xlmr / WEIGHTS)
    given = dict(expected)
    if kind in ("bf16", "fp16", "fp64"):
        dtype = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp64": torch.float64}[kind]
        given = {name: tensor.to(dtype) for name, tensor in expected.items()}
        expected = {name: tensor.float() for name, tensor in given.items()}
    elif kind == "no pooler":
        given = {name: tensor for name, tensor in given.items() if not name.startswith("pooler")}
    elif kind == "ids":
        given["embeddings.position_ids"] = torch.arange(130)[None]
    elif kind == "gamma":
        given = {
            name.replace("LayerNorm.weight", "LayerNorm.gamma"): tensor
            for name, tensor in given.items()
        }
    else:
        model = XLMRobertaForMaskedLM.from_pretrained(tiny_xlmr)
        model.roberta.load_state_dict(expected, strict=False)
        model.save_pretrained(copy)
        given = load_file(copy / WEIGHTS)
        assert any(name.startswith("lm_head.") for name in given)
    save_file(given, copy / WEIGHTS, metadata={"format": "pt"})
    found = dict(make_engine(str(copy)).model.base_model.state_dict())
    for name, tensor in expected.items():
        if not name.startswith("pooler."):
            assert torch.equal(found[name], tensor), name


def test_accepted_bert(tmp_path: Path, tiny_xlmr: Path) -> None:
    shutil.copytree(tiny_xlmr, tmp_path / "bert")
    small = BertConfig(
        vocab_size=800,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=48,
        max_position_embeddings=64,
    )
    model = BertForMaskedLM(small)
    model.save_pretrained(tmp_path / "bert")
    engine = make_engine(str(tmp_path / "bert"))
    assert engine.fingerprint == fingerprint(model.bert.state_dict())
    assert engine.model.config._attn_implementation == "sdpa"


def test_an_adapter_in_the_folder_does_not_lead_elsewhere_accepted(
    tiny_xlmr: Path, copy: Path
) -> None:
    """transformers would load the model that `adapter_config.json` names in its place."""
    (copy / "adapter_config.json").write_text('{"base_model_name_or_path": "someone/else"}')
    (copy / "generation_config.json").write_text("{")
    assert make_engine(str(copy)).fingerprint == make_engine(str(tiny_xlmr)).fingerprint


# Shards


def test_accepted_shards(sharded: Path, tiny_xlmr: Path) -> None:
    assert make_engine(str(sharded)).fingerprint == make_engine(str(tiny_xlmr)).fingerprint


@pytest.mark.parametrize(
    "name", ["../model.safetensors", "/etc/passwd", "weights.bin", "a/b.safetensors", 3, None]
)
def test_index_that_names_other_files(sharded: Path, name: Any) -> None:
    path = sharded / "model.safetensors.index.json"
    about = json.loads(path.read_text())
    about["weight_map"][LAYER] = name
    path.write_text(json.dumps(about))
    assert "is no safetensors file beside it" in refusal(sharded)


@pytest.mark.parametrize("text", ["{", "[]", '{"weight_map": []}', '{"weight_map": {}}'])
def test_index_that_is_none(sharded: Path, text: str) -> None:
    (sharded / "model.safetensors.index.json").write_text(text)
    assert "model.safetensors.index.json" in refusal(sharded)


def test_shards_that_are_not_as_the_index_says(sharded: Path) -> None:
    path = sharded / "model.safetensors.index.json"
    about = json.loads(path.read_text())
    names = sorted(set(about["weight_map"].values()))
    place = about["weight_map"][LAYER]
    other = next(name for name in names if name != place)
    path.write_text(json.dumps({"weight_map": {**about["weight_map"], LAYER: other}}))
    assert f"'{LAYER}' is not there by" in refusal(sharded)
    path.write_text(json.dumps({"weight_map": {**about["weight_map"], "x": other}}))
    assert "lacks 'x', which" in refusal(sharded)
    path.write_text(json.dumps(about))
    (sharded / place).unlink()
    assert f"{place} is missing" in refusal(sharded)


def test_shard_of_another_width(sharded: Path) -> None:
    about = json.loads((sharded / "model.safetensors.index.json").read_text())
    path = sharded / about["weight_map"][LAYER]
    save_file({**load_file(path), LAYER: torch.zeros(64, 64)}, path)
    assert f"'{LAYER}' has the shape 64 x 64" in refusal(sharded)


# Headers


def written(path: Path, header: bytes, body: bytes = b"", length: int | None = None) -> Path:
    path.write_bytes(struct.pack("<Q", len(header) if length is None else length) + header + body)
    return path


def entry(dtype: Any = "F32", shape: Any = (1,), place: Any = (0, 4)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(place)}


@pytest.mark.parametrize(
    ("header", "body"),
    [
        (b"", b""),
        (b"[]", b""),
        (b"{", b""),
        (b"\xff\xfe", b""),
        (b"[" * 200_000, b""),
        (b'{"a": 1}', b""),
        (b'{"a": ' + json.dumps(entry()).encode() + b', "a": {}}', b"1234"),
        (json.dumps({"a": entry()}).encode(), b""),
        (json.dumps({"a": entry()}).encode(), b"12345678"),
        (json.dumps({"a": entry(shape=[2])}).encode(), b"1234"),
        (json.dumps({"a": entry(shape=[-1])}).encode(), b"1234"),
        (json.dumps({"a": entry(shape=[True])}).encode(), b"1234"),
        (json.dumps({"a": entry(shape=[1.0])}).encode(), b"1234"),
        (json.dumps({"a": entry(shape=[1] * 9)}).encode(), b"1234"),
        (json.dumps({"a": entry(shape=[10**30, 0])}).encode(), b"1234"),
        (json.dumps({"a": entry("F33")}).encode(), b"1234"),
        (json.dumps({"a": entry(["F32"])}).encode(), b"1234"),
        (json.dumps({"a": entry(place=[4, 8])}).encode(), b"12345678"),
        (json.dumps({"a": entry(place=[4, 0])}).encode(), b"1234"),
        (json.dumps({"a": entry(), "b": entry()}).encode(), b"1234"),
        (json.dumps({"a": {**entry(), "more": 1}}).encode(), b"1234"),
    ],
)
def test_malformed_headers(tmp_path: Path, header: bytes, body: bytes) -> None:
    path = written(tmp_path / "x.safetensors", header, body)
    with pytest.raises(UserError, match=r"x\.safetensors: damaged, or no safetensors") as caught:
        read_header(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("length", [0, 1, 7, 1 << 30, 1 << 62, (1 << 64) - 1])
def test_promised_length(tmp_path: Path, length: int) -> None:
    path = written(tmp_path / "x.safetensors", b"{}", length=length)
    with pytest.raises(UserError, match="damaged"):
        read_header(path)


def test_long_header_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    with path.open("wb") as file:
        file.write(struct.pack("<Q", 50 << 20))
        file.truncate((50 << 20) + 8)
    with pytest.raises(UserError, match="is the limit"):
        read_header(path)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "x.safetensors")
    with pytest.raises(UserError, match="not a file"):
        read_header(tmp_path / "x.safetensors")


def test_what_the_library_says_of_a_file(tiny_xlmr: Path) -> None:
    found = read_header(tiny_xlmr / WEIGHTS)
    expected = load_file(tiny_xlmr / WEIGHTS)
    assert {name: tensor.shape for name, tensor in found.items()} == {
        name: tuple(tensor.shape) for name, tensor in expected.items()
    }
    assert {tensor.dtype for tensor in found.values()} == {"F32"}


@pytest.mark.parametrize("seed", range(4))
def test_mutated_headers_end_in_one_line(copy: Path, seed: int) -> None:
    """Of 200 changed bytes each: the weights are read, or one line says what is wrong."""
    path, chance = copy / WEIGHTS, random.Random(seed)
    good = path.read_bytes()
    length = 8 + struct.unpack("<Q", good[:8])[0]
    backbone, refused = find_backbone(str(copy)), 0
    for _ in range(200):
        at = chance.randrange(length)
        path.write_bytes(good[:at] + bytes([chance.randrange(256)]) + good[at + 1 :])
        try:
            assert WORDS in backbone.weights()
        except RefusedError as error:
            refused += 1
            assert "\n" not in str(error)
    assert refused > 150
