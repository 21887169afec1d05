"""Fusions, learnt: what the library gets wrong is right here, and what cannot be learnt says so."""

from __future__ import annotations

import dataclasses
import logging
import math
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from training_kit import SHORT, Spy, spoil_fourth_loss  # type: ignore[import-not-found]

from adapter_stilts import fuse, load, train_target
from adapter_stilts.engine.engine import module_parameters
from adapter_stilts.engine.native import HEAD_WEIGHTS, NATIVE_WEIGHTS, PICKLES, fusion_weights_in
from adapter_stilts.errors import FailureError, UserError
from adapter_stilts.training import execute
from adapter_stilts.training.execute import add_module_of
from adapter_stilts.training.job import Job
from adapter_stilts.training.recipe import usual_rate
from adapter_stilts.training.run import Trained
from adapter_stilts.zoo.record import ModuleRecord
from adapter_stilts.zoo.resolve import resolve
from fusion_kit import copy_zoo

OPTIONS = {key: value for key, value in SHORT.items() if key != "task"}
LARGE = {**OPTIONS, "batch_examples": 16, "limit": 4, "dev_limit": 4}
Worker = Callable[..., list[int]]


@pytest.fixture
def filled(tiny_xlmr: Path, zoo: Path) -> Path:
    """A zoo with `sw`, `squad` on it, `mnli` and `qa`."""
    copy_zoo(str(tiny_xlmr), zoo / "tiny", "bottleneck")
    return zoo / "tiny"


@pytest.fixture
def loras(tiny_xlmr: Path, zoo: Path) -> Path:
    """The same, as LoRAs."""
    copy_zoo(str(tiny_xlmr), zoo / "tiny", "lora")
    return zoo / "tiny"


def _learn(*sources: str, **changes: Any) -> Trained:
    return fuse(sources, "tydiqa", **{**LARGE, **changes})


def _contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.safetensors")}


def test_found_again_by_what_it_fuses(filled: Path) -> None:
    trained = _learn("qa", "stack(sw, squad)", "mnli")
    assert trained.record.composition == "fuse(mnli, qa, stack(sw, squad))"
    assert trained.path.name == "tydiqa-fusion-lean-on-fuse-mnli-qa-stack-sw-squad"
    found = resolve("fuse(stack(sw, squad), qa, mnli)")
    assert found.record.run == trained.record.run
    above = train_target("tydiqa", on="fuse(qa, mnli, stack(sw, squad))", **LARGE)
    assert above.record.composition == "stack(fuse(mnli, qa, stack(sw, squad)), tydiqa)"
    module = load(above.path, precision="fp32")
    assert module.answer("Who?", "Ada lives in Rome.")["answer"]
    assert set(module.engine.fusions) == {trained.record.name}


@pytest.mark.parametrize(
    ("method", "given", "rate"),
    [
        ("bottleneck", {"steps": 500}, usual_rate("fusion-lean", 500)),
        ("lora", {"steps": 500}, usual_rate("fusion-lean", 500, over_loras=True)),
        ("lora", {"kind": "uniform"}, usual_rate("fusion-uniform", 1)),
        ("lora", {"lr": 2e-4}, 2e-4),
    ],
)
def test_the_learning_rate_is_the_usual_one_unless_given(
    tiny_xlmr: Path,
    zoo: Path,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    given: dict[str, Any],
    rate: float,
) -> None:
    copy_zoo(str(tiny_xlmr), zoo / "tiny", method)
    planned = []

    def run(job: Job, *args: Any, **kwargs: Any) -> None:
        planned.append(job.recipe.lr)
        raise KeyboardInterrupt

    monkeypatch.setattr(execute, "_run", run)
    with pytest.raises(KeyboardInterrupt):
        _learn("qa", "mnli", **given)
    assert planned == [rate]


def test_the_order_of_names_makes_no_other_run(filled: Path, tmp_path: Path) -> None:
    one = _learn("qa", "mnli", out=tmp_path / "one")
    other = _learn("mnli", "qa", out=tmp_path / "other")
    assert one.record.run == other.record.run
    assert _contents(one.path) == _contents(other.path)
    third = _learn("mnli", "sw", out=tmp_path / "third")
    assert third.record.run != one.record.run


