"""Modules that cannot answer: their askers are told in one line, all others get their answers."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from fastapi.testclient import TestClient
from safetensors.torch import load_file, save_file

from adapter_stilts.engine.native import WEIGHTS
from adapter_stilts.hashing import file_sha256
from adapter_stilts.serving.app import create_app
from adapter_stilts.serving.pool import ModulePool, stock
from adapter_stilts.zoo.record import RECORD

ROWS: dict[str, dict[str, Any]] = {
    "qa-all": {"question": "Who?", "context": "Ann went to Rome."},
    "nli": {"text_a": "It rains.", "text_b": "It is wet."},
    "copa": {"prompt": "The cat", "options": ["sat.", "ate.", "swam.", "left."]},
    "pos": {"words": ["She", "reads"]},
}
GOOD = {"module": "qa", **ROWS["qa-all"]}


@pytest.fixture
def spoilt(made_zoo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A zoo with one good module, and others whose weights are numbers and whose outputs none."""
    zoo = tmp_path / "zoo" / "tiny"
    for name in ("qa", *ROWS):
        shutil.copytree(made_zoo / "tiny" / name, zoo / name)
    for name in ROWS:
        change(zoo / name, lambda tensor: torch.sign(tensor) * 1e12)
    monkeypatch.setenv("ADSTILTS_ZOO", str(zoo.parent))
    return zoo


def change(folder: Path, how: Callable[[torch.Tensor], torch.Tensor]) -> None:
    """Other weights, with a record that agrees."""
    path = folder / WEIGHTS
    save_file({key: how(tensor) for key, tensor in load_file(path).items()}, path)
    record = json.loads((folder / RECORD).read_text("utf-8"))
    record["files"][WEIGHTS] = file_sha256(path)
    (folder / RECORD).write_text(json.dumps(record), "utf-8")


def served(most: int = 9) -> ModulePool:
    return stock([], backbone=None, zoo=True, most=most, precision="fp32")


def check(response: Any, name: str, field: str = "module") -> None:
    """One line of JSON with the module at fault."""
    assert response.status_code == 500
    said = response.json()
    assert said["field"] == field
    assert f"'{name}'" in said["error"] and "not finite" in said["error"]
    assert "\n" not in said["error"]


@pytest.mark.parametrize("name", ROWS)
def test_values_that_are_no_numbers(spoilt: Path, name: str, caplog: Any) -> None:
    bad = {"module": name, **ROWS[name]}
    with TestClient(create_app(served(), gather=0)) as client, caplog.at_level(logging.WARNING):
        check(client.post("/predict", json=bad), name)
        given = {"inputs": [GOOD, GOOD, bad, bad]}
        check(client.post("/predict/batch", json=given), name, "inputs.2.module")
        assert client.post("/predict", json=GOOD).status_code == 200
        assert client.get("/health").json()["waiting"] == 0
    assert name in caplog.text and "Traceback" not in caplog.text


def test_others_in_the_same_batch_are_answered(spoilt: Path) -> None:
    asked = [GOOD, *({"module": name, **row} for name, row in ROWS.items()), GOOD]
    app = create_app(served(), gather=0.5)
    with TestClient(app) as client, ThreadPoolExecutor(len(asked)) as threads:
        found = list(threads.map(lambda each: client.post("/predict", json=each), asked))
        alone = client.post("/predict", json=GOOD).json()["answer"]
    assert [each.status_code for each in found] == [200, 500, 500, 500, 500, 200]
    for name, response in zip(ROWS, found[1:-1], strict=True):
        check(response, name)
    for response in (found[0], found[-1]):
        assert response.json()["answer"] == pytest.approx(alone, abs=1e-3)


@pytest.mark.parametrize("damage", ["cut", "altered", "gone"])
def test_a_file_that_is_damaged_later(spoilt: Path, damage: str, caplog: Any) -> None:
    pool, path = served(), spoilt / "nli" / WEIGHTS
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:99])
    elif damage == "altered":
        path.write_bytes(path.read_bytes()[:-1] + b"\xff")
    else:
        path.unlink()
    bad = {"module": "nli", **ROWS["nli"]}
    with TestClient(create_app(pool, gather=0)) as client, caplog.at_level(logging.WARNING):
        response = client.post("/predict/batch", json={"inputs": [GOOD, bad]})
        assert response.status_code == 500
        assert response.json()["field"] == "inputs.1.module"
        assert WEIGHTS in response.json()["error"]
        assert client.post("/predict", json=GOOD).status_code == 200
    assert "nli" in caplog.text and "Traceback" not in caplog.text


def test_no_room_for_a_module(spoilt: Path) -> None:
    """The field is that of the input for whose module there is none."""
    with TestClient(create_app(served(1), gather=0)) as client:
        assert client.post("/predict", json=GOOD).status_code == 200
        given = {"inputs": [GOOD, {"module": "nli", **ROWS["nli"]}]}
        response = client.post("/predict/batch", json=given)
        assert (response.status_code, response.json()["field"]) == (429, "inputs.1.module")
