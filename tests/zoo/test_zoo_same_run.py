"""A record says its run and its task itself: other weights are never used, nor a task needed."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from typer.testing import CliRunner

from adapter_stilts.cli import app
from adapter_stilts.engine.engine import Engine
from adapter_stilts.serving.app import create_app
from adapter_stilts.serving.pool import stock
from adapter_stilts.zoo.local import load_resolved
from adapter_stilts.zoo.module import Module
from adapter_stilts.zoo.record import RECORD, ModuleRecord
from adapter_stilts.zoo.resolve import find
from made_modules import make_engine, save_made
from together_kit import predict_together

QA = {"question": "Who went?", "context": "Ann went to Rome, and Bob stayed at home."}
CHOICE = {"prompt": "The cat", "options": ["sat.", "ate.", "swam.", "left."]}


def loaded(engine: Engine, folder: Path) -> Module:
    resolved = find(str(folder))
    composed = load_resolved(engine, resolved)
    return Module(engine, resolved.record, composed.name, composed)


def test_two_modules_that_name_one_run(tiny_xlmr: Path, tmp_path: Path) -> None:
    """Of one kind, or of two: each answers with its own weights, in whatever order."""
    maker: Engine = make_engine(str(tiny_xlmr))
    for name, method in (("one", "lora"), ("two", "bottleneck")):
        save_made(maker, name, method, "span", tmp_path / name, run="5" * 16)
    save_made(maker, "nli", "lora", "classification", tmp_path / "nli", run="5" * 16)
    alone = [
        loaded(make_engine(str(tiny_xlmr)), tmp_path / name).predict_one(QA)
        for name in ("one", "two")
    ]
    assert alone[0]["score"] != pytest.approx(alone[1]["score"], abs=1e-3)
    engine: Engine = make_engine(str(tiny_xlmr))
    first, second, other = (loaded(engine, tmp_path / name) for name in ("one", "two", "nli"))
    for module, expected in ((second, alone[1]), (first, alone[0])):
        composed = load_resolved(engine, find(str(tmp_path / module.record.name)))
        assert composed == module.composed
        assert module.predict_one(QA)["score"] == pytest.approx(expected["score"], abs=1e-4)
    answers = predict_together([(first, QA), (second, QA), (other, {"text_a": "It rains."})])
    for answer, expected in zip(answers, alone, strict=False):
        assert answer["score"] == pytest.approx(expected["score"], abs=1e-3)
    assert len(answers[2]["labels"]) == 3


def test_content_is_what_is_loaded(tiny_xlmr: Path, tmp_path: Path) -> None:
    """Neither the card nor a copy in another library's format makes another module."""
    record = save_made(make_engine(str(tiny_xlmr)), "m", "lora", "span", tmp_path / "m")
    (tmp_path / "m" / "README.md").write_text("another card")
    again = record.write(tmp_path / "m")
    assert again.files != record.files and again.content == record.content
    assert dataclasses.replace(record, run="6" * 16).content != record.content
    files = {**record.files, "adapter.safetensors": "0" * 64}
    assert dataclasses.replace(record, files=files).content != record.content


def test_choices_of_no_task_that_is_known(
    tiny_xlmr: Path, zoo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """How many options there are is for the head to say."""
    folder = zoo / "tiny" / "mine"
    save_made(make_engine(str(tiny_xlmr)), "mine", "lora", "choice", folder)
    about = json.loads((folder / RECORD).read_text("utf-8"))
    (folder / RECORD).write_text(json.dumps({**about, "task": "nobodys"}), "utf-8")
    assert ModuleRecord.read(folder).task == "nobodys"
    module = loaded(make_engine(str(tiny_xlmr)), folder)
    assert module.choices == find(str(folder)).choices == 4
    expected = module.predict_one(CHOICE)
    pool = stock([], backbone=None, zoo=True, most=2, precision="fp32")
    with TestClient(create_app(pool, gather=0)) as client:
        (about,) = client.get("/modules").json()["modules"]
        assert about["choices"] == 4
        answer = client.post("/predict", json={"module": "mine", **CHOICE}).json()["answer"]
    assert answer["choice"] == expected["choice"]
    assert answer["probabilities"] == pytest.approx(expected["probabilities"], abs=1e-3)
    options = [part for option in CHOICE["options"] for part in ("--option", option)]
    asked = ["predict", "--with", "mine", "--json", "--prompt", "The cat"]
    said = CliRunner().invoke(app, [*asked, *options])
    assert json.loads(said.stdout)["choice"] == expected["choice"]
    few = CliRunner().invoke(app, [*asked, *options[:2]])
    assert "4 options, not 1" in str(few.exception)
