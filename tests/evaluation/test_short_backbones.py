"""Modules of other programs on a backbone with positions for 64 tokens: nobody reads more."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from adapters import AutoAdapterModel, LoRAConfig, SeqBnConfig
from fastapi.testclient import TestClient
from transformers import XLMRobertaConfig, XLMRobertaModel

from adapter_stilts import evaluate, explain, load, merge
from adapter_stilts.backbones import find_backbone
from adapter_stilts.evaluation.retrieval import trained_length
from adapter_stilts.serving.app import create_app
from adapter_stilts.serving.pool import stock
from adapter_stilts.tasks.registry import get_target
from fusion_kit import save_fused
from made_modules import LABELS, make_engine

LONG = "rain falls on the old town and the sun " * 40


@pytest.fixture
def short(tiny: Path, tiny_xlmr: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The tiny backbone with fewer positions, and a zoo of its own."""
    folder = Path(shutil.copytree(tiny_xlmr, tiny / "short"))
    config = XLMRobertaConfig.from_pretrained(folder)
    config.max_position_embeddings = 66
    torch.manual_seed(3)
    XLMRobertaModel(config).save_pretrained(folder)
    assert find_backbone(str(folder)).max_length == 64
    monkeypatch.setenv("ADSTILTS_ZOO", str(tiny / "own"))
    for language in ("en", "de"):
        _lengthen(tiny / "data" / "tiny-nli" / f"test-{language}.tsv")
    return folder


def _lengthen(path: Path) -> None:
    header, *rows = path.read_text("utf-8").splitlines()
    cells = [row.split("\t") for row in rows]
    rows = ["\t".join([f"{a} {LONG}", f"{b} {LONG}", *rest]) for a, b, *rest in cells]
    path.write_text("\n".join([header, *rows]) + "\n", "utf-8")


def save_plain(backbone: Path, folder: Path, head: str, config: Any = None, seed: int = 0) -> str:
    """An adapter as plain `adapters` saves it, which does not say how long its texts were."""
    torch.manual_seed(seed)
    model = AutoAdapterModel.from_pretrained(backbone)
    model.add_adapter("mine", config=config or SeqBnConfig())
    if head == "span":
        model.add_qa_head("mine", num_labels=2)
    elif head:
        labels = dict(enumerate(LABELS["classification"]))
        model.add_classification_head("mine", num_labels=len(labels), id2label=labels)
    for key, parameter in model.named_parameters():
        if "mine" in key.split("."):
            torch.nn.init.normal_(parameter, std=0.1)
    model.save_adapter(str(folder), "mine", with_head=bool(head), use_safetensors=True)
    return str(folder)


@pytest.mark.parametrize(("task", "head"), [("tiny-nli", "classification"), ("tiny-qa", "span")])
def test_evaluation(short: Path, tiny: Path, task: str, head: str) -> None:
    plain = save_plain(short, tiny / "theirs", head)
    (found,) = evaluate(task, compositions=[plain], langs="en,de", data="data", out="out")
    assert set(found.scores) == {"en", "de"}


def test_answers(short: Path, tiny: Path) -> None:
    module = load(save_plain(short, tiny / "qa", "span"), precision="fp32")
    row = {"question": f"who? {LONG}", "context": LONG}
    assert max(module.encode({key: [text] for key, text in row.items()})["length"]) == 64
    alone = module.predict_one(row)
    assert alone["answer"] in LONG
    module = load(save_plain(short, tiny / "nli", "classification"), precision="fp32")
    assert set(module.classify(LONG, LONG)) == set(LABELS["classification"])
    assert np.isfinite(module.embed([LONG, (LONG, LONG)])).all()


def test_the_service(short: Path, tiny: Path) -> None:
    names = [
        save_plain(short, tiny / "qa", "span"),
        save_plain(short, tiny / "n", "classification"),
    ]
    pool = stock(names, backbone=None, zoo=False, most=4, precision="fp32")
    asked = [
        {"module": names[0], "question": LONG, "context": LONG},
        {"module": names[1], "text_a": LONG, "text_b": LONG},
    ]
    with TestClient(create_app(pool)) as client:
        response = client.post("/predict/batch", json={"inputs": asked})
    assert response.status_code == 200, response.text


@pytest.mark.parametrize("task", ["tiny-nli", "tiny-qa"])
def test_explaining(short: Path, tiny: Path, task: str) -> None:
    """On the fusion's own kind of texts, and on another."""
    names = [save_plain(short, tiny / f"qa{seed}", "span", seed=seed) for seed in (1, 2)]
    save_fused(make_engine(str(short)), "f", names, "lean", "span", tiny / "f", run="f" * 16)
    found = explain(str(tiny / "f"), task=task, langs="en", data="data", precision="fp32")
    assert found.tokens["en"] > 0


@pytest.mark.parametrize("config", [SeqBnConfig(), LoRAConfig(r=4)], ids=["bottleneck", "lora"])
def test_vectors_and_merges(short: Path, tiny: Path, config: Any) -> None:
    """A merge has a record of ours, which must not say more than the backbone holds."""
    names = [save_plain(short, tiny / f"v{seed}", "", config, seed) for seed in (1, 2)]
    made = merge(names, name="both", out=tiny / "both", quiet=True)
    record = json.loads((tiny / "both" / "module.json").read_text())
    assert record["recipe"]["max_length"] <= 64 and made.record.recipe == record["recipe"]
    for name in (names[0], str(tiny / "both"), f"average({names[0]}, {names[1]})"):
        assert np.isfinite(load(name, precision="fp32").embed([LONG])).all()


def test_retrieval(short: Path, tiny: Path) -> None:
    engine = make_engine(str(short))
    module = load(save_plain(short, tiny / "v", ""), precision="fp32")
    assert module.composed is not None and module.record.head == "embedding"
    none: Any = SimpleNamespace(record=None)
    for target in ("tatoeba", "lareqa", "mewslix"):
        assert trained_length(engine, module.composed, get_target(target)) == 64
        assert trained_length(engine, none, get_target(target)) <= 64
