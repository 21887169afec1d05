"""A training from its arguments to the module on disk: what is kept, scored and recorded."""

from __future__ import annotations

import dataclasses
import json
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import torch
from training_kit import Spy, Train, Weights  # type: ignore[import-not-found]
from transformers import TrainerControl, TrainerState, TrainingArguments
from transformers.integrations import integration_utils

from adapter_stilts import backbones, features
from adapter_stilts.backbones import find_backbone
from adapter_stilts.backbones.tokenizer import build_tokenizer
from adapter_stilts.engine import attention
from adapter_stilts.engine.engine import load_engine, module_parameters
from adapter_stilts.errors import InterruptedTrainingError, UserError
from adapter_stilts.heads.base import Example
from adapter_stilts.tasks.registry import get_task
from adapter_stilts.tasks.spec import Row
from adapter_stilts.training import execute
from adapter_stilts.training.callbacks import EvaluationSchedule
from adapter_stilts.training.checkpoint import write_manifest
from adapter_stilts.training.job import Job
from adapter_stilts.training.recipe import usual_rate
from adapter_stilts.training.trainer import without_walks
from adapter_stilts.zoo.provenance import command_text
from adapter_stilts.zoo.record import RECORD, ModuleRecord
from adapter_stilts.zoo.resolve import load

Script = Callable[[list[float]], list[Weights]]


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Script:
    """Sets the dev scores to come; returns the weights that each of them was given to."""

    def prepare(scores: list[float]) -> list[Weights]:
        scored: list[Weights] = []
        coming: Iterator[float] = iter(scores)

        def score(job: Job) -> dict[str, float]:
            found = module_parameters(job.engine, job.name)
            scored.append({name: value.detach().clone() for name, value in found.items()})
            return {"accuracy": next(coming)}

        monkeypatch.setattr(Job, "dev_scores", score)
        return scored

    return prepare


def same(one: Weights, other: Weights) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def test_an_edited_task_is_learnt_anew(train: Train, tmp_path: Path) -> None:
    """Neither features nor a run of the task as it was are taken for those of the edited one."""
    task = get_task("mnli")

    def edited(row: Row) -> Example | None:
        found = task.to_example(row)
        return found and {**found, "text_b": "", "label": 2}

    spec = dataclasses.replace(task, to_example=edited)
    before = train()
    assert train(resume=True).record.created == before.record.created
    with pytest.raises(UserError, match="a module lies at"):
        train(task=spec, resume=True)
    after = train(task=spec, out=tmp_path / "edited", lr=1e-2, limit=None)
    assert after.record.data["train"]["fingerprint"] != before.record.data["train"]["fingerprint"]
    assert after.record.scores["accuracy"] == 100.0  # all labels are one now


def test_bad_rows_are_left_out_where_one_says_so(train: Train, tmp_path: Path) -> None:
    def asked(name: str, start: int) -> dict[str, Any]:
        answers = [{"text": "Lund", "answer_start": start}]
        return {"id": name, "question": "Where?", "answers": answers}

    questions = [asked(str(number), 15 if number % 4 else 14) for number in range(16)]
    paragraph = {"context": "Marta lives in Lund today.", "qas": questions}
    for split in ("train", "dev"):
        content = json.dumps({"data": [{"title": "t", "paragraphs": [paragraph]}]})
        (tmp_path / f"{split}-v1.1.json").write_text(content)
    settings = {"task": "squad", "data": str(tmp_path), "limit": None}
    with pytest.raises(UserError, match=r"'Lund' is not at its offset 14.*; 3 more.*--skip-bad-r"):
        train(**settings)
    record = train(**settings, skip_bad_rows=True).record
    assert record.data["train"]["examples"] == 12
    assert record.data["dev"]["parts"][0]["rows_kept"] == 16
    assert "--skip-bad-rows" in command_text(record)


