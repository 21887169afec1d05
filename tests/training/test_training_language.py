"""Modules of languages: what is held out, what is learnt, what is saved, and resumed."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from adapters import AutoAdapterModel
from safetensors.torch import load_file
from training_kit import Spy  # type: ignore[import-not-found]

from adapter_stilts.data.load import read_language_text
from adapter_stilts.engine.engine import forward
from adapter_stilts.engine.native import HEAD_WEIGHTS, WEIGHTS
from adapter_stilts.errors import InterruptedTrainingError, UserError
from adapter_stilts.training.run import Trained, train_language
from adapter_stilts.training.target import train_target
from adapter_stilts.zoo.local import load_composition
from made_modules import logits_of, make_engine, token_batch

Train = Callable[..., Trained]


@pytest.fixture
def text(tmp_path: Path) -> Path:
    """Three hundred lines, whose words follow from their first one."""
    chance = random.Random(0)
    poems = (
        "the rain falls on the old town and the river",
        "a woman reads her letters in the garden today",
        "many people think that music is the best of arts",
    )
    lines = [f"{chance.choice(poems)} {number}" for number in range(300)]
    path = tmp_path / "sw.txt"
    path.write_text("\n\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def train(tiny_xlmr: Path, text: Path, tmp_path: Path) -> Train:
    def run(**changes: Any) -> Trained:
        given = {
            "backbone": str(tiny_xlmr),
            "out": tmp_path / "module",
            "epochs": 1,
            "batch_tokens": 512,
            "max_length": 64,
            "evaluations": 2,
            "precision": "fp32",
            "quiet": True,
        }
        return train_language("sw", text, **{**given, **changes})

    return run


def test_it_learns_and_is_saved_without_a_head(train: Train, text: Path) -> None:
    trained = train(epochs=6, lr=2e-2, patience=0)
    record = trained.record
    assert (record.name, record.task, record.head) == ("lang-sw", "lang-sw", "none")
    assert record.method == "invertible"
    assert record.data["language"] == "sw"
    assert record.data["train"]["examples"] + record.data["dev"]["examples"] == 300
    assert record.data["dev"]["examples"] == 30
    assert set(record.scores) == {"accuracy", "perplexity"}
    assert record.scores["accuracy"] > 20  # among some hundred pieces
    assert not (trained.path / HEAD_WEIGHTS).exists()
    saved = load_file(trained.path / WEIGHTS)
    assert record.parameters == sum(tensor.numel() for tensor in saved.values())
    coupling = [tensor for key, tensor in saved.items() if "invertible_adapters" in key]
    assert any(tensor.abs().max() > 0.1 for tensor in coupling)


def test_plain_adapters_opens_it(train: Train, tiny_xlmr: Path) -> None:
    trained = train(epochs=0.1, lr=0.1)
    engine = make_engine(str(tiny_xlmr))
    batch = token_batch(engine, "embedding")
    load_composition(engine, str(trained.path))
    model = AutoAdapterModel.from_pretrained(tiny_xlmr)
    model.load_adapter(str(trained.path), set_active=True, use_safetensors=True)
    with torch.no_grad():
        expected = logits_of(model.eval()(**batch), batch)
    torch.testing.assert_close(logits_of(forward(engine, batch), batch), expected)


def test_interrupted_and_resumed_it_is_the_same_to_the_bit(
    train: Train, spy: Spy, tmp_path: Path
) -> None:
    calm = train()
    spy.stop_at(3)
    again = {"out": tmp_path / "again", "report_to": "spy"}
    with pytest.raises(InterruptedTrainingError, match="add --resume"):
        train(**again)
    spy.on_step = None
    resumed = train(**again, resume=True)
    assert resumed.record.run == calm.record.run
    assert resumed.record.scores == calm.record.scores
    for name in (WEIGHTS, "adapter_config.json"):
        assert (resumed.path / name).read_bytes() == (calm.path / name).read_bytes()


def test_other_methods_have_other_names(
    train: Train, zoo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = train(out=None, method="lora", epochs=0.1, limit=40)
    assert trained.path.name == trained.record.name == "lang-sw-lora"
    assert trained.record.data["train"]["examples"] == 40


def test_a_target_is_learnt_on_the_module_of_its_language(
    train: Train, text: Path, zoo: Path, tiny_xlmr: Path
) -> None:
    short = {"epochs": 0.1, "limit": 24, "evaluations": 1, "max_length": 64, "dev_limit": 4}
    options: dict[str, Any] = {
        **short,
        "backbone": str(tiny_xlmr),
        "precision": "fp32",
        "quiet": True,
    }
    train_language("en", text, **options)
    found = train_target("xnli", on="lang:*", data="sample", **options)
    assert found.record.composition == "stack(lang-en, xnli)"
    with pytest.raises(UserError, match="no module for the language 'de'"):
        train_target("xnli", on="lang:*", source_lang="de", data="sample", **options)


def test_equal_lines_are_on_one_side(tmp_path: Path) -> None:
    folder = tmp_path / "texts"
    folder.mkdir()
    lines = [f"line {number % 50}" for number in range(200)]
    (folder / "a.txt").write_text("\ufeff" + "\r\n \r\n".join(lines[:120]), encoding="utf-8")
    (folder / "b.txt").write_text("\n".join(lines[120:]), encoding="utf-8")
    (folder / "c.md").write_text("not read")
    train, dev = read_language_text(folder)
    assert len(train.examples) + len(dev.examples) == 200
    held_out, others = set(dev.examples["text"]), set(train.examples["text"])
    assert len(held_out) == 5
    assert not held_out & others
    assert held_out | others == set(lines)
    less, _ = read_language_text(folder, limit=7, seed=1)
    assert len(less.examples) == 7
    assert less.fingerprint not in (train.fingerprint, dev.fingerprint)
    again, _ = read_language_text(folder, seed=5)
    assert again.fingerprint == train.fingerprint
    (folder / "a.txt").write_text("changed\n")
    changed, _ = read_language_text(folder)
    assert changed.fingerprint != train.fingerprint


@pytest.mark.parametrize("changes", [{}, {"recipe": "demo"}, {"recipe": "language"}])
def test_a_recipe_by_name_leaves_the_method_of_languages(
    train: Train, changes: dict[str, Any]
) -> None:
    made = train(**changes, steps=1, evaluations=1).record
    assert (made.method, made.name) == ("invertible", "lang-sw")
