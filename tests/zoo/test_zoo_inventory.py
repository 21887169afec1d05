"""What is listed, found, removed, checked and exported."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest
import torch
from adapters import AutoAdapterModel
from peft import PeftModel
from transformers import AutoModelForSequenceClassification

from adapter_stilts.engine.engine import Engine, forward
from adapter_stilts.errors import UserError
from adapter_stilts.zoo.choice import find_modules
from adapter_stilts.zoo.find import (
    fields,
    find_module,
    list_modules,
    locate,
    one,
    remove,
    standing_on,
)
from adapter_stilts.zoo.push import export
from adapter_stilts.zoo.record import RECORD, ModuleRecord
from adapter_stilts.zoo.verify import verify
from made_modules import token_batch

COMMIT = "a" * 40


def put(saved: Path, folder: Path, **changes: object) -> Path:
    """A copy of the module with another record."""
    shutil.copytree(saved, folder)
    dataclasses.replace(ModuleRecord.read(folder), **changes).write(folder)  # type: ignore[arg-type]
    return folder


@pytest.fixture
def stocked(saved: Path, zoo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Modules in all three places."""
    monkeypatch.setenv("ADSTILTS_ZOO_PATH", str(tmp_path / "shared"))
    put(saved, zoo / "tiny" / "mine", run="1" * 16)
    put(saved, tmp_path / "shared" / "embedded" / "theirs", run="2" * 16, task="squad")
    put(saved, tmp_path / "shared" / "embedded" / "mine", run="3" * 16)
    origin = {"hub": "someone/pulled", "revision": COMMIT}
    put(
        saved,
        tmp_path / "pulled" / "someone--pulled" / COMMIT,
        run="4" * 16,
        origin=origin,
        backbone={**ModuleRecord.read(saved).backbone, "name": "FacebookAI/xlm-roberta-large"},
        data={**ModuleRecord.read(saved).data, "language": "sw"},
    )
    return zoo


def names(**filters: str) -> list[str]:
    return [entry.full_name for entry in list_modules(**filters)]


def test_every_place_is_listed(stocked: Path) -> None:
    assert names() == ["tiny/mine", "embedded/mine", "embedded/theirs", "someone/pulled"]
    found = {entry.full_name: fields(entry) for entry in list_modules()}
    assert found["someone/pulled"]["where"] == f"Hub, commit {COMMIT[:12]}"
    assert found["embedded/mine"]["where"] == "shared zoo"
    mine = found["tiny/mine"]
    assert mine["scores"] == {"accuracy": 61.2345, "f1": 59.5}
    assert mine["licence"] == "OANC and others, by genre"
    folder = stocked / "tiny" / "mine"
    assert mine["size"] == sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_filters(stocked: Path) -> None:
    assert names(task="squad") == ["embedded/theirs"]
    assert names(language="sw") == ["someone/pulled"]
    # a record says nothing of the language that its task is in
    assert names(language="en") == ["tiny/mine", "embedded/mine", "embedded/theirs"]
    assert names(backbone="xlm-roberta-large") == ["someone/pulled"]
    assert names(backbone="FacebookAI/xlm-roberta-large") == ["someone/pulled"]
    assert names(backbone="roberta-large") == []
    assert names(task="xnli") == []


def test_damaged_records_are_listed_with_what_is_wrong(stocked: Path) -> None:
    (stocked / "tiny" / "mine" / RECORD).write_text("{")
    broken = next(iter(list_modules()))
    assert broken.readable is None
    assert "not readable as JSON" in fields(broken)["problem"]
    assert "tiny/mine" not in names(task="mnli")
    assert find_module("embedded/theirs").is_dir()  # the others are of use


def test_own_modules_come_before_shared_ones(stocked: Path, tmp_path: Path) -> None:
    shared = tmp_path / "shared" / "tiny" / "mine"
    put(stocked / "tiny" / "mine", shared, run="5" * 16)
    assert find_module("tiny/mine") == stocked / "tiny" / "mine"
    assert find_module("mine", "tiny") == stocked / "tiny" / "mine"
    assert find_module("theirs") == tmp_path / "shared" / "embedded" / "theirs"
    assert find_module("embedded/mine") == tmp_path / "shared" / "embedded" / "mine"
    with pytest.raises(UserError, match="did you mean 'theirs'"):
        find_module("thiers")
    with pytest.raises(UserError, match="did you mean"):
        find_module("embedded/their")  # a folder of a zoo, so no user of the Hub