def _head(folder: Path) -> dict[str, torch.Tensor]:
    tensors = load_file(folder / HEAD_WEIGHTS)
    return {".".join(key.split(".")[2:]): value for key, value in tensors.items()}


@pytest.mark.parametrize("fresh", [False, True])
def test_the_head_starts_from_the_first_source_that_suits(filled: Path, fresh: bool) -> None:
    trained = _learn("mnli", "qa", lr=1e-9, fresh_head=fresh)
    given, learnt = _head(filled / "mnli"), _head(trained.path)
    assert given.keys() == learnt.keys()
    same = all(torch.allclose(given[key], learnt[key], atol=1e-5) for key in given)
    assert same is not fresh


def test_all_there_is_of_a_kind(filled: Path) -> None:
    shutil.rmtree(filled / "mnli")
    own = ModuleRecord.read(filled / "sw")
    dataclasses.replace(own, task="squad-v2").write(filled / "sw")
    trained = fuse("all", "tydiqa", **{**LARGE, "kind": "uniform"})
    assert trained.record.composition == "fuse(qa, sw)"  # squad stands on another
    with pytest.raises(UserError, match="at least 2 lora modules"):
        fuse("all", "tydiqa", method="lora", **LARGE)


def test_nothing_but_fusion_and_head_learns(filled: Path, spy: Spy) -> None:
    before = {path: path.read_bytes() for path in filled.rglob("*.safetensors")}
    _learn("qa", "mnli", kind="full", report_to="spy")
    assert spy.names and all(
        ".adapter_fusion_layer.tydiqa-fusion-full." in name or name.startswith("heads.tydiqa-")
        for name in spy.names
    )
    assert all(path.read_bytes() == content for path, content in before.items())


def test_weight_decay_spares_the_value_matrix(filled: Path, spy: Spy) -> None:
    _learn("qa", "mnli", kind="full", report_to="spy", weight_decay=0.1)
    names = {id(parameter): key for key, parameter in spy.seen["model"].named_parameters()}
    decay = {
        names[id(parameter)]: group["weight_decay"]
        for group in spy.seen["optimizer"].param_groups
        for parameter in group["params"]
    }
    assert set(decay) == spy.names
    values = {key: each for key, each in decay.items() if key.endswith(".value.weight")}
    others = {
        key: each for key, each in decay.items() if key.endswith((".query.weight", ".key.weight"))
    }
    assert len(values) == 3 and set(values.values()) == {0.0}
    assert len(others) == 6 and set(others.values()) == {0.1}


def test_the_value_matrix_is_held_near_the_identity(filled: Path, tmp_path: Path) -> None:
    trained = _learn("qa", "mnli", kind="full", lr=1e-3)
    tensors = load_file(trained.path / NATIVE_WEIGHTS)
    values = [tensor for key, tensor in tensors.items() if key.endswith(".value.weight")]
    assert values and all((each - torch.eye(32)).abs().max() < 0.02 for each in values)
    assert any(not torch.equal(each, torch.eye(32) + 1e-6) for each in values)


@pytest.mark.parametrize("best", [0, 1, 2])
def test_the_head_is_restored_with_the_best_step(
    filled: Path, spy: Spy, monkeypatch: pytest.MonkeyPatch, best: int
) -> None:
    scores = [float(number == best) for number in range(3)]
    monkeypatch.setattr(Job, "dev_scores", lambda self: {"f1": scores.pop(0)})
    options = {"epochs": 3, "evaluations": 3, "patience": 0, "report_to": "spy"}
    trained = _learn("qa", "mnli", kind="full", **options)
    assert trained.record.best_step == (best + 1) * trained.record.steps // 3
    then = spy.layers[trained.record.best_step]
    saved = load_file(trained.path / NATIVE_WEIGHTS)
    for key, tensor in load_file(trained.path / HEAD_WEIGHTS).items():
        assert torch.equal(tensor, then[key])
        assert best == 2 or not torch.equal(tensor, spy.layers[-1][key])
    for key in (name for name in then if "fusion_layer" in name):
        assert torch.equal(saved[key], then[key])


