"""Modules exported for others' zoos, and what is stored in half precision."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from adapters import AutoAdapterModel
from huggingface_hub.repocard import metadata_load
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification

from adapter_stilts.engine.engine import Engine, forward, module_parameters
from adapter_stilts.errors import UserError
from adapter_stilts.zoo.card import zoo_readme
from adapter_stilts.zoo.local import load_composition, load_module
from adapter_stilts.zoo.push import export
from adapter_stilts.zoo.record import RECORD, ModuleRecord
from adapter_stilts.zoo.verify import verify
from fusion_kit import fill_zoo, save_fused
from made_modules import logits_of, make_engine, token_batch

HUB = "someone/tiny-xlmr"
NEAR: dict[str, Any] = {"atol": 0.02, "rtol": 0.01}


def weights(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.safetensors"))


def run_with(engine: Engine, name: str) -> torch.Tensor:
    batch = token_batch(engine, "classification")
    with torch.inference_mode():
        return logits_of(forward(engine, batch), batch)


@pytest.fixture(scope="module")
def halved(saved: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The saved LoRA as others get it, in half precision."""
    out = tmp_path_factory.mktemp("zoo") / "tiny" / "mnli-lora"
    return export(saved, out, library="module", half=True, backbone=HUB)


def test_it_takes_half_the_room(saved: Path, halved: Path) -> None:
    before, after = weights(saved), weights(halved)
    assert len(before) == len(after) == 3
    for old, new in zip(before, after, strict=True):
        full, half = load_file(old), load_file(new)
        assert full.keys() == half.keys()
        assert {tensor.dtype for tensor in half.values()} == {torch.float16}
        assert all(torch.equal(half[key], full[key].half()) for key in full)
        assert new.stat().st_size < 0.7 * old.stat().st_size


def test_it_says_so_and_is_what_it_says(halved: Path) -> None:
    checks = verify(halved, load=False)
    assert {check.what: check.fine for check in checks} == {
        "record": True,
        "hashes": True,
        "shapes": True,
    }
    assert "in half precision" in (halved / "README.md").read_text("utf-8")
    found = metadata_load(halved / "README.md")
    assert found is not None and found["base_model"] == HUB


def test_nothing_of_this_machine_is_in_it(halved: Path, tiny_xlmr: Path, saved: Path) -> None:
    for path in halved.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            for place in (tiny_xlmr.parent, saved.parent, Path.home()):
                assert str(place).encode() not in content, path


def test_it_loads_as_float32_and_does_the_same(saved: Path, halved: Path, tiny_xlmr: Path) -> None:
    engine = make_engine(str(tiny_xlmr))
    load_module(engine, saved, name="as-trained")
    expected = run_with(engine, "as-trained")
    load_module(engine, halved, name="stored")
    assert {p.dtype for p in module_parameters(engine, "stored").values()} == {torch.float32}
    found = run_with(engine, "stored")
    torch.testing.assert_close(found, expected, **NEAR)
    assert not torch.equal(found, expected)


def test_plain_libraries_open_it(saved: Path, tiny_xlmr: Path, tmp_path: Path) -> None:
    engine = make_engine(str(tiny_xlmr))
    load_module(engine, saved)
    batch = token_batch(engine, "classification")
    expected = run_with(engine, "mnli-lora")
    plain = AutoAdapterModel.from_pretrained(tiny_xlmr)
    folder = export(saved, tmp_path / "adapters", half=True)
    plain.load_adapter(str(folder), set_active=True, use_safetensors=True)
    base = AutoModelForSequenceClassification.from_pretrained(tiny_xlmr, num_labels=3)
    folder = export(saved, tmp_path / "peft", library="peft", half=True)
    lora = PeftModel.from_pretrained(base, str(folder))
    for model in (plain, lora):
        with torch.inference_mode():
            torch.testing.assert_close(model.eval()(**batch).logits, expected, **NEAR)
    for path in weights(tmp_path):
        assert {tensor.dtype for tensor in load_file(path).values()} == {torch.float16}


@pytest.mark.parametrize("kind", ["full", "lean"])
def test_a_fusion_in_half_precision_finds_its_modules(
    tiny_xlmr: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    zoo, other = tmp_path / "zoo" / "tiny", tmp_path / "other" / "tiny"
    monkeypatch.setenv("ADSTILTS_ZOO", str(zoo.parent))
    engine = fill_zoo(str(tiny_xlmr), zoo, "bottleneck")
    save_fused(engine, "tydiqa", ["mnli", "qa"], kind, "span", zoo / "fused", run="f" * 16)
    names = {"mnli": "mnli", "qa": "qa", "fused": "fused"}
    for name in names:
        export(zoo / name, other / name, library="module", half=True, backbone=HUB)
        record = ModuleRecord.read(other / name)  # the tiny backbone is on no Hub
        own = {**record.backbone, "name": str(tiny_xlmr)}
        dataclasses.replace(record, backbone=own).write(other / name)
    assert all(base["path"] == "" for base in ModuleRecord.read(other / "fused").bases.values())
    found = []
    for place in (zoo, other):
        monkeypatch.setenv("ADSTILTS_ZOO", str(place.parent))
        fresh = make_engine(str(tiny_xlmr))
        load_composition(fresh, str(place / "fused"))
        batch = token_batch(fresh, "span")
        with torch.inference_mode():
            found.append(logits_of(forward(fresh, batch), batch))
    torch.testing.assert_close(found[1], found[0], **NEAR)
    monkeypatch.setenv("ADSTILTS_ZOO", str(tmp_path / "nowhere"))
    assert all(check.fine for check in verify(other / "fused"))


def test_values_beyond_half_precision_are_refused(module: Path, tmp_path: Path) -> None:
    path = module / "adapter.safetensors"
    tensors = load_file(path)
    next(iter(tensors.values()))[0, 0] = 1e6
    save_file(tensors, path, metadata={"format": "pt"})
    ModuleRecord.read(module).write(module)
    with pytest.raises(UserError, match="beyond the range of half precision"):
        export(module, tmp_path / "out", library="module", half=True, backbone=HUB)
    assert not (tmp_path / "out").exists()
    assert export(module, tmp_path / "out", library="module", backbone=HUB).is_dir()


def test_a_backbone_in_a_folder_is_nobody_elses(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="give its id on the Hub as --backbone"):
        export(saved, tmp_path / "out", library="module")


def test_readme_of_a_zoo(halved: Path, tmp_path: Path) -> None:
    text = zoo_readme(halved.parent.parent)
    (row,) = [line for line in text.splitlines() if line.startswith("| [mnli-lora]")]
    for word in ("tiny/mnli-lora/README.md", "lora", "accuracy 61.2", "24 en", "OANC"):
        assert word in row
    assert "adstilts train-adapter mnli --recipe tiny/mnli-lora/recipe.yaml" in text
    with pytest.raises(UserError, match="no modules in"):
        zoo_readme(tmp_path)
    (halved.parent / "broken").mkdir()
    (halved.parent / "broken" / RECORD).write_text("[]")
    with pytest.raises(UserError, match="not a module record"):
        zoo_readme(halved.parent.parent)
    (halved.parent / "broken" / RECORD).unlink()
