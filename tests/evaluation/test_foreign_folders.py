"""Folders of plain `adapters`, wherever they lie and whatever they are called, beside our own."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from adapters import AutoAdapterModel, LoRAConfig, SeqBnConfig, SeqBnInvConfig

from adapter_stilts import evaluate
from adapter_stilts.engine.engine import free_name
from adapter_stilts.errors import UserError
from adapter_stilts.zoo.resolve import resolve
from made_modules import LABELS, make_engine, make_module

NAMES = ("to", "type", "train", "keys", "stack", "a b", "a, b", "x(1)", "items", "_modules")


def save_plain(backbone: Path, folder: Path, config: Any = None, *, seed: int = 0) -> str:
    """An adapter with a head for NLI, as plain `adapters` saves it."""
    torch.manual_seed(seed)
    model = AutoAdapterModel.from_pretrained(backbone)
    model.add_adapter("mine", config=config or SeqBnConfig())
    labels = dict(enumerate(LABELS["classification"]))
    model.add_classification_head("mine", num_labels=len(labels), id2label=labels)
    for key, parameter in model.named_parameters():
        if "mine" in key.split("."):
            torch.nn.init.normal_(parameter, std=0.3)
    model.save_adapter(str(folder), "mine", with_head=True, use_safetensors=True)
    return str(folder)


def run(*compositions: str) -> list[dict[str, Any]]:
    found = evaluate("tiny-nli", compositions=compositions, langs="en,de", data="data", out="out")
    return [{language: each.scores[language] for language in each.scores} for each in found]


def test_own_and_plain_modules_are_compared(tiny: Path, tiny_xlmr: Path) -> None:
    """Plain modules name a backbone without a fingerprint: what loads them decides."""
    plain = save_plain(tiny_xlmr, tiny / "theirs")
    apart = [evaluate("tiny-nli", compositions=[each], langs="en,de", data="data", out=out)
             for each, out in (("nli", "a"), (plain, "b"))]  # fmt: skip
    expected = [dict(each.scores) for (each,) in apart]
    assert run("nli", plain) == expected
    assert run(plain, "nli") == expected[::-1]  # and goes on in the folders of the first call


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_may_be_called_anything(tiny: Path, tiny_xlmr: Path, name: str) -> None:
    plain = save_plain(tiny_xlmr, tiny / "one")
    expected = run(plain)
    other = Path(plain).rename(tiny / name)
    found = evaluate("tiny-nli", compositions=["nli-lora", str(other)], langs="en,de", data="data")
    assert [dict(found[1].scores)] == expected


@pytest.mark.parametrize(
    "config",
    [LoRAConfig(r=4), SeqBnInvConfig()],
    ids=["lora", "invertible"],
)
def test_whatever_the_method(tiny: Path, tiny_xlmr: Path, config: Any) -> None:
    plain = save_plain(tiny_xlmr, tiny / "one", config)
    expected = run(plain)
    other = Path(plain).rename(tiny / "type")
    found = evaluate("tiny-nli", compositions=[str(other)], langs="en,de", data="data", out="2")
    assert [dict(found[0].scores)] == expected


def test_a_path_with_spaces_within_a_composition(tiny: Path, tiny_xlmr: Path) -> None:
    (tiny / "my own, folder").mkdir()
    save_plain(tiny_xlmr, tiny / "my own, folder" / "to")
    assert resolve('stack("my own, folder/to", nli)').text == "stack(to, nli)"
    with pytest.raises(UserError, match="quotes"):
        resolve("stack(my own/to, nli)")
    with pytest.raises(UserError, match="no module 'my own/to'"):
        resolve("my own/to")
    (tiny / "empty, folder").mkdir()
    with pytest.raises(UserError, match="not a module"):
        resolve("empty, folder")
    with pytest.raises(UserError, match="character 5"):
        resolve("nli squad")


def test_every_pair_is_compared(tiny: Path, tiny_xlmr: Path, made_zoo: Path) -> None:
    """A plain module fits either of two backbones by its name; these two do not fit each other."""
    plain = save_plain(tiny_xlmr, tiny / "theirs")
    shutil.copytree(made_zoo / "tiny", tiny / "zoo" / "other")
    record = tiny / "zoo" / "other" / "nli-lora" / "module.json"
    about = json.loads(record.read_text())
    about["backbone"]["fingerprint"] = "0" * 16
    record.write_text(json.dumps(about))
    given = [plain, "nli", str(record.parent)]
    with pytest.raises(UserError, match=r"'nli' was made for backbone .* 'nli-lora'"):
        evaluate("tiny-nli", compositions=given, langs="en", data="data", out="out")
    with pytest.raises(UserError, match=r"'nli' was made for backbone .* 'nli-lora'"):
        resolve(f"stack({plain}, nli, {record.parent})")


def test_names_inside_the_engine(tiny_xlmr: Path) -> None:
    engine = make_engine(str(tiny_xlmr))
    for name in ("to", "half", "get", "v1.1", "a b", "a,b", "x(y)", "é", "squad"):
        make_module(engine, free_name(engine, name), "bottleneck", "classification")
    assert free_name(engine, "squad") == "squad_"