def test_edited_features_are_learnt_anew(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = train()
    monkeypatch.setattr(features, "_CODE", "edited code")
    assert train(out=tmp_path / "edited").record.run != before.record.run


def test_the_best_module_and_its_head_are_kept(
    train: Train, script: Script, weights: Callable[[Path], Weights]
) -> None:
    scored = script([10.0, 50.0, 20.0])
    trained = train(evaluations=3, lr=1e-2)
    kept = weights(trained.path)
    assert any(name.startswith("heads.") for name in kept)
    assert same(kept, scored[1])
    changed = [key for key in kept if not torch.equal(kept[key], scored[2][key])]
    assert any(key.startswith("heads.") for key in changed)
    assert any("adapters." in key for key in changed)
    record = trained.record
    assert (record.steps, record.best_step, record.scores) == (6, 4, {"accuracy": 50.0})


def test_the_last_module_is_kept_where_one_says_so(
    train: Train, script: Script, weights: Callable[[Path], Weights]
) -> None:
    scored = script([10.0, 50.0, 20.0])
    trained = train(evaluations=3, lr=1e-2, keep="last")
    assert same(weights(trained.path), scored[-1])
    assert (trained.record.best_step, trained.record.scores) == (6, {"accuracy": 20.0})


def test_the_mean_of_the_last_modules_is_kept_and_scored(
    train: Train, script: Script, spy: Spy, weights: Callable[[Path], Weights]
) -> None:
    """An interruption changes nothing; the interrupted run has scored two of the three by then."""
    scored = script([10.0, 50.0, 20.0, 66.0])
    options: dict[str, Any] = {"evaluations": 3, "lr": 1e-2, "keep": "mean", "average_last": 2}
    spy.stop_at(5)
    with pytest.raises(InterruptedTrainingError):
        train(**options, report_to="spy")
    spy.on_step = None
    trained = train(**options, report_to="spy", resume=True)
    found = weights(trained.path)
    assert len(scored) == 4
    assert not same(scored[1], scored[2])
    for key, value in found.items():
        assert torch.allclose(value, (scored[1][key] + scored[2][key]) / 2, atol=1e-7)
    assert same(found, scored[3])
    assert trained.record.scores == {"accuracy": 66.0}


@pytest.mark.parametrize(
    ("given", "steps"),
    [
        ({"epochs": 1}, 6),
        ({"epochs": 1.5}, 9),
        ({}, 150),  # 25 passes at most
        ({"min_steps": 20}, 20),
        ({"min_steps": 3}, 18),  # three passes
        ({"steps": 7}, 7),
        ({"steps": 7, "epochs": 2}, 7),
        ({"epochs": 1, "min_steps": 100}, 6),
    ],
)
def test_a_few_examples_are_gone_over_more_often(
    train: Train, monkeypatch: pytest.MonkeyPatch, given: dict[str, float], steps: int
) -> None:
    planned = []

    def run(job: Job, *args: Any, **kwargs: Any) -> None:
        planned.append(job.recipe.steps)
        raise KeyboardInterrupt

    monkeypatch.setattr(execute, "_run", run)
    with pytest.raises(KeyboardInterrupt):
        train(**{"epochs": None, **given})
    assert planned == [steps]


def test_what_is_planned_is_said(
    train: Train, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    samples = files("adapter_stilts") / "data" / "samples"
    train(epochs=1, lr=1e-3, quiet=False, data=str(samples))
    assert "planned: 6 steps, 1 pass over 24 examples; learning rate 0.001" in (
        capsys.readouterr().err
    )
    (warning,) = [each for each in caplog.records if "steps are few" in each.message]
    assert "--epochs" in warning.message


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"epochs": 1, "lr": 100.0}, ["learning rate 100", "0.0003 to 0.03 is usual"]),
        ({"epochs": 1, "lr": 1e-7}, ["learning rate 1e-07"]),
        ({"rank": 8}, ["method bottleneck has no rank (of lora, "]),
        ({"method": "lora", "reduction_factor": 4}, ["lora has no reduction-factor (of bottle"]),
        ({"method": "head", "alpha": 4}, ["method head has no alpha"]),
        ({"steps": 700, "lr": 1e-3}, ["700 steps are 117 passes", "lower --steps"]),
        ({"epochs": 2, "min_steps": 100}, ["--epochs wins over --min-steps 100", "12 steps"]),
        ({"steps": 7, "epochs": 2, "min_steps": 100}, ["--steps wins over --min-steps 100"]),
        ({"min_steps": 1000}, ["25 passes wins over --min-steps 1,000", "150 steps"]),
    ],
)
def test_what_makes_no_sense_is_said(
    train: Train,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    given: dict[str, float],
    said: list[str],
) -> None:
    def run(*args: Any, **kwargs: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(execute, "_run", run)
    with pytest.raises(KeyboardInterrupt):
        train(**{"epochs": None, "lr": None, **given})
    for text in said:
        assert text in caplog.text


def test_what_the_bundled_samples_suffice_for_needs_no_warning(
    train: Train, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(epochs=1)
    monkeypatch.setenv("ADSTILTS_DATA", "sample")
    train(epochs=1, data=None, overwrite=True)
    assert not [each for each in caplog.records if "steps are few" in each.message]


def test_no_tokenizer_lies_in_memory_while_it_trains(
    train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    learn = execute._train

    def watched(trainer: Any, *args: Any) -> None:
        seen.append(trainer.engine.backbone)
        assert all(each() is None for each in tokenizers)
        learn(trainer, *args)
        assert "tokenizer" not in seen[0].__dict__

    tokenizers: list[Any] = []

    def build(*args: Any, **kwargs: Any) -> Any:
        made = build_tokenizer(*args, **kwargs)
        tokenizers.append(weakref.ref(made))
        return made

    monkeypatch.setattr(backbones, "build_tokenizer", build)
    monkeypatch.setattr(execute, "_train", watched)
    train(epochs=1)
    assert tokenizers and seen[0].tokenizer("a")


def test_the_best_weights_survive_an_interruption(
    train: Train, script: Script, spy: Spy, weights: Callable[[Path], Weights]
) -> None:
    scored = script([50.0, 10.0, 20.0])
    spy.stop_at(3)
    with pytest.raises(InterruptedTrainingError):
        train(evaluations=3, report_to="spy")
    spy.on_step = None
    trained = train(evaluations=3, report_to="spy", resume=True)
    assert len(scored) == 3
    assert same(weights(trained.path), scored[0])
    assert trained.record.best_step == 2


def test_it_stops_early_when_patience_is_over(
    train: Train, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where it is killed after its last checkpoint: it is not trained on when resumed."""
    scored = script([10.0, 20.0, 20.0, 15.0, 99.0, 99.0])

    def killed(*args: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(execute, "finish", killed)
        with pytest.raises(KeyboardInterrupt):
            train(evaluations=6, patience=2)
    assert len(scored) == 4
    record = train(evaluations=6, patience=2, resume=True).record
    assert len(scored) == 4
    assert (record.steps, record.best_step, record.scores) == (4, 2, {"accuracy": 20.0})


def test_without_patience_it_never_stops_early(train: Train, script: Script) -> None:
    scored = script([5.0] * 6)
    record = train(evaluations=6, patience=0).record
    assert (len(scored), record.steps, record.best_step) == (6, 6, 6)


def test_a_plateau_does_not_end_a_training(train: Train, script: Script) -> None:
    """The majority class scores the same until a module has learnt something."""
    scored = script([33.0, 33.0, 33.0, 33.0, 33.0, 60.0])
    record = train(evaluations=6, patience=2).record
    assert (len(scored), record.steps, record.best_step) == (6, 6, 6)
    assert not record.stopped_early


def test_no_training_ends_in_its_first_half(
    train: Train, script: Script, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What ends it early, and where, is printed and recorded."""
    scored = script([10.0, 50.0, 20.0, 20.0, 20.0, 20.0])
    record = train(evaluations=6, patience=1, quiet=False).record
    assert (len(scored), record.steps, record.best_step, record.planned_steps) == (3, 3, 2, 6)
    assert record.stopped_early
    assert "stopped early at step 3 of 6" in capsys.readouterr().err
    assert ModuleRecord.read(tmp_path / "module") == record


@pytest.mark.parametrize(("steps", "evaluations"), [(6, 1), (6, 3), (7, 3), (100, 8), (5, 5)])
def test_dev_is_scored_as_often_as_asked_and_last_at_the_end(steps: int, evaluations: int) -> None:
    schedule = EvaluationSchedule(evaluations=evaluations, patience=0, save_seconds=1e9)
    due = []
    for step in range(1, steps + 1):
        state = TrainerState(global_step=step, max_steps=steps)
        control = schedule.on_step_end(TrainingArguments(report_to="none"), state, TrainerControl())
        assert control.should_save == control.should_evaluate
        due += [step] if control.should_evaluate else []
    assert len(due) == evaluations
    assert due[-1] == steps
    gaps = [after - before for before, after in zip([0, *due], due, strict=False)]
    assert max(gaps) - min(gaps) <= 1


def test_more_evaluations_than_steps_are_one_a_step(train: Train, script: Script) -> None:
    scored = script([float(n) for n in range(6)])
    train(evaluations=50)
    assert len(scored) == 6


def test_the_precision_of_one_training_does_not_reach_the_next(
    train: Train, weights: Callable[[Path], Weights]
) -> None:
    first = weights(train(precision="fp32").path)
    train(precision="bf16", overwrite=True)
    again = weights(train(precision="fp32", overwrite=True).path)
    assert all(torch.equal(first[name], again[name]) for name in first)


def test_recomputed_activations_change_no_weight(
    train: Train, weights: Callable[[Path], Weights], monkeypatch: pytest.MonkeyPatch
) -> None:
    layers: list[Any] = []
    plain = attention._contexts

    def counted() -> Any:
        layers.append(1)
        return plain()

    monkeypatch.setattr(attention, "_contexts", counted)
    kept = train(unfreeze="top-down")
    first = weights(kept.path)
    assert not layers
    for activations in ("recomputed", "offloaded"):
        again = train(unfreeze="top-down", activations=activations, overwrite=True)
        assert layers
        layers.clear()
        assert again.record.run == kept.record.run
        second = weights(again.path)
        assert first.keys() == second.keys()
        assert all(torch.equal(first[name], second[name]) for name in first)
    with pytest.raises(UserError, match="recomputed"):
        train(activations="recomputd", overwrite=True)


def test_two_accumulated_batches_are_one_of_twice_the_size(train: Train, spy: Spy) -> None:
    both: dict[str, Any] = {"limit": 8, "max_grad_norm": 0.0, "report_to": "spy"}
    train(**both, batch_examples=4, accumulate=2, overwrite=True)
    train(**both, batch_examples=8, overwrite=True)
    accumulated, whole = spy.gradients
    assert accumulated.keys() == whole.keys() != set()
    for name, gradient in whole.items():
        torch.testing.assert_close(accumulated[name], gradient, rtol=1e-3, atol=1e-6)
    assert max(float(gradient.abs().max()) for gradient in whole.values()) > 1e-3


def test_only_matrices_decay_and_the_trunk_stays_as_it_was(
    train: Train, spy: Spy, tiny_xlmr: Path
) -> None:
    train(report_to="spy", weight_decay=0.3)
    model, optimizer = spy.seen["model"], spy.seen["optimizer"]
    decay = {id(p): g["weight_decay"] for g in optimizer.param_groups for p in g["params"]}
    names = {id(p): name for name, p in model.named_parameters()}
    assert {names[key] for key in decay} == set(spy.layers[0])
    for name, parameter in model.named_parameters():
        if id(parameter) in decay:
            assert decay[id(parameter)] == (0.3 if parameter.ndim >= 2 else 0.0), name
    assert set(decay.values()) == {0.0, 0.3}
    backbone = find_backbone(str(tiny_xlmr))
    fresh = load_engine(backbone, precision="fp32", device=torch.device("cpu"))
    trunk = dict(model.named_parameters())
    for name, parameter in fresh.model.base_model.named_parameters():
        if "pooler" not in name:  # not in the checkpoint of an encoder with heads: random
            full = f"{model.base_model_prefix}.{name}"
            full = full if full in trunk else full.replace(".weight", ".base_layer.weight")
            assert torch.equal(trunk[full], parameter), name


def test_a_tracker_gets_losses_scores_and_a_folder_that_stays(
    train: Train, spy: Spy, tmp_path: Path
) -> None:
    train(report_to="spy", epochs=2)
    losses = [entry["loss"] for entry in spy.logs if "loss" in entry]
    assert len(losses) == 1  # twelve steps, one line every ten
    assert 0.5 < losses[0] < 5
    assert [entry["eval_accuracy"] for entry in spy.logs if "eval_accuracy" in entry] != []
    assert Path(spy.seen["args"].logging_dir) == tmp_path / "module.logs"


def test_an_unknown_tracker_or_one_not_installed_gets_one_line(
    train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match="no tracker 'tensorbord': did you mean 'tensorboard'"):
        train(report_to="tensorbord")

    def absent() -> None:
        raise RuntimeError("FooCallback requires foo to be installed.\nRun `pip install foo`.")

    monkeypatch.setitem(integration_utils.INTEGRATION_TO_CALLBACK, "foo", absent)
    with pytest.raises(UserError, match=r"^report-to foo: .*installed\. Run `pip install foo`\.$"):
        train(report_to="foo")


def test_the_record_tells_what_was_done(train: Train, tiny_xlmr: Path) -> None:
    trained = train(method="lora", rank=4, seed=3, epochs=1.5)
    record = ModuleRecord.read(trained.path)
    assert record == trained.record  # as JSON reads it
    assert (record.name, record.task, record.method) == ("mnli-lora", "mnli", "lora")
    assert (record.head, record.composition) == ("classification", "mnli-lora")
    assert record.backbone["name"] == str(tiny_xlmr)
    assert record.backbone["model_type"] == "xlm-roberta"
    assert record.recipe["lr"] == usual_rate("lora", 9) and record.recipe["rank"] == 4
    assert record.recipe["seed"] == 3 and record.recipe["max_length"] == 64
    assert record.data["train"]["examples"] == 24 and record.data["dev"]["examples"] == 8
    assert record.data["labels"] == 3
    assert record.data["train"]["fingerprint"] != record.data["dev"]["fingerprint"]
    assert record.data["dev"]["chance"]["accuracy"] in [100 * n / 8 for n in range(3, 9)]
    assert record.learning_curve == [{"step": 9.0, "accuracy": record.scores["accuracy"]}]
    assert record.steps == record.best_step == 9
    # three layers, two matrices each with two factors; a head of two linear layers
    assert record.parameters == 3 * 2 * 2 * (4 * 32) + (32 * 32 + 32) + (32 * 3 + 3)
    assert 0 < record.seconds < 300
    assert 100 < record.peak_memory_mb < 64_000
    assert record.files and not (trained.path.parent / "module.unfinished").exists()
    record.verify(trained.path)


def test_seconds_add_up_over_interruptions(train: Train, spy: Spy, tmp_path: Path) -> None:
    spy.stop_at(2)
    with pytest.raises(InterruptedTrainingError):
        train(report_to="spy")
    path = tmp_path / "module.unfinished" / "checkpoint-2" / "trainer_state.json"
    state = json.loads(path.read_text())
    assert 0 < state["stateful_callbacks"]["EvaluationSchedule"]["attributes"]["seconds"] < 300
    state["stateful_callbacks"]["EvaluationSchedule"]["attributes"]["seconds"] = 5000.0
    path.write_text(json.dumps(state))
    (path.parent / "files.json").unlink()
    write_manifest(path.parent)
    spy.on_step = None
    assert 5000 < train(report_to="spy", resume=True).record.seconds < 5300


def test_an_unfinished_run_holds_no_pickle(train: Train, spy: Spy, tmp_path: Path) -> None:
    spy.stop_at(3)
    with pytest.raises(InterruptedTrainingError):
        train(report_to="spy", evaluations=6)
    files = [path for path in (tmp_path / "module.unfinished").rglob("*") if path.is_file()]
    assert {path.name for path in files} == {
        "run.json",
        "module.safetensors",
        "best.safetensors",
        "optimizer.safetensors",
        "rng-0.safetensors",
        "trainer_state.json",
        "files.json",
    }
    for path in files:
        assert not path.read_bytes().startswith((b"\x80", b"PK")), path
        if path.suffix == ".json":
            json.loads(path.read_text())


def test_nothing_is_replaced_unless_asked(train: Train, tmp_path: Path) -> None:
    first = train().record
    with pytest.raises(UserError, match=r"a module lies at .*--overwrite"):
        train()
    with pytest.raises(UserError, match=r"a module lies at .*--overwrite"):
        train(resume=True, seed=5)
    assert train(resume=True).record == first  # finished: nothing to do
    again = train(overwrite=True, seed=5).record
    assert again.run != first.run
    assert ModuleRecord.read(tmp_path / "module").run == again.run
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("keep")
    with pytest.raises(UserError, match="mine is not empty"):
        train(out=tmp_path / "mine")


def test_an_unfinished_run_is_neither_lost_nor_mixed_up(
    train: Train, spy: Spy, tmp_path: Path
) -> None:
    spy.stop_at(2)
    with pytest.raises(InterruptedTrainingError):
        train(report_to="spy")
    spy.on_step = None
    with pytest.raises(UserError, match=r"an unfinished run lies at .*--resume .*--overwrite"):
        train()
    changes: list[tuple[dict[str, Any], str]] = [
        ({"lr": 5e-4}, r"\(lr was 0\.0\d+, now 0\.0005\)"),
        ({"seed": 1}, r"\(seed was 0, now 1\)"),
        ({"limit": 23}, r"\(limit was 24, now 23\)"),
        (
            {"method": "lora", "patience": 9},
            "method was bottleneck, now lora.* patience was 3, now 9",
        ),
        ({"leave_out": (0, 2)}, r"\(leave-out was not given, now 0,2\)"),
    ]
    for change, words in changes:
        with pytest.raises(UserError, match=rf"has other settings {words}|{words}.*--overwrite"):
            train(resume=True, **change)
    work = tmp_path / "module.unfinished"
    assert (work / "checkpoint-2").is_dir()
    note = (work / "run.json").read_text()
    (work / "run.json").write_text(note[:10])
    with pytest.raises(UserError, match=r"run\.json is damaged or missing"):
        train(resume=True)
    (work / "run.json").write_text(note)
    weights = work / "checkpoint-2" / "module.safetensors"
    weights.write_bytes(weights.read_bytes()[:-9])
    with pytest.raises(UserError, match=r"module\.safetensors is damaged"):
        train(resume=True)
    train(overwrite=True)
    assert not work.exists()


def test_a_failed_training_leaves_the_old_module_whole(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train()
    before = {p.name: p.read_bytes() for p in (tmp_path / "module").iterdir() if p.is_file()}

    def broken(*args: Any, **kwargs: Any) -> None:
        raise ValueError("broken card")

    monkeypatch.setattr("adapter_stilts.zoo.local.write_card", broken)
    with pytest.raises(ValueError, match="broken card"):
        train(overwrite=True, seed=9)
    module = tmp_path / "module"
    assert {p.name: p.read_bytes() for p in module.iterdir() if p.is_file()} == before
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []
    monkeypatch.undo()
    ModuleRecord.read(module).verify(module)
    assert RECORD in before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"max_length": 4000}, r"max-length 4000 is over the 128 tokens"),
        ({"seed": -1}, r"seed must lie between 0 and"),
        ({"head_dropout": 1.0}, "head-dropout"),
        ({"limit": 0}, r"limit must be above 0"),
        ({"dev_limit": -3}, r"dev-limit must be above 0"),
        ({"leave_out": (3,)}, r"cannot leave out layer 3: .* has layers 0 to 2"),
        ({"task": "mnly"}, r"no task 'mnly': did you mean 'mnli'"),
        ({"method": "lorra"}, r"no method 'lorra': did you mean 'lora'"),
    ],
)
def test_mistakes_get_one_line_and_leave_nothing(
    train: Train, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message) as caught:
        train(**change)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "module").exists()


