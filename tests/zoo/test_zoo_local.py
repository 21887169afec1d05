"""Saving, finding and loading modules; what is refused, and how it is said."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from adapter_stilts.engine.engine import Engine, forward
from adapter_stilts.errors import UserError
from adapter_stilts.zoo.find import find_module
from adapter_stilts.zoo.local import load_module, save_module
from adapter_stilts.zoo.record import RECORD, ModuleRecord
from made_modules import (
    make_engine,
    make_module,
    make_record,
    remove_module,
    token_batch,
)


@pytest.fixture(scope="module")
def engine(tiny_xlmr: Path) -> Engine:
    """An engine in which no test leaves a module."""
    found: Engine = make_engine(str(tiny_xlmr))
    return found


def refused(engine: Engine, folder: Path) -> str:
    """The one line with which a module is refused; the engine stays as it was."""
    with pytest.raises(UserError) as caught:
        load_module(engine, folder)
    assert "\n" not in str(caught.value)
    assert not engine.model.adapters_config.adapters
    assert not engine.model.heads
    return str(caught.value)


def rewrite(folder: Path) -> None:
    """Records the folder's files as they are now."""
    ModuleRecord.read(folder).write(folder)


def test_loaded_module_gives_the_logits_it_was_saved_with(
    tiny_engine: Engine, engine: Engine, saved: Path
) -> None:
    batch = token_batch(engine, "classification")
    expected = forward(tiny_engine, batch).logits
    record = load_module(engine, saved, name="other")
    assert record.name == "mnli-lora"
    assert engine.model.active_head == "other"
    torch.testing.assert_close(forward(engine, batch).logits, expected)
    remove_module(engine, "other")


def test_truncated_weights(engine: Engine, module: Path) -> None:
    path = module / "adapter.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    assert "adapter.safetensors: damaged or truncated weights file" in refused(engine, module)
    rewrite(module)
    assert "adapter.safetensors: damaged or truncated weights file" in refused(engine, module)


def test_empty_weights(engine: Engine, module: Path) -> None:
    (module / "model_head.safetensors").write_bytes(b"")
    assert "model_head.safetensors: damaged" in refused(engine, module)


def test_one_changed_byte(engine: Engine, module: Path) -> None:
    path = module / "adapter.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    assert "adapter.safetensors is damaged" in refused(engine, module)


@pytest.mark.parametrize("recorded", [True, False])
def test_pickle_in_place_of_safetensors(engine: Engine, module: Path, recorded: bool) -> None:
    path = module / "adapter.safetensors"
    torch.save(load_file(path), module / "pytorch_adapter.bin")
    path.unlink()
    if recorded:
        rewrite(module)
    line = refused(engine, module)
    assert "pytorch_adapter.bin is a pickle, which can run code when loaded" in line
    assert "use_safetensors=True" in line


def test_pickle_named_safetensors(engine: Engine, module: Path) -> None:
    path = module / "adapter.safetensors"
    torch.save(load_file(path), path)
    rewrite(module)
    assert "damaged or truncated" in refused(engine, module)


def test_no_weights_at_all(engine: Engine, module: Path) -> None:
    (module / "adapter.safetensors").unlink()
    assert "has no adapter.safetensors: not a module, or not completely" in refused(engine, module)


@pytest.mark.parametrize("name", ["adapter_config.json", "head_config.json"])
def test_broken_configuration(engine: Engine, module: Path, name: str) -> None:
    (module / name).write_text("{", "utf-8")
    rewrite(module)
    assert f"{name}: not readable as JSON" in refused(engine, module)


@pytest.mark.parametrize("text", ["{}", "[]", "3"])
@pytest.mark.parametrize("name", ["adapter_config.json", "head_config.json"])
def test_configuration_of_something_else(
    engine: Engine, module: Path, name: str, text: str
) -> None:
    (module / name).write_text(text, "utf-8")
    rewrite(module)
    with pytest.raises(UserError) as caught:
        load_module(engine, module)
    assert "\n" not in str(caught.value)
    for left in list(engine.model.adapters_config.adapters):
        remove_module(engine, left)


def test_module_of_another_backbone(engine: Engine, module: Path) -> None:
    path = module / RECORD
    path.write_text(path.read_text("utf-8").replace(engine.fingerprint, "0" * 16), "utf-8")
    line = refused(engine, module)
    assert "was made for backbone" in line
    assert f"(fingerprint {'0' * 16})" in line
    assert engine.fingerprint in line


def test_saving_is_all_or_nothing(
    tiny_engine: Engine, saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    record = make_record(tiny_engine, "mnli-lora", "lora", "classification")
    monkeypatch.setattr("adapter_stilts.zoo.local.write_card", fail)
    with pytest.raises(OSError, match="No space left"):
        save_module(tiny_engine, record, "classification", tmp_path / "zoo" / "m")
    assert not list((tmp_path / "zoo").iterdir())


def test_saving_replaces(tiny_engine: Engine, module: Path) -> None:
    (module / "old.txt").write_text("x")
    record = make_record(tiny_engine, "mnli-lora", "lora", "classification", steps=11)
    save_module(tiny_engine, record, "classification", module)
    assert not (module / "old.txt").exists()
    assert ModuleRecord.read(module).steps == 11
    assert [path.name for path in module.parent.iterdir()] == ["module"]


def test_bottleneck_has_no_peft_folder(engine: Engine, tmp_path: Path) -> None:
    make_module(engine, "m", "bottleneck", "span")
    record = make_record(engine, "m", "bottleneck", "span")
    save_module(engine, record, "span", tmp_path / "m")
    remove_module(engine, "m")
    assert not (tmp_path / "m" / "peft").exists()
    assert "peft" not in (tmp_path / "m" / "README.md").read_text("utf-8")


@pytest.fixture
def stocked(zoo: Path, saved: Path) -> Path:
    """A zoo of two backbones: `squad` on both, `mnli` on one."""
    for place in ("embedded/squad", "xlmr/squad", "xlmr/mnli"):
        (zoo / place).mkdir(parents=True)
        shutil.copy(saved / RECORD, zoo / place / RECORD)
    return zoo


def test_found_by_path_by_name_and_by_backbone(stocked: Path) -> None:
    assert find_module(str(stocked / "xlmr" / "squad")) == stocked / "xlmr" / "squad"
    assert find_module("mnli") == stocked / "xlmr" / "mnli"
    assert find_module("embedded/squad") == stocked / "embedded" / "squad"


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("squad", "'squad' exists for several backbones: choose from embedded/squad, xlmr/squad"),
        ("mnil", "no module 'mnil': did you mean 'mnli'?"),
        ("Squadd", "no module 'Squadd': did you mean 'squad'?"),
        ("zzz", "no module 'zzz' in .*zoo and no such folder: `adstilts zoo list` shows"),
        ("hella-swag", "no such folder: train it with `adstilts train-adapter hellaswag`"),
        ("tydiqa", "no such folder: train it with `adstilts train-target tydiqa`"),
    ],
)
def test_not_found(stocked: Path, name: str, line: str) -> None:
    with pytest.raises(UserError, match=line):
        find_module(name)


def test_folder_that_is_no_module(zoo: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=re.escape(f"folder {tmp_path} has no module.json")):
        find_module(str(tmp_path))


def test_everybody_may_read_a_module(module: Path) -> None:
    modes = {path.name: path.stat().st_mode & 0o444 for path in module.rglob("*.safetensors")}
    assert modes and set(modes.values()) == {0o444}
