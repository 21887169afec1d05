"""`module.json`: written, read, compared with the files; and all that can be wrong with it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from adapter_stilts.engine.engine import Engine
from adapter_stilts.errors import UserError
from adapter_stilts.hashing import file_sha256
from adapter_stilts.zoo.record import FORMAT, RECORD, ModuleRecord
from made_modules import make_record


def fails(folder: Path) -> str:
    """The one line that a user gets."""
    with pytest.raises(UserError) as caught:
        ModuleRecord.read(folder).verify(folder)
    line = str(caught.value)
    assert "\n" not in line
    assert str(folder) in line
    return line


def change(folder: Path, **fields: Any) -> None:
    path = folder / RECORD
    record = {**json.loads(path.read_text("utf-8")), **fields}
    path.write_text(json.dumps({k: v for k, v in record.items() if v is not ...}), "utf-8")


def test_round_trip(tiny_engine: Engine, saved: Path, tmp_path: Path) -> None:
    record = make_record(tiny_engine, "mnli-lora", "lora", "classification")
    (tmp_path / "deeper").mkdir()
    (tmp_path / "a.txt").write_bytes(b"abc")
    (tmp_path / "deeper" / "b.txt").write_bytes(b"")
    written = record.write(tmp_path)
    assert written.files == {
        "a.txt": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        "deeper/b.txt": hashlib.sha256().hexdigest(),
    }
    read = ModuleRecord.read(tmp_path)
    assert read == written
    assert read.format == FORMAT
    read.verify(tmp_path)


def test_every_file_of_a_saved_module_is_recorded(saved: Path) -> None:
    record = ModuleRecord.read(saved)
    assert set(record.files) == {
        "README.md",
        "adapter.safetensors",
        "adapter_config.json",
        "head_config.json",
        "model_head.safetensors",
        "recipe.yaml",
        "peft/README.md",
        "peft/adapter_config.json",
        "peft/adapter_model.safetensors",
    } - ({"peft/README.md"} if not (saved / "peft/README.md").exists() else set())
    assert all(file_sha256(saved / name) == value for name, value in record.files.items())
    record.verify(saved)


def test_fields_of_a_later_version_are_passed_over(module: Path) -> None:
    change(module, novelty=1)
    assert ModuleRecord.read(module).name == "mnli-lora"


def test_missing_folder(tmp_path: Path) -> None:
    assert fails(tmp_path / "nowhere").endswith("nowhere is not there")


def test_folder_without_record(tmp_path: Path) -> None:
    assert "has no module.json: not a module" in fails(tmp_path)


@pytest.mark.parametrize("text", ["{", "", "\x00", "[" * 100_000, "{'a': 1}"])
def test_broken_json(module: Path, text: str) -> None:
    (module / RECORD).write_text(text, "utf-8")
    assert "not readable as JSON" in fails(module)


def test_not_text_at_all(module: Path) -> None:
    (module / RECORD).write_bytes(b"\xff\xfe\x00{")
    assert "not readable as JSON" in fails(module)


@pytest.mark.parametrize("text", ["[]", "3", "null", '"x"'])
def test_json_of_something_else(module: Path, text: str) -> None:
    (module / RECORD).write_text(text, "utf-8")
    assert fails(module).endswith("not a module record")


def test_lacking_field(module: Path) -> None:
    change(module, backbone=...)
    assert "'backbone'" in fails(module)


RECIPE = {"max_length": 64, "stride": 16}
HEAD = {
    "head": "span",
    "labels": [],
    "max_length": 64,
    "scores": {"f1": 1.0},
    "parameters": 3,
    "train": {"examples": 3},
    "dev": {"examples": 3},
    "no_answer_threshold": None,
}


@pytest.mark.parametrize(
    ("field", "value", "named"),
    [
        ("backbone", "xlm-roberta-large", "backbone"),
        ("backbone", {"name": 3}, "backbone.name"),
        ("files", ["adapter.safetensors"], "files"),
        ("files", {"adapter.safetensors": None}, "files.adapter.safetensors"),
        ("name", 7, "name"),
        ("name", "a/b", "name"),
        ("recipe", None, "recipe"),
        ("recipe", {"stride": 16}, "recipe.max_length"),
        ("recipe", {"max_length": 64}, "recipe.stride"),
        *(("recipe", {**RECIPE, "max_length": n}, "recipe.max_length") for n in (-1, 0, 1, 4, 15)),
        ("recipe", {**RECIPE, "max_length": True}, "recipe.max_length"),
        ("recipe", {**RECIPE, "max_length": 64.0}, "recipe.max_length"),
        ("recipe", {**RECIPE, "method": "ia3"}, "method"),
        ("head", "ranking", "head"),
        ("head", ["span"], "head"),
        ("head", "multitask", "heads"),
        ("heads", {"squad": HEAD}, "heads"),
        ("scores", {}, "scores"),
        ("scores", {"f1": True}, "scores.f1"),
        ("scores", {"f1": "3"}, "scores.f1"),
        ("parameters", -1, "parameters"),
        ("steps", True, "steps"),
        ("no_answer_threshold", "x", "no_answer_threshold"),
        ("merged", {"how": "ties"}, "merged.sources"),
        ("machine", "a\nb", "a b"),
        ("created", "a\tb", "a b"),
        ("data", {"train": {"origin": "a\nb"}}, "a b"),
        ("recipe", {**RECIPE, "x\ny": 1}, "x y"),
        ("versions", {"python": "\x1b[31m"}, "x1b"),
        ("seconds", 10**400, "seconds"),
    ],
)
def test_field_of_another_kind(module: Path, field: str, value: Any, named: str) -> None:
    change(module, **{field: value})
    assert named in fails(module)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("labels", ["a", "a"]),
        ("labels", ["a", 3]),
        ("max_length", 4),
        ("scores", {}),
        ("head", "multitask"),
        ("no_answer_threshold", "x"),
        ("parameters", True),
        ("train", ...),
    ],
)
def test_one_of_several_heads(module: Path, key: str, value: Any) -> None:
    """The same is asked of each."""
    change(module, head="multitask", heads={"squad": HEAD})
    ModuleRecord.read(module)
    spoilt = {k: v for k, v in {**HEAD, key: value}.items() if v is not ...}
    change(module, heads={"squad": spoilt})
    assert f"heads.squad.{key}" in fails(module)


def test_names_of_heads_are_names_of_folders(module: Path) -> None:
    change(module, head="multitask", heads={"../x": HEAD})
    assert "../x" in fails(module)


def test_another_format(module: Path) -> None:
    change(module, format=99)
    assert "written in format 99, this version reads 1" in fails(module)


def test_altered_file(module: Path) -> None:
    path = module / "head_config.json"
    path.write_text(path.read_text("utf-8") + " ", "utf-8")
    assert "head_config.json is damaged" in fails(module)


def test_lost_file(module: Path) -> None:
    (module / "peft" / "adapter_model.safetensors").unlink()
    assert "adapter_model.safetensors is missing" in fails(module)


@pytest.mark.parametrize("name", ["../x", "peft/../../x", "/etc/hostname"])
def test_file_names_stay_in_the_folder(module: Path, name: str) -> None:
    outside = module.parent / "x"
    outside.write_bytes(b"abc")
    change(module, files={name: file_sha256(outside)})
    assert f"file name '{name}' leaves the folder" in fails(module)


def test_links_into_a_store_are_files(module: Path, tmp_path: Path) -> None:
    """A download of the Hub's client is a folder of links to files elsewhere."""
    store = tmp_path / "blob"
    (module / "README.md").rename(store)
    (module / "README.md").symlink_to(store)
    ModuleRecord.read(module).verify(module)