def test_a_methods_other_spellings_are_the_same_run(train: Train, tmp_path: Path) -> None:
    one = train(method="double-bottleneck", out=tmp_path / "one").record
    other = train(method="Double_Bottleneck", out=tmp_path / "other").record
    assert one.run == other.run
    assert other.name == "mnli-double-bottleneck"


def test_a_training_walks_over_the_model_only_where_it_has_to() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Dropout())
    own = list(model[0].parameters())
    model.train()
    with without_walks(model, own):
        model.eval()
        assert not model[1].training
        model.train()
        assert model[1].training
        model(torch.ones(1, 2)).sum().backward()
        model.zero_grad(set_to_none=False)
        assert all(parameter.grad is not None and not parameter.grad.any() for parameter in own)
        model.zero_grad()
        assert all(parameter.grad is None for parameter in own)
    assert "train" not in vars(model)
    assert "zero_grad" not in vars(model)


def test_two_threads_train_as_one_after_the_other_does(
    train: Train, weights: Callable[[Path], Weights], tmp_path: Path
) -> None:
    alone = weights(train().path)
    with ThreadPoolExecutor(2) as pool:
        ways = [pool.submit(train, out=str(tmp_path / name)) for name in ("one", "other")]
    assert all(same(weights(each.result().path), alone) for each in ways)


def test_a_trained_module_is_found_from_another_folder(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    trained = train(out="here")
    assert repr(trained).endswith("; here>")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    assert load(trained).record == trained.record and str(trained.path) in repr(trained)
