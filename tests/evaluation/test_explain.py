"""What a fusion attends to, averaged over tokens that are there."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import torch

from adapter_stilts import explain, write_explanation
from adapter_stilts.data.load import load_examples
from adapter_stilts.engine.engine import forward
from adapter_stilts.engine.fusion_forward import Attended, watching
from adapter_stilts.errors import UserError
from adapter_stilts.features import build_features
from adapter_stilts.heads.base import Encoding
from adapter_stilts.tasks.registry import get_target
from adapter_stilts.zoo.local import load_composition
from fusion_kit import run_of, save_fused
from made_modules import make_engine, save_made

QA: dict[str, Any] = {"langs": "en,ko", "data": "data", "precision": "fp32"}


@pytest.fixture
def fused(tiny: Path, made_zoo: Path, tiny_xlmr: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder; `f` fuses three modules of which some leave layers out."""
    shutil.copytree(made_zoo, tiny / "zoo")
    monkeypatch.setenv("ADSTILTS_ZOO", str(tiny / "zoo"))
    engine = make_engine(str(tiny_xlmr))
    folder = tiny / "zoo" / "tiny"
    save_fused(
        engine, "f", ["squad", "qa", "qa-all"], "lean", "span", folder / "f", run="f" * 16,
        task="tydiqa",
    )  # fmt: skip
    return tiny


def _one_by_one(backbone: str, language: str) -> dict[tuple[int, int], float]:
    """Mean attention by layer and source of texts that go through alone, without padding."""
    engine = make_engine(backbone)
    load_composition(engine, "f")
    target = get_target("tiny-qa")
    data = load_examples(target.at(language), "test", "data")
    features = build_features(
        "span", data.examples, data.fingerprint, Encoding(engine.backbone.tokenizer, 64, 16)
    )
    sums: dict[tuple[int, int], float] = {}
    tokens = 0

    def add(told: Attended) -> None:
        for number, total in zip(told.sources, told.weights.sum((0, 1)).tolist(), strict=True):
            key = told.layer, number
            sums[key] = sums.get(key, 0.0) + total

    with watching(add):
        for row in features:
            ids = torch.tensor([row["input_ids"]])
            tokens += ids.numel()
            forward(engine, {"input_ids": ids, "attention_mask": torch.ones_like(ids)})
    return {key: total / tokens for key, total in sums.items()}


def test_padding_does_not_count(fused: Path, tiny_xlmr: Path) -> None:
    found = explain("f", task="tiny-qa", **QA)
    assert found.sources == ("qa", "qa-all", "squad")
    assert list(found.weights) == ["en", "ko"] and found.layers == (0, 1, 2)
    for language in ("en", "ko"):
        expected = _one_by_one(str(tiny_xlmr), language)
        for (layer, number), weight in expected.items():
            assert found.weights[language][layer][found.sources[number]] == pytest.approx(
                weight, abs=1e-5
            )
        assert sum(map(len, found.weights[language].values())) == len(expected) == 6
    assert found.weights["en"][2] != pytest.approx(found.weights["ko"][2], abs=1e-4)


def test_weights_and_entropies(fused: Path) -> None:
    found = explain("f", task="tiny-qa", **QA)
    for language, layers in found.weights.items():
        assert {layer: set(each) for layer, each in layers.items()} == {
            0: {"qa-all"},
            1: {"qa-all", "squad"},
            2: {"qa-all", "squad", "qa"},
        }
        assert all(sum(each.values()) == pytest.approx(1) for each in layers.values())
        assert found.entropy[language][0] == 0
        assert all(0 < found.entropy[language][layer] < 1 for layer in (1, 2))
        over = found.over_layers(language)
        assert over["squad"] == pytest.approx((layers[1]["squad"] + layers[2]["squad"]) / 2)
    both = [found.weights[language][2]["qa"] for language in ("en", "ko")]
    assert found.average[2]["qa"] == pytest.approx(sum(both) / 2)
    assert found.tokens["en"] > 100 and not found.missing


def test_below_a_stacked_module_and_over_loras(fused: Path, tiny_xlmr: Path) -> None:
    engine, folder = make_engine(str(tiny_xlmr)), fused / "zoo" / "tiny"
    save_made(engine, "other-lora", "lora", "span", folder / "other-lora", run=run_of("other"))
    names = ["qa-lora", "other-lora"]
    save_fused(engine, "g", names, "uniform", "span", folder / "g", run="9" * 16)
    found = explain("stack(fuse(other-lora, qa-lora), nli)", task="tiny-nli", **QA)
    assert found.composition == "stack(fuse(other-lora, qa-lora), nli)" and found.kind == "uniform"
    assert found.weights["en"][1] == pytest.approx({"other-lora": 0.5, "qa-lora": 0.5})
    assert found.entropy["ko"][1] == pytest.approx(1)
    assert found.weights["en"][0] == {"other-lora": 1.0}