def test_killed_and_resumed_it_ends_with_the_same_weights(
    filled: Path, worker: Worker, tmp_path: Path
) -> None:
    settings = {
        **OPTIONS,
        "sources": [str(filled / "qa"), str(filled / "mnli")],
        "target": "tydiqa",
        "kind": "full",
        "limit": 8,
        "head_dropout": 0.2,
        "accumulate": 2,
    }
    calm = {**settings, "out": str(tmp_path / "calm" / "module")}
    killed = {**settings, "out": str(tmp_path / "killed" / "module")}
    (tmp_path / "calm").mkdir()
    (tmp_path / "killed").mkdir()
    assert worker(calm, trains="fusion") == [0]
    codes = []
    for event in (6, 11, 15, 20):
        more = {"stop": {"event": event}, "save_seconds": 0.0, "trains": "fusion"}
        codes += worker({**killed, "resume": True}, **more)
    assert codes.count(-signal.SIGKILL) >= 3
    assert any((tmp_path / "killed").glob("module.unfinished/checkpoint-*"))
    assert worker({**killed, "resume": True}, trains="fusion") == [0]
    assert _contents(Path(killed["out"])) == _contents(Path(calm["out"]))


def test_nothing_is_pickled(filled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execute, "SAVE_SECONDS", 0.0)
    monkeypatch.setattr("adapter_stilts.training.finish.discard", lambda work: None)
    trained = _learn("qa", "mnli", kind="full")
    assert list(trained.path.parent.glob("*.unfinished/checkpoint-*/optimizer.safetensors"))
    for pattern in PICKLES:
        assert not list(trained.path.parent.rglob(pattern))


@pytest.mark.parametrize("factor", [math.nan, math.inf])
def test_a_fusion_that_diverges_stops_and_keeps_the_last_good_checkpoint(
    filled: Path, monkeypatch: pytest.MonkeyPatch, factor: float
) -> None:
    spoil_fourth_loss(monkeypatch, factor)
    monkeypatch.setattr(execute, "SAVE_SECONDS", 0.0)
    with pytest.raises(FailureError) as raised:
        _learn("qa", "mnli", epochs=4, lr=3e-3)
    message = str(raised.value)
    assert message.startswith("the training diverged at step 4 (loss ") and "\n" not in message
    assert "lower --lr (now 0.003)" in message
    (folder,) = filled.parent.glob("*/tydiqa-fusion-lean-on-fuse-mnli-qa.unfinished/checkpoint-3")
    assert message.endswith(f"the last good checkpoint is kept in {folder}")
    kept = load_file(folder / "module.safetensors")
    assert kept and all(bool(tensor.isfinite().all()) for tensor in kept.values())


def test_small_batches_are_warned_of(filled: Path, caplog: pytest.LogCaptureFixture) -> None:
    def told(**changes: Any) -> list[str]:
        caplog.clear()
        with caplog.at_level(logging.WARNING, logger="adapter_stilts"):
            _learn("qa", "mnli", **{"kind": "shared", "overwrite": True, **changes})
        return [text for text in caplog.messages if "fusion is known to diverge" in text]

    (text,) = told(batch_examples=4)
    assert text.startswith("4 examples a step") and "under 16" in text and "--accumulate" in text
    (text,) = told(batch_tokens=64 * 5)  # examples are whole windows: few fit
    assert int(text.split()[0]) < 16
    assert not told(batch_examples=4, accumulate=4)
    assert not told()
    assert not told(batch_examples=4, kind="uniform")  # of which only the head learns


def test_loras(loras: Path) -> None:
    trained = _learn("qa", "stack(sw, squad)", kind="full")
    assert trained.record.composition == "fuse(qa, stack(sw, squad))"
    module = load("fuse(stack(sw, squad), qa)", precision="fp32")
    assert module.answer("Who?", "Ada lives in Rome.")["answer"]
    with pytest.raises(UserError, match="a fusion of LoRAs cannot be shared"):
        _learn("qa", "mnli", kind="shared")


def test_on_top_of_modules_weighed_the_same(filled: Path) -> None:
    above = train_target("tydiqa", on="uniform(qa, mnli)", **LARGE)
    assert above.record.composition == "stack(uniform(mnli, qa), tydiqa)"
    assert above.path.name == "tydiqa-on-uniform-mnli-qa"
    module = load("stack(uniform(qa, mnli), tydiqa)", precision="fp32")
    assert module.record.run == above.record.run
    assert module.answer("Who?", "Ada lives in Rome.")["answer"]
    alone = load("uniform(qa, mnli)", precision="fp32")
    assert alone.embed(["Ada lives in Rome."]).shape == (1, 32)
    with pytest.raises(UserError, match=r"'uniform\(mnli, qa\)' has no head"):
        alone.answer("Who?", "Ada lives in Rome.")


