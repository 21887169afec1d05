"""Modules weighed the same, and Arrow: what a target without training data can have."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from adapter_stilts import evaluate, load
from adapter_stilts.errors import UserError


def test_sentence_vectors_need_no_training(tiny: Path) -> None:
    names = ["uniform(squad, qa-all)", "uniform(qa-all, squad)", "squad", "qa-all"]
    found = evaluate("tatoeba", compositions=names, langs="de", data="sample", layer=3)
    assert [each.composition for each in found] == ["uniform(qa-all, squad)", "squad", "qa-all"]
    assert all(each.scores["de"] for each in found)
    mean, *sources = (load(each.composition, precision="fp32").embed(["Sun."]) for each in found)
    assert all(np.abs(mean - each).max() > 1e-3 for each in sources)


def test_there_is_no_head(tiny: Path) -> None:
    with pytest.raises(UserError, match=r"'uniform\(qa, squad\)' has no head, and tiny-qa needs"):
        evaluate("tiny-qa", compositions=["uniform(squad, qa)"], data="data")


def test_arrow_needs_no_training(tiny: Path) -> None:
    names = ["arrow(qa-lora, nli-lora)", "qa-lora", "nli-lora", "uniform(qa-lora, nli-lora)"]
    found = evaluate("tatoeba", compositions=names, langs="de", data="sample", layer=3)
    assert found[0].composition == "arrow(nli-lora, qa-lora)"
    vectors = [load(each.composition, precision="fp32").embed(["Sun."]) for each in found]
    assert all(np.abs(vectors[0] - each).max() > 1e-3 for each in vectors[1:])


def test_arrow_below_a_module_answers(tiny: Path) -> None:
    text = "stack(arrow(nli-lora, pos-lora), qa-lora)"
    (found,) = evaluate("tiny-qa", compositions=[text], langs="ko", data="data")
    assert found.composition == text and found.languages["ko"]
    module = load(text, precision="fp32")
    assert module.answer("Who?", "Ada lives in Rome.")["answer"]
    with pytest.raises(UserError, match=r"'qa' \(bottleneck\) is no LoRA"):
        load("arrow(qa, qa-lora)")
    with pytest.raises(UserError, match=r"has no head, and tiny-qa needs"):
        evaluate("tiny-qa", compositions=["arrow(qa-lora, nli-lora)"], data="data")