@pytest.mark.parametrize("task", ["tiny-copa", "tiny-pos", "tiny-nli"])
def test_every_kind_of_text(fused: Path, task: str) -> None:
    found = explain("f", task=task, limit=4, **QA)
    assert all(sum(found.weights["en"][layer].values()) == pytest.approx(1) for layer in (0, 1, 2))


def test_retrieval(fused: Path) -> None:
    few = explain("f", task="tatoeba", langs="de", data="sample", limit=2)
    more = explain("f", task="tatoeba", langs="de", data="sample")
    assert 0 < few.tokens["de"] < more.tokens["de"]


def test_the_task_is_the_one_it_was_learnt_on(fused: Path, tiny_xlmr: Path) -> None:
    found = explain("f", data="sample", langs="fi", limit=2)
    assert found.task == "tydiqa" and list(found.weights) == ["fi"]
    engine, folder = make_engine(str(tiny_xlmr)), fused / "zoo" / "tiny"
    save_fused(engine, "g", ["qa", "squad"], "lean", "span", folder / "g", run="9" * 16)
    with pytest.raises(
        UserError, match=r"was learnt on squad, which is no target: say with --task .*tydiqa"
    ):
        explain("g", data="sample")


@pytest.mark.parametrize(
    ("composition", "options", "what"),
    [
        ("squad", {}, "composition 'squad' has no fusion, so nothing chooses among modules"),
        ("stack(squad, qa)", {}, "has no fusion"),
        ("uniform(qa, squad)", {}, "weighs all its modules the same"),
        ("fuse(qa, squad)", {}, "no fusion of qa squad has been learnt"),
        ("fuse(qa squad)", {}, "a comma or a closing bracket was expected"),
        ("f", {"langs": "en,xx"}, "no language 'xx'"),
        ("f", {"split": "train"}, "no split of tiny-qa 'train'"),
        ("f", {"task": "tiny-q"}, "no target task 'tiny-q': did you mean 'tiny-qa'"),
    ],
)
def test_mistakes(fused: Path, composition: str, options: dict[str, Any], what: str) -> None:
    given = {"task": "tiny-qa", **QA, **options}
    with pytest.raises(UserError) as raised:
        explain(composition, **given)
    assert what in str(raised.value) and "\n" not in str(raised.value)


def test_files(fused: Path) -> None:
    (fused / "data" / "tiny-qa" / "test-ko.json").unlink()
    found = explain("f", task="tiny-qa", **QA)
    write_explanation(found, fused / "out")
    assert list(found.weights) == ["en"] and "ko" in found.missing
    written = json.loads((fused / "out" / "explanation.json").read_text("utf-8"))
    assert written == json.loads(json.dumps(found.as_dict()))
    with (fused / "out" / "explanation.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 6
    for row in rows:
        weight = found.weights[row["language"]][int(row["layer"])][row["source"]]
        assert float(row["weight"]) == pytest.approx(weight, abs=1e-6)
    picture = ElementTree.parse(fused / "out" / "explanation.svg").getroot()
    cells = [each for each in picture.iter() if each.get("aria-roledescription") == "rect mark"]
    labels = [str(each.get("aria-label")) for each in cells]
    assert len(labels) == 6
    assert any("layer: 0; source: qa-all" in each and each.endswith("1.000") for each in labels)


def test_arrow_is_explained_without_training(fused: Path) -> None:
    text = "stack(arrow(nli-lora, pos-lora, copa-lora), qa-lora)"
    found = explain(text, task="tiny-qa", **QA)
    assert found.kind == "arrow" and found.sources == ("copa-lora", "nli-lora", "pos-lora")
    for language in ("en", "ko"):
        by_layer = found.weights[language]
        assert by_layer[0] == {"nli-lora": 1.0}  # the others leave that layer out
        assert set(by_layer[2]) == set(found.sources)
        assert sum(by_layer[2].values()) == pytest.approx(1)
        assert max(by_layer[2].values()) - min(by_layer[2].values()) > 0.01
    with pytest.raises(UserError, match="learnt on no target: say with --task"):
        explain("arrow(nli-lora, pos-lora)", **QA)
