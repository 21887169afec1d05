"""Inputs for different modules in one batch: each gets what its module says of it alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from adapter_stilts import load
from adapter_stilts.backbones import find_backbone
from adapter_stilts.engine.engine import add_module, load_engine
from adapter_stilts.engine.methods import MethodOptions, get_method
from adapter_stilts.zoo import together
from adapter_stilts.zoo.local import load_resolved
from adapter_stilts.zoo.module import Module
from adapter_stilts.zoo.resolve import resolve
from adapter_stilts.zoo.together import can_mix
from evaluation_kit import fill_zoo
from together_kit import predict_together

TEXT = "Ann went to Rome in May. Bob stayed at home and read a book about sailing. "
INPUTS: Mapping[str, Mapping[str, Any]] = {
    "squad": {"question": "Who went to Rome?", "context": TEXT},
    "qa-lora": {"question": "Who stayed?", "context": TEXT * 6},  # several windows
    "stack(squad, qa)": {"question": "Where?", "context": TEXT},
    "stack(uniform(nli, squad), qa-lora)": {"question": "Who?", "context": TEXT},
    "stack(ties(nli, squad), qa-lora)": {"question": "Who?", "context": TEXT},
    "nli": {"text_a": "It rains.", "text_b": "It is wet."},
    "nli-lora": {"text_a": "It rains."},
    "copa-lora": {"prompt": "The cat", "options": ["sat.", "ate a book.", "swam.", "left."]},
    "pos": {"words": ["She", "reads", "."]},
    "pos-lora": {"words": [f"word{number}" for number in range(70)]},
}


@pytest.fixture(scope="module")
def mixed_zoo(tmp_path_factory: pytest.TempPathFactory, tiny_xlmr: Path) -> Path:
    zoo = tmp_path_factory.mktemp("zoo")
    fill_zoo(zoo, str(tiny_xlmr))
    return zoo


def loaded(names: Mapping[str, Any], backbone: Path) -> dict[str, Module]:
    """Every composition in one engine."""
    from adapter_stilts.backbones import find_backbone

    engine = load_engine(find_backbone(str(backbone)), precision="fp32", device=torch.device("cpu"))
    modules = {}
    for name in names:
        resolved = resolve(name)
        composed = load_resolved(engine, resolved)
        modules[name] = Module(engine, resolved.record, composed.name, composed)
    return modules


def close(one: Any, other: Any) -> bool:
    """Equal but for what another order of summing changes."""
    if isinstance(one, Mapping):
        return list(one) == list(other) and all(close(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(close, one, other))
    if isinstance(one, float):
        return bool(np.isclose(one, other, atol=2e-3))
    return bool(one == other)


@pytest.mark.whole
def test_every_input_gets_what_its_module_says_alone(
    mixed_zoo: Path, tiny_xlmr: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ADSTILTS_ZOO", str(mixed_zoo))
    modules = loaded(INPUTS, tiny_xlmr)
    passes = []
    hidden = together.mix_hidden

    def counted(engine: Any, batch: Any, parts: Any) -> Any:
        passes.append(len(parts))
        return hidden(engine, batch, parts)

    monkeypatch.setattr("adapter_stilts.zoo.together.mix_hidden", counted)
    order = [*INPUTS, *reversed(list(INPUTS))]
    found = predict_together([(modules[n], INPUTS[n]) for n in order], batch_tokens=100_000)
    assert passes == [len(INPUTS)]  # all of them in one forward pass
    small = predict_together([(modules[n], INPUTS[n]) for n in order], batch_tokens=300)
    assert len(passes) > 3
    for name, answer, other in zip(order, found, small, strict=True):
        alone = load(name, precision="fp32").predict_one(INPUTS[name])
        assert close(alone, answer), (name, alone, answer)
        assert close(alone, other), (name, alone, other)
    # Nothing stays behind: a module by itself still says the same.
    name = "stack(squad, qa)"
    again = predict_together([(modules[name], INPUTS[name])])
    assert close(again[0], load(name, precision="fp32").predict_one(INPUTS[name]))


def test_modules_outside_the_layers_are_not_mixed(tiny_xlmr: Path) -> None:
    from adapters import SeqBnInvConfig

    engine = load_engine(find_backbone(str(tiny_xlmr)), device=torch.device("cpu"))
    add_module(engine, "plain", get_method("bottleneck"), MethodOptions(), head="span")
    before = {key for key, _ in engine.model.named_parameters()}
    engine.model.add_adapter("sw", config=SeqBnInvConfig())
    engine.modules["sw"] = tuple(
        key for key, _ in engine.model.named_parameters() if key not in before
    )
    assert can_mix(engine, ["plain"])
    assert not can_mix(engine, ["sw"])
    assert not can_mix(engine, ["plain", "sw"])
