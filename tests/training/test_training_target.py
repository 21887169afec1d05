"""Target modules stacked on others."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from training_kit import SHORT, Weights  # type: ignore[import-not-found]

from adapter_stilts import load, train_adapter, train_target
from adapter_stilts.errors import UserError
from adapter_stilts.zoo.resolve import resolve

OPTIONS = {key: value for key, value in SHORT.items() if key != "task"}
OPTIONS |= {"limit": 6, "dev_limit": 4}  # a question is cut into a dozen windows


@pytest.fixture
def squad(tiny_xlmr: Path, zoo: Path) -> Any:
    """A module for SQuAD in the zoo."""
    return train_adapter("squad", **{**OPTIONS, "backbone": str(tiny_xlmr)})


def test_stacked_on_a_module(squad: Any, weights: Callable[[Path], Weights]) -> None:
    before = weights(squad.path)
    stacked = train_target("tydiqa", on="squad", **OPTIONS)
    assert stacked.path == squad.path.parent / "tydiqa-on-squad"
    assert stacked.record.composition == "stack(squad, tydiqa)"
    assert stacked.record.bases["squad"]["run"] == squad.record.run
    after = weights(squad.path)
    assert all(torch.equal(before[key], after[key]) for key in before)
    module = load("stack(squad, tydiqa)", precision="fp32")
    assert set(module.engine.modules) == {"squad", "tydiqa"}
    assert module.answer("Who?", "Ada lives in Rome.")["answer"]


def test_the_baseline_is_another_run(squad: Any, tiny_xlmr: Path) -> None:
    alone = train_target("tydiqa", backbone=str(tiny_xlmr), **OPTIONS)
    stacked = train_target("tydiqa", on="squad", **OPTIONS)
    assert alone.path.name == "tydiqa" and alone.record.composition == "tydiqa"
    assert alone.record.run != stacked.record.run
    assert str(resolve("tydiqa").expression) == "tydiqa"


def test_the_head_starts_from_the_one_below(
    squad: Any, weights: Callable[[Path], Weights], tmp_path: Path
) -> None:
    still = {**OPTIONS, "lr": 1e-12, "evaluations": 1}
    kept = train_target("tydiqa", on="squad", **{**still, "out": tmp_path / "kept"})
    fresh = train_target(
        "tydiqa", on="squad", fresh_head=True, **{**still, "out": tmp_path / "fresh"}
    )

    def head(folder: Path) -> list[torch.Tensor]:
        return [value for key, value in sorted(weights(folder).items()) if "heads." in key]

    below, first, other = head(squad.path), head(kept.path), head(fresh.path)
    assert below and len(below) == len(first) == len(other)
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(below, first, strict=True))
    assert not torch.allclose(below[0], other[0], atol=1e-3) or not torch.allclose(
        below[-1], other[-1], atol=1e-3
    )
    assert kept.record.run != fresh.record.run


def test_lora_on_bottleneck(squad: Any) -> None:
    stacked = train_target("tydiqa", on="squad", method="lora", **OPTIONS)
    assert stacked.record.composition == "stack(squad, tydiqa-lora)"
    assert load(stacked.path, precision="fp32").answer("Who?", "Ada lives in Rome.")["answer"]


def test_stages_of_xcopa(zoo: Path, tiny_xlmr: Path, weights: Callable[[Path], Weights]) -> None:
    trained = train_target("xcopa", backbone=str(tiny_xlmr), **OPTIONS)
    stage = trained.path.with_name("xcopa.social-iqa")
    assert stage.is_dir() and trained.record.task == "xcopa"
    first = weights(stage)
    last = weights(trained.path)
    assert {value.shape for value in first.values()} == {value.shape for value in last.values()}


def test_own_training_rows(zoo: Path, tiny_xlmr: Path, tmp_path: Path) -> None:
    rows = tmp_path / "translated.jsonl"
    made = [
        {"premise": f"Der Hund {n} schläft.", "hypothesis": "Er ruht.", "label": n % 3}
        for n in range(20)
    ]
    rows.write_text("\n".join(json.dumps(row) for row in made), encoding="utf-8")
    trained = train_target(
        "xnli", backbone=str(tiny_xlmr), train_file=rows, **{**OPTIONS, "limit": None}
    )
    assert trained.record.data["train"]["examples"] == len(made)
    assert trained.record.data["train"]["origin"] == str(rows)


def test_what_cannot_be_trained(zoo: Path, tiny_xlmr: Path) -> None:
    with pytest.raises(UserError, match="no target task 'tydqa': did you mean 'tydiqa'"):
        train_target("tydqa", backbone=str(tiny_xlmr))
    with pytest.raises(UserError, match="has no training data"):
        train_target("tatoeba", backbone=str(tiny_xlmr))
    with pytest.raises(UserError, match="no language 'xx'"):
        train_target("xquad", source_lang="xx", backbone=str(tiny_xlmr))
    with pytest.raises(UserError, match="training data of xquad is in en, not in 'ha'"):
        train_target("xquad", source_lang="ha", backbone=str(tiny_xlmr))
    with pytest.raises(UserError, match="no module 'squad'"):
        train_target("tydiqa", on="squad")
    with pytest.raises(UserError, match=r"nowhere\.jsonl' is not there"):
        train_target("xnli", train_file="nowhere.jsonl", backbone=str(tiny_xlmr))
