"""Searched merges: of modules from made zoos, on the bundled samples."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from adapter_stilts import load, merge, train_multitask, train_target
from adapter_stilts.data.load import load_examples
from adapter_stilts.engine.engine import activate_block, module_parameters
from adapter_stilts.engine.native import read_head
from adapter_stilts.errors import UserError
from adapter_stilts.tasks.registry import get_target
from adapter_stilts.training.merge import Plan, fits
from adapter_stilts.training.merge_modules import _batches, mean_loss
from adapter_stilts.training.options import MergeRequest
from adapter_stilts.zoo.local import save_module
from adapter_stilts.zoo.resolve import resolve
from made_modules import make_engine, make_module, make_record

MODULES: Any = {
    "squad": ("bottleneck", "span"),
    "squad-v2": ("bottleneck", "span"),
    "mnli": ("bottleneck", "classification"),
    "squad-lora": ("lora", "span"),
    "mnli-lora": ("lora", "classification"),
}
SEARCH: Any = {"search": True, "data": "sample", "examples": 12, "precision": "fp32", "quiet": True}


@pytest.fixture(scope="module")
def made(tiny_xlmr: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A zoo of modules of two kinds."""
    zoo = tmp_path_factory.mktemp("search-zoo")
    engine = make_engine(str(tiny_xlmr))
    for seed, (name, (method, head)) in enumerate(MODULES.items()):
        make_module(engine, name, method, head, seed=seed)
        record = make_record(engine, name, method, head, run=f"{seed:016x}")
        if name == "squad-v2":
            record = make_record(engine, name, method, head, run="f" * 16, task="squad-v2")
        save_module(engine, record, head, zoo / "tiny" / name)
    return zoo


@pytest.fixture
def filled(made: Path, zoo: Path) -> Path:
    """A copy of it, as the zoo."""
    return Path(shutil.copytree(made, zoo)) / "tiny"


def _plan(target: str) -> Plan:
    asked = MergeRequest(examples=12, budget=14, data="sample", precision="fp32", quiet=True)
    return Plan(get_target(target), asked)


def test_searched_weights_lower_the_loss_and_are_found_again(filled: Path) -> None:
    made = merge(["squad", "mnli"], target="xnli", budget=30, **SEARCH)
    found = made.record.merged["search"]
    assert made.path.name == "task-arithmetic-mnli-squad"
    assert made.record.head == "classification" and made.record.merged["head"]["name"] == "mnli"
    before, after = found["penalised"]
    assert after < before - 0.005
    assert before == pytest.approx(found["loss_before"] + 0.05 / 2)  # from the mean: 1/2 each
    weights = made.record.merged["weights"].values()
    assert after == pytest.approx(found["loss_after"] + 0.05 * sum(map(abs, weights)) / 2)
    assert (found["evaluations"], found["examples"]) == (25, 12)
    # What was written has the loss that was recorded, and the weights.
    module = load(made.path, precision="fp32")
    batches = _batches(module.engine, module.name, _plan("xnli"))
    assert mean_loss(module.engine, batches) == pytest.approx(found["loss_after"], abs=1e-5)
    written = made.record.merged["expression"]
    assert written == resolve(written).record.name
    assert list(made.record.merged["weights"].values()) == list(found["weights"])
    again = merge(["mnli", "squad"], target="xnli", budget=30, name="again", **SEARCH)
    assert again.record.merged == made.record.merged
    assert again.record.run == made.record.run
    other = merge(["mnli", "squad"], target="xnli", budget=30, name="other", seed=1, **SEARCH)
    assert other.record.merged["weights"] != made.record.merged["weights"]
    assert "evaluations the loss went from" in (made.path / "README.md").read_text("utf-8")


@pytest.mark.parametrize(
    ("how", "lora"),
    [("linear", "products"), ("ties", "factors"), ("ties", "products"), ("slerp", "products")],
)
def test_every_way_can_be_searched(filled: Path, how: str, lora: str) -> None:
    made = merge(
        ["squad-lora", "mnli-lora"], how=how, lora=lora, target="tydiqa", budget=14, **SEARCH
    )
    found = made.record.merged["search"]
    before, after = found["penalised"]
    assert after <= before and found["evaluations"] > 5
    if how in ("linear", "slerp"):
        assert sum(made.record.merged["weights"].values()) == pytest.approx(1)
    module = load(made.path, precision="fp32")
    batches = _batches(module.engine, module.name, _plan("tydiqa"))
    assert mean_loss(module.engine, batches) == pytest.approx(found["loss_after"], abs=1e-4)


def test_the_head_that_is_nearest_the_target(filled: Path) -> None:
    made = merge(["squad", "squad-v2", "mnli"], target="mlqa", budget=10, **SEARCH)
    assert made.record.merged["head"]["name"] == "squad-v2"
    chosen = merge(
        ["squad", "squad-v2"], head="squad", name="chosen", target="mlqa", budget=10, **SEARCH
    )
    assert chosen.record.merged["head"]["name"] == "squad"
    with pytest.raises(UserError, match=r"the head of 'mnli' \(classification\) does not fit mlqa"):
        merge(["squad", "mnli"], head="mnli", name="no", target="mlqa", budget=10, **SEARCH)


