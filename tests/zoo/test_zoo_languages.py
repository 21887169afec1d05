"""Modules of languages in compositions: found by code, active at the embeddings, others' too."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from adapters import AutoAdapterModel, SeqBnInvConfig
from adapters.composition import Stack

from adapter_stilts.engine.engine import Engine, forward, layers_below
from adapter_stilts.errors import UserError
from adapter_stilts.zoo.card import write_card
from adapter_stilts.zoo.local import load_composition, save_module
from adapter_stilts.zoo.record import NO_HEAD
from adapter_stilts.zoo.resolve import resolve
from made_modules import (
    logits_of,
    make_engine,
    make_module,
    make_record,
    remove_module,
    save_made,
    token_batch,
)


def save_language(engine: Engine, code: str, folder: Path, **changes: Any) -> None:
    """A made module of a language; it does not stay in the engine."""
    name = changes.pop("name", f"lang-{code}")
    make_module(engine, name, "invertible", "embedding", leave_out=(0, 1), seed=ord(code[0]))
    part = {"origin": "text", "fingerprint": "0" * 16, "examples": 24, "parts": []}
    given = {
        "task": f"lang-{code}",
        "run": code.encode().hex().ljust(16, "0"),
        "data": {"train": part, "dev": part, "labels": 0, "language": code},
        **changes,
    }
    record = make_record(engine, name, "invertible", "embedding", **given)
    record = dataclasses.replace(record, head=NO_HEAD)
    save_module(engine, record, "embedding", folder)
    remove_module(engine, name)


@pytest.fixture
def engine(tiny_xlmr: Path, zoo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """Beside a zoo with modules for Swahili, for English, and for a task."""
    monkeypatch.setenv("ADSTILTS_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    made: Engine = make_engine(str(tiny_xlmr))
    for code in ("sw", "en"):
        save_language(made, code, zoo / "tiny" / f"lang-{code}")
    for number, name in enumerate(("squad", "other")):
        save_made(made, name, "bottleneck", "span", zoo / "tiny" / name, run=f"{number}" * 16)
        remove_module(made, name)
    return made


def plain_logits(backbone: Path, language: Path, task: Path, batch: Any) -> torch.Tensor:
    """Of plain `adapters`, with the language's module below the task's."""
    model = AutoAdapterModel.from_pretrained(backbone)
    model.load_adapter(str(language), load_as="below", with_head=False, use_safetensors=True)
    model.load_adapter(str(task), load_as="task", use_safetensors=True)
    model.set_active_adapters(Stack("below", "task"))
    model.active_head = "task"
    with torch.no_grad():
        return logits_of(model.eval()(**batch), batch)


def test_a_language_is_found_by_its_code_and_acts_at_the_embeddings(
    engine: Engine, zoo: Path, tiny_xlmr: Path
) -> None:
    batch = token_batch(engine, "span")
    composed = load_composition(engine, "stack(lang:sw, squad)")
    assert composed.expression == "stack(lang-sw, squad)"
    found = logits_of(forward(engine, batch), batch)
    expected = plain_logits(tiny_xlmr, zoo / "tiny/lang-sw", zoo / "tiny/squad", batch)
    torch.testing.assert_close(found, expected)
    load_composition(engine, "stack(lang:en, squad)")
    assert not torch.allclose(logits_of(forward(engine, batch), batch), expected, atol=1e-2)
    coupling = engine.model.base_model.invertible_adapters["lang-sw"]
    for parameter in coupling.parameters():  # NICE adds nothing where its matrices are zero
        parameter.data.zero_()
    load_composition(engine, "stack(lang:sw, squad)")
    assert not torch.allclose(logits_of(forward(engine, batch), batch), expected, atol=1e-2)


def test_no_layer_below_one_is_shared(engine: Engine) -> None:
    load_composition(engine, "lang:sw")
    assert layers_below(engine, ["lang-sw"]) == 0  # though it leaves out the two lowest layers


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("stack(squad, lang:sw)", ("'lang-sw' (invertible)", "only at the bottom", "'squad'")),
        ("stack(lang:en, lang:sw, squad)", ("'lang-sw'", "above 'lang-en'")),
        ("uniform(lang:sw, squad)", ("'lang-sw' (invertible) cannot be fused", "stack(lang-sw")),
        ("uniform(stack(lang:sw, squad), other)", ("'lang-sw' (invertible) cannot be fused",)),
        ("average(lang:sw, squad)", ("'lang-sw' (invertible) cannot be merged",)),
        ("stack(lang:de, squad)", ("no module for the language 'de'", "train-language de")),
        ("stack(other/lang:sw, squad)", ("no module for the language 'sw' and other",)),
        ("stack(lang:xx, squad)", ("no language 'xx'",)),
        ("stack(lang:*, squad)", ("character 7", "name a language, as lang:sw")),
    ],
)
def test_what_cannot_be_gets_one_line(engine: Engine, text: str, words: tuple[str, ...]) -> None:
    with pytest.raises(UserError) as error:
        resolve(text)
    for word in words:
        assert word in str(error.value)


def test_a_fusion_stands_on_one(engine: Engine) -> None:
    batch = token_batch(engine, "span")
    load_composition(engine, "uniform(squad, other)")
    without = forward(engine, batch)[0]
    load_composition(engine, "stack(lang:sw, uniform(squad, other))")
    assert not torch.allclose(forward(engine, batch)[0], without, atol=1e-2)


def test_of_several_modules_of_a_language_the_usual_name_goes_first(
    engine: Engine, zoo: Path
) -> None:
    save_language(engine, "sw", zoo / "tiny" / "swahili", name="swahili", run="a" * 16)
    assert resolve("lang:sw").text == "lang-sw"
    shutil.rmtree(zoo / "tiny" / "lang-sw")
    assert resolve("stack(tiny/lang:sw, squad)").text == "stack(swahili, squad)"
    save_language(engine, "sw", zoo / "tiny" / "kiswahili", name="kiswahili", run="b" * 16)
    with pytest.raises(UserError, match="choose from tiny/kiswahili, tiny/swahili"):
        resolve("lang:sw")


@pytest.fixture
def foreign(tiny_xlmr: Path, tmp_path: Path) -> Path:
    """A language adapter as AdapterHub's are, made by plain `adapters`."""
    torch.manual_seed(3)
    model = AutoAdapterModel.from_pretrained(tiny_xlmr)
    model.add_adapter("sw", config=SeqBnInvConfig(reduction_factor=2))
    for key, parameter in model.named_parameters():
        if "sw" in key.split("."):
            torch.nn.init.normal_(parameter, std=0.3)
    folder = tmp_path / "sw-wiki"
    model.save_adapter(str(folder), "sw", with_head=False, use_safetensors=True)
    return folder


