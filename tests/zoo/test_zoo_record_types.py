"""Every field of a record with a value of another type: refused where it is read, or of no harm."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from adapter_stilts.errors import UserError
from adapter_stilts.zoo.card import write_card, zoo_readme
from adapter_stilts.zoo.choice import ModuleReference
from adapter_stilts.zoo.find import fields
from adapter_stilts.zoo.provenance import chance_note, command_text, write_recipe
from adapter_stilts.zoo.record import RECORD, ModuleRecord
from adapter_stilts.zoo.verify import check_lengths

ODD: tuple[Any, ...] = (None, "", "x", -1, 1.5, True, [], {}, [[]], ["x"], [None], [{}], {"x": 1})
GONE = object()
PART = {"name": "qqp", "files": ["train.tsv"], "rows_kept": 9, "rows_left_out": 0, "rows_bad": 1}
TRAIN = {"origin": "sample", "fingerprint": "0" * 32, "examples": 8, "parts": [PART]}
DEV = {**TRAIN, "chance": {"accuracy": 50.0}}
SPEC = {
    "title": "Mine",
    "metric": "accuracy",
    "licence": "MIT",
    "citation": "Ours",
    "labels": ["a", "b"],
    "choices": 0,
    "max_length": 64,
    "unanswerable": False,
    "language": "en",
    "evaluated": ["en"],
    "datasets": {"them/it": "0" * 40},
    "identity": "ab",
}
RECIPE = {
    "max_length": 64,
    "stride": 16,
    "method": "lora",
    "lr": 0.001,
    "seed": 3,
    "limit": 9,
    "asked": {"steps": 9, "lr": 0.1},
}
ONE: dict[str, Any] = {
    "name": "one",
    "run": "0" * 16,
    "task": "mine",
    "head": "classification",
    "method": "lora",
    "composition": "stack(low, one)",
    "bases": {"low": {"run": "1" * 16, "path": "low", "hub": "a/low"}},
    "backbone": {"name": "embedded", "revision": "", "model_type": "bert", "fingerprint": "f"},
    "recipe": RECIPE,
    "data": {"train": TRAIN, "dev": DEV, "labels": 2, "language": "de", "tags": ["X"]},
    "scores": {"accuracy": 71.0},
    "parameters": 9,
    "steps": 9,
    "best_step": 9,
    "planned_steps": 9,
    "seconds": 1.0,
    "peak_memory_mb": 1.0,
    "versions": {"python": "3.11"},
    "machine": "a CPU",
    "created": "2025-01-01",
    "no_answer_threshold": None,
    "files": {"adapter.safetensors": "0"},
    "heads": {},
    "merged": {},
    "evaluations": {"xnli": {"de": {"accuracy": 50.0}}},
    "full_precision": {"accuracy": 71.0},
    "origin": {"hub": "a/b", "revision": "0" * 40},
    "learning_curve": [{"step": 3.0, "accuracy": 60.0}, {"step": 9.0, "accuracy": 71.0}],
    "spec": SPEC,
    "format": 1,
}
HEAD = {
    "head": "classification",
    "labels": ["a", "b"],
    "choices": 0,
    "max_length": 64,
    "scores": {"accuracy": 60.0},
    "parameters": 3,
    "share": 1.0,
    "train": TRAIN,
    "dev": DEV,
    "no_answer_threshold": None,
    "spec": SPEC,
}
ALONE: dict[str, Any] = {**ONE, "bases": {}, "composition": "one", "spec": {}}
MIXED = {**RECIPE, "temperature": 0.5, "normalise_losses": True, "mlm_text": "x", "mlm_share": 0.2}
SEVERAL: dict[str, Any] = {
    **ALONE,
    "task": "multitask",
    "head": "multitask",
    "heads": {"mine": HEAD, "qqp": {**HEAD, "spec": {**SPEC, "identity": ""}}},
    "recipe": MIXED,
}
MERGED: dict[str, Any] = {
    **ALONE,
    "task": "qqp",
    "recipe": {"max_length": 64, "stride": 16},
    "data": {},
    "scores": {},
    "merged": {
        "expression": "ties(a, b)",
        "how": "ties",
        "weights": {"a": 1.0},
        "density": 0.2,
        "sources": {
            "a": {"run": "0", "task": "mine", "licence": "MIT"},
            "b": {"run": "1", "task": "qqp"},
        },
        "head": {"name": "a", "task": "qqp", "run": "0"},
        "search": {
            "examples": 3,
            "target": "xnli",
            "evaluations": 9,
            "loss_before": 1.0,
            "loss_after": 0.9,
        },
    },
}
LANGUAGE: dict[str, Any] = {**ALONE, "task": "lang-de", "head": "none"}
HEADLESS: dict[str, Any] = {**MERGED, "task": "", "head": "none"}
RECORDS = {
    "one": ONE,
    "several": SEVERAL,
    "merged": MERGED,
    "language": LANGUAGE,
    "headless": HEADLESS,
}


def places(value: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every field and the first member of every list, as the way to it."""
    inner = value.items() if isinstance(value, dict) else enumerate(value[:1])
    for key, member in inner:
        yield (*above, key)
        if isinstance(member, dict | list):
            yield from places(member, (*above, key))