@pytest.mark.parametrize(
    ("sources", "target", "options", "what"),
    [
        (["qa", "mnli"], "tatoeba", {}, "no training data to learn a fusion on: evaluate it with"),
        (["qa", "mnli"], "bucc2018", {}, '--with "uniform(mnli, qa)"'),
        (["qa", "mnli"], None, {}, "name one with --target"),
        (["qa", "mnli"], None, {"kind": "uniform"}, '"uniform(mnli, qa)" needs no training'),
        (["qa", "mnli"], "tydiqa", {"kind": "leen"}, "no kind of fusion 'leen': did you mean"),
        (["qa", "mnli"], "tydiqa", {"method": "lora"}, "a fusion has no method"),
        (["qa", "mnli"], "tydqa", {}, "no target task 'tydqa': did you mean 'tydiqa'?"),
        (["qa", "qa"], "tydiqa", {}, "'qa' is named twice"),
        (["qa", "mnly"], "tydiqa", {}, "no module 'mnly': did you mean 'mnli'?"),
        (["qa", "stack(sw,, squad)"], "tydiqa", {}, "character 10"),
    ],
)
def test_what_cannot_be_learnt(
    filled: Path, sources: list[str], target: str | None, options: dict[str, Any], what: str
) -> None:
    with pytest.raises(UserError) as raised:
        fuse(sources, target, **options)
    assert what in str(raised.value) and "\n" not in str(raised.value)


@pytest.mark.parametrize("kind", ["full", "lean", "uniform"])
def test_a_target_of_two_stages_is_learnt_in_both(
    filled: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    began: list[dict[str, torch.Tensor]] = []

    def add(job: Job) -> None:
        add_module_of(job)
        own = module_parameters(job.engine, job.name)
        began.append({key: value.detach().clone() for key, value in own.items()})

    monkeypatch.setattr(execute, "add_module_of", add)
    trained = fuse(["mnli", "qa"], "xcopa", kind=kind, steps=4, **LARGE)
    stage = trained.path.with_name(f"{trained.path.name}.social-iqa")
    assert _same_values(began[1], {**_tensors(stage, fusion_weights_in(stage)), **_tensors(stage)})
    assert not _same_values(began[0], began[1])
    earlier = ModuleRecord.read(stage)
    assert (earlier.task, trained.record.task) == ("social-iqa", "xcopa")
    assert trained.record.seconds > earlier.seconds > 0
    again = fuse(["mnli", "qa"], "xcopa", kind=kind, steps=4, **LARGE, resume=True)
    assert again.record == trained.record and len(began) == 2


def _tensors(folder: Path, name: str = HEAD_WEIGHTS) -> dict[str, torch.Tensor]:
    path = folder / name
    return load_file(path) if path.is_file() else {}


def _same_values(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    """Whether both hold the same tensors; the modules' names differ between stages."""
    sums = [
        sorted((tuple(v.shape), float(v.double().sum())) for v in d.values()) for d in (one, other)
    ]
    return sums[0] == sums[1]


def test_arrow_learns_its_head_alone(loras: Path) -> None:
    trained = _learn("qa", "stack(sw, squad)", "mnli", kind="arrow")
    assert trained.record.method == "fusion-arrow"
    assert trained.record.recipe["lr"] == usual_rate("fusion-arrow", 1)
    assert not load_file(trained.path / fusion_weights_in(trained.path))
    module = load("fuse(qa, stack(sw, squad), mnli)", precision="fp32")
    assert module.answer("Who?", "Ada lives in Rome.")["answer"]
    above = train_target("tydiqa", on="arrow(qa, mnli)", **LARGE)
    assert above.record.composition == "stack(arrow(mnli, qa), tydiqa)"
    assert load(above.path, precision="fp32").answer("Who?", "Ada lives in Rome.")["answer"]
    with pytest.raises(UserError, match=r'"arrow\(mnli, qa\)" needs no training'):
        fuse(["qa", "mnli"], None, kind="arrow")


def test_arrow_chooses_among_loras(filled: Path) -> None:
    with pytest.raises(UserError, match="arrow chooses among LoRAs"):
        _learn("qa", "mnli", kind="arrow")