def test_a_folder_of_plain_adapters_is_used_as_it_is(
    engine: Engine, zoo: Path, tiny_xlmr: Path, foreign: Path
) -> None:
    before = {path.name: path.read_bytes() for path in foreign.iterdir()}
    batch = token_batch(engine, "span")
    composed = load_composition(engine, "stack(./sw-wiki, squad)")
    assert composed.expression == "stack(sw-wiki, squad)"
    found = logits_of(forward(engine, batch), batch)
    expected = plain_logits(tiny_xlmr, foreign, zoo / "tiny/squad", batch)
    torch.testing.assert_close(found, expected)
    assert {path.name: path.read_bytes() for path in foreign.iterdir()} == before
    again = resolve("stack(squad, other)"), resolve("stack(./sw-wiki, squad)")
    assert again[1].identity == composed.identity
    with pytest.raises(UserError, match="acts only at the bottom"):
        resolve("stack(squad, ./sw-wiki)")


def test_a_damaged_folder_gets_one_line_that_names_it(engine: Engine, foreign: Path) -> None:
    (foreign / "adapter.safetensors").write_bytes(b"\0" * 20)
    with pytest.raises(UserError, match=r"sw-wiki/adapter.safetensors: damaged"):
        resolve("stack(./sw-wiki, squad)")
    (foreign / "adapter.safetensors").rename(foreign / "pytorch_adapter.bin")
    with pytest.raises(UserError, match="is a pickle"):
        resolve("stack(./sw-wiki, squad)")
    (foreign / "adapter_config.json").write_text("{}")
    with pytest.raises(UserError, match="sw-wiki"):
        resolve("stack(./sw-wiki, squad)")


def test_a_card_says_what_it_is_for(engine: Engine, zoo: Path) -> None:
    from huggingface_hub import ModelCard

    folder = zoo / "tiny" / "lang-sw"
    record = resolve("lang:sw").record
    write_card(record, folder, peft=False)
    card = ModelCard.load(folder / "README.md", ignore_metadata_errors=False)
    assert card.data.language == ["multilingual", "sw"]
    assert "train-language sw --text TEXT --recipe recipe.yaml" in card.text
    assert card.data.eval_results[0].task_type == "fill-mask"