def test_shared_zoo_beside_the_current_folder(
    saved: Path, zoo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ADSTILTS_ZOO_PATH")
    monkeypatch.chdir(tmp_path)
    put(saved, tmp_path / "adapters_zoo" / "embedded" / "shipped")
    assert "embedded/shipped" in [found.full_name for found in find_modules()]


def test_located(stocked: Path) -> None:
    assert one("someone/pulled").record is not None
    assert one(f"someone/pulled@{COMMIT[:7]}").folder.name == COMMIT
    assert one(str(stocked / "tiny" / "mine")).full_name == "tiny/mine"
    with pytest.raises(UserError, match=r"no module 'min' is here: did you mean 'mine'\?"):
        locate("min")
    with pytest.raises(UserError, match="no module 'zzz' is here: `adstilts zoo list`"):
        locate("zzz")
    shutil.copytree(stocked / "tiny", stocked / "other")
    with pytest.raises(UserError, match="choose from other/mine, tiny/mine"):
        one("mine")


def test_removed(stocked: Path, tmp_path: Path) -> None:
    remove(one("tiny/mine"))
    assert not (stocked / "tiny" / "mine").exists()
    remove(one("someone/pulled"))
    assert not list((tmp_path / "pulled").iterdir())
    with pytest.raises(UserError, match="remove it yourself"):
        remove(one("theirs"))
    assert (tmp_path / "shared" / "embedded" / "theirs").is_dir()


def test_links_are_not_followed(stocked: Path, saved: Path, tmp_path: Path) -> None:
    outside = put(saved, tmp_path / "outside" / "precious")
    (stocked / "tiny" / "linked").symlink_to(outside)
    (stocked / "tiny" / "mine" / "inner").symlink_to(outside)
    (stocked / "away").symlink_to(tmp_path / "outside")
    remove(one("linked"))
    assert not (stocked / "tiny" / "linked").is_symlink()
    remove(one("tiny/mine"))
    with pytest.raises(UserError, match="remove it yourself"):
        remove(one("away/precious"))
    ModuleRecord.read(outside).verify(outside)


def test_what_stands_on_a_module(stocked: Path, saved: Path) -> None:
    bases = {"mine": {"run": "1" * 16, "path": "gone"}}
    put(saved, stocked / "tiny" / "above", run="5" * 16, bases=bases)
    assert standing_on(one("tiny/mine")) == ["tiny/above"]
    assert standing_on(one("tiny/above")) == []


# Checks


def results(folder: Path, *, load: bool = True) -> dict[str, bool | None]:
    return {check.what: check.fine for check in verify(folder, load=load)}


def test_verified(module: Path) -> None:
    assert results(module) == {"record": True, "hashes": True, "shapes": True, "backbone": True}


def test_verified_and_found_wrong(module: Path, tmp_path: Path) -> None:
    (module / "stray.bin").write_bytes(b"")
    assert results(module, load=False)["other files"] is None
    (module / "stray.bin").unlink()
    (module / "README.md").write_text("x")
    assert results(module) == {"record": True, "hashes": False, "shapes": True}
    record = ModuleRecord.read(module).write(module)
    other = {**record.backbone, "fingerprint": "0" * 16}
    dataclasses.replace(record, backbone=other).write(module)
    assert results(module)["backbone"] is False
    gone = {**record.backbone, "name": str(tmp_path / "nowhere")}
    dataclasses.replace(record, backbone=gone).write(module)
    assert results(module)["backbone"] is None
    (module / RECORD).write_text("[]")
    assert results(module) == {"record": False}


def test_scores_come_again_or_not(module: Path) -> None:
    from adapter_stilts.data import load_examples
    from adapter_stilts.tasks.registry import get_task
    from adapter_stilts.zoo.resolve import load

    dev = load_examples(get_task("mnli"), "dev", "sample", limit=8)
    record = ModuleRecord.read(module)
    about = {"examples": 8, "fingerprint": dev.fingerprint, "origin": "sample"}
    scores = load(module, precision="fp32").score(dev.examples.to_list())
    dataclasses.replace(record, data={**record.data, "dev": about}, scores=scores).write(module)
    looked = verify(module, scores=True, data="sample")
    assert looked[-1].what == "scores" and looked[-1].fine is True
    worse = {key: value + 1 for key, value in scores.items()}
    dataclasses.replace(record, data={**record.data, "dev": about}, scores=worse).write(module)
    assert verify(module, scores=True, data="sample")[-1].fine is False
    dataclasses.replace(record, scores=scores).write(module)  # of other data
    assert verify(module, scores=True, data="sample")[-1].fine is None


# Exports


def test_exported_for_plain_libraries(
    tiny_engine: Engine, saved: Path, tiny_xlmr: Path, tmp_path: Path
) -> None:
    batch = token_batch(tiny_engine, "classification")
    expected = forward(tiny_engine, batch).logits
    plain = AutoAdapterModel.from_pretrained(tiny_xlmr)
    folder = export(saved, tmp_path / "adapters")
    plain.load_adapter(str(folder), set_active=True, use_safetensors=True)
    with torch.inference_mode():
        torch.testing.assert_close(plain.eval()(**batch).logits, expected, atol=1e-5, rtol=1e-4)
    base = AutoModelForSequenceClassification.from_pretrained(tiny_xlmr, num_labels=3)
    lora = PeftModel.from_pretrained(base, str(export(saved, tmp_path / "p", library="peft")))
    with torch.inference_mode():
        torch.testing.assert_close(lora.eval()(**batch).logits, expected, atol=1e-5, rtol=1e-4)
    assert RECORD not in {path.name for path in tmp_path.rglob("*")}


def test_export_refuses(saved: Path, module: Path, tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "x").write_text("")
    with pytest.raises(UserError, match="is not empty"):
        export(saved, tmp_path / "taken")
    with pytest.raises(UserError, match="no format 'onnx'"):
        export(saved, tmp_path / "x", library="onnx")
    (module / "head_config.json").write_text("{}")
    with pytest.raises(UserError, match=r"head_config\.json"):
        export(module, tmp_path / "x")
    shutil.rmtree(module)
    shutil.copytree(saved, module)
    shutil.rmtree(module / "peft")
    record = ModuleRecord.read(module)
    record.write(module)
    with pytest.raises(UserError, match=r"is no LoRA .*--format adapters"):
        export(module, tmp_path / "x", library="peft")
    assert export(saved, tmp_path / "taken", overwrite=True).is_dir()