def with_value(record: dict[str, Any], place: tuple[Any, ...], value: Any) -> dict[str, Any]:
    """A copy of the record in which another value is there."""
    spoilt = inner = copy.deepcopy(record)
    for key in place[:-1]:
        inner = inner[key]
    if value is GONE:
        del inner[place[-1]]
    else:
        inner[place[-1]] = value
    return spoilt


def use(folder: Path, out: Path) -> None:
    """What reads a record without its weights."""
    record = ModuleRecord.read(folder)
    write_recipe(record, out)
    for repo in ("", "a/b"):
        write_card(record, out, peft=True, repo=repo)
    json.dumps(fields(ModuleReference(folder)), allow_nan=False)
    assert record._repr_html_() and repr(record) and record.content
    assert command_text(record) is not None and chance_note(record) is not None
    check_lengths(record, folder, 512)


@pytest.mark.parametrize("kind", ["one", "several", "merged"])
def test_no_type_in_a_record_is_trusted(tmp_path: Path, kind: str) -> None:
    record = RECORDS[kind]
    folder = tmp_path / "embedded" / record["name"]
    folder.mkdir(parents=True)
    (folder / RECORD).write_text(json.dumps(record), "utf-8")
    use(folder, tmp_path)
    refused = 0
    same = set() if kind == "one" else set(places(ALONE))
    for place in set(places(record)) - same:
        for value in (*ODD, GONE):
            spoilt = with_value(record, place, value)
            (folder / RECORD).write_text(json.dumps(spoilt), "utf-8")
            try:
                use(folder, tmp_path)
            except UserError as error:
                line = str(error)
                named = ".".join(map(str, place))
                assert "\n" not in line, (named, value)
                refused += 1
                if "spec" in place and "no task 'mine'" in line:
                    continue  # it is well written, and says too little
                names = {str(place[-1]), str(place[0]), "composition"}  # which says the name, too
                assert str(folder) in line, (named, value, line)
                assert any(name in line for name in names), (named, value, line)
            except Exception as error:
                error.add_note(f"{place}: {value!r}")
                raise
    assert refused


@pytest.mark.parametrize(
    ("place", "value", "named"),
    [
        ("data.train.examples", "8", "data.train.examples"),
        ("data.train.parts", [{"rows_kept": None}], "data.train.parts.0.rows_kept"),
        ("data.dev", None, "data.dev"),
        ("data.dev.chance", "25", "data.dev.chance"),
        ("data.dev.chance.accuracy", "25", "data.dev.chance.accuracy"),
        ("recipe.lr", [], "recipe.lr"),
        ("bases.low", {}, "bases.low.run"),
        ("backbone", {}, "backbone.name"),
        ("data", {"train": TRAIN}, "data.dev"),
    ],
)
def test_the_line_names_file_and_field(tmp_path: Path, place: str, value: Any, named: str) -> None:
    spoilt = with_value(ONE, tuple(place.split(".")), value)
    (tmp_path / RECORD).write_text(json.dumps(spoilt), "utf-8")
    with pytest.raises(UserError, match=f"{RECORD}: '{named}'"):
        ModuleRecord.read(tmp_path)


def test_a_number_that_is_too_large_is_named(tmp_path: Path) -> None:
    (tmp_path / RECORD).write_text(json.dumps(ONE).replace("71.0", "1e999"), "utf-8")
    with pytest.raises(UserError, match="1e999"):
        ModuleRecord.read(tmp_path)


@pytest.mark.parametrize("kind", RECORDS)
def test_the_table_of_a_zoo_holds_every_kind(tmp_path: Path, kind: str) -> None:
    """A merge without a head has seen no data of its own."""
    folder = tmp_path / "embedded" / "one"
    folder.mkdir(parents=True)
    (folder / RECORD).write_text(json.dumps(RECORDS[kind]), "utf-8")
    assert "one" in zoo_readme(tmp_path)


def test_a_command_has_no_value_that_the_record_lacks(tmp_path: Path) -> None:
    spoilt = with_value(SEVERAL, ("recipe", "mlm_share"), GONE)
    (tmp_path / RECORD).write_text(json.dumps(spoilt), "utf-8")
    command = command_text(ModuleRecord.read(tmp_path))
    assert "--mlm-text" in command and "None" not in command and "--mlm-share" not in command