def test_sentence_vectors_need_no_head(filled: Path) -> None:
    made = merge(["squad", "mnli"], target="lareqa", budget=8, name="mix", **SEARCH)
    before, after = made.record.merged["search"]["penalised"]
    assert after <= before
    assert made.record.head == "none" and "head" not in made.record.merged


def test_labels_and_choices_decide_whether_a_head_fits(filled: Path) -> None:
    reference = resolve("mnli").modules["mnli"]
    assert read_head(reference.folder)[0] == ("entailment", "neutral", "contradiction")
    assert fits(reference, _plan("xnli"))
    assert not fits(reference, _plan("pawsx"))
    assert not fits(reference, _plan("tydiqa"))


def test_a_head_is_trained_where_no_source_has_one(
    filled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adapter_stilts.training.merge.HEAD_EXAMPLES", 40)
    made = merge(["squad", "mnli"], target="pawsx", budget=10, name="mix", **SEARCH)
    record = made.record
    assert (record.task, record.head) == ("pawsx", "classification")
    assert record.merged["head"]["name"] == "pawsx-head"
    before, after = record.merged["search"]["penalised"]
    assert after <= before
    assert sorted(path.name for path in filled.parent.glob("*/*")) == sorted([*MODULES, "mix"])
    assert set(load(made.path).classify("a", "b")) == set(get_target("pawsx").labels)


def test_heads_of_a_module_of_several_tasks(filled: Path, tiny_xlmr: Path) -> None:
    options: Any = {"data": "sample", "limit": 8, "dev_limit": 4, "epochs": 1, "max_length": 64}
    options |= {"evaluations": 1, "precision": "fp32", "quiet": True, "backbone": str(tiny_xlmr)}
    multi = train_multitask("mnli,squad", out=filled / "multi", **options)
    made = merge(["multi", "squad-v2"], head="multi:mnli", name="mix")
    assert (made.record.task, made.record.heads) == ("mnli", {})
    assert made.record.merged["head"] == {
        "name": "multitask",
        "task": "mnli",
        "run": multi.record.run,
    }
    assert set(load("mix").classify("a", "b")) == {"entailment", "neutral", "contradiction"}
    with pytest.raises(UserError, match="no head of a source 'multitask'"):
        merge(["multi", "squad-v2"], head="multitask", name="other")
    found = merge(["multi", "squad-v2"], target="xnli", budget=8, name="found", **SEARCH)
    assert found.record.merged["head"]["task"] == "mnli"


def test_a_target_is_learnt_on_top_of_a_merge(filled: Path) -> None:
    options: Any = {
        "data": "sample",
        "limit": 8,
        "dev_limit": 4,
        "epochs": 1,
        "max_length": 64,
        "evaluations": 1,
        "precision": "fp32",
        "quiet": True,
    }
    trained = train_target("tydiqa", on="ties(squad, mnli, density=0.3)", **options)
    assert trained.record.composition == "stack(ties(mnli, squad, density=0.3), tydiqa)"
    assert set(trained.record.bases) == {"squad", "mnli"}
    module = load(trained.path, precision="fp32")
    assert module.answer("Who?", "Ada lives in Rome.")["answer"]
    below = next(name for name in module.engine.modules if name.startswith("merged-"))
    assert len(module_parameters(module.engine, below)) == 12
    merge(["squad", "mnli"], name="mix")
    on_written = train_target("tydiqa", on="mix", **options)
    assert on_written.record.composition == "stack(mix, tydiqa)"


def test_a_rare_tag_that_the_head_lacks(filled: Path, tiny_xlmr: Path) -> None:
    engine = make_engine(str(tiny_xlmr))
    make_module(engine, "pos", "bottleneck", "tagging")
    with pytest.raises(UserError, match="no example of udpos has only tags"):
        _batches(engine, "pos", _plan("udpos"))


def test_the_loss_is_the_mean_over_rows(filled: Path) -> None:
    module = load("mnli", precision="fp32")
    plan = _plan("xnli")
    batches = _batches(module.engine, module.name, plan)
    activate_block(module.engine, module.name, module.name)
    found = mean_loss(module.engine, batches)
    task = plan.task
    examples = load_examples(task, "train", "sample", limit=12, seed=0).examples
    record = dataclasses.replace(module.record, recipe={"max_length": 128, "stride": 0})
    scores = dataclasses.replace(module, record=record).predict(list(examples)).scores
    assert scores is not None
    right = torch.tensor([row[label] for row, label in zip(scores, examples["label"], strict=True)])
    assert found == pytest.approx(float(-right.log().mean()), abs=1e-4)
