"""What is trained on a GPU, and that it answers there as on the processor."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from training_kit import SHORT  # type: ignore[import-not-found]
from transformers.models.xlm_roberta import modeling_xlm_roberta

from adapter_stilts import evaluate, fuse, train_adapter, train_multitask, train_target
from adapter_stilts.training.run import Trained
from adapter_stilts.training.trainer import ModuleTrainer
from fusion_kit import fill_zoo

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here"),
]
MASK = "_prepare_4d_attention_mask_for_sdpa"
TASKS = ("mnli", "ccg", "squad", "commonsense-qa")


@pytest.fixture
def options(tiny_xlmr: Path, tmp_path: Path) -> dict[str, Any]:
    """Of a short training into `tmp_path / "module"`."""
    short = {key: value for key, value in SHORT.items() if key != "task"}
    return {**short, "backbone": str(tiny_xlmr), "out": tmp_path / "module"}


def _scores(target: str, module: Path, tmp_path: Path, device: str) -> dict[str, Any]:
    engines: dict[Any, Any] = {}
    given: dict[str, Any] = {
        "compositions": [str(module)],
        "data": "sample",
        "langs": "all",
        "precision": "fp32",
        "engines": engines,
        "overwrite": True,
        "out": tmp_path / device,
    }
    with pytest.MonkeyPatch.context() as patch:
        if device == "cpu":
            patch.setattr(torch.cuda, "is_available", lambda: False)
        (found,) = evaluate(target, **given)
        (engine,) = engines.values()
        assert engine.device.type == device
    return dict(found.scores)


METHODS = ("bottleneck", "invertible", "lora", "dora", "ia3", "head")


@pytest.mark.parametrize("method", METHODS)
def test_every_method_learns(method: str, options: dict[str, Any], tmp_path: Path) -> None:
    trained = train_adapter("mnli", method=method, **options)
    assert trained.record.machine == torch.cuda.get_device_name()


@pytest.mark.parametrize("task", TASKS)
def test_every_kind_of_head_learns(task: str, options: dict[str, Any]) -> None:
    assert train_adapter(task, **options).record.scores


def test_all_tasks_at_once_learn(options: dict[str, Any]) -> None:
    assert train_multitask(list(TASKS), **options).record.heads


@pytest.mark.parametrize(
    ("method", "kind"), [("bottleneck", "full"), ("bottleneck", "lean"), ("lora", "lean")]
)
def test_fusions_answer_as_on_the_processor(
    method: str, kind: str, options: dict[str, Any], zoo: Path, tmp_path: Path
) -> None:
    fill_zoo(options["backbone"], zoo / "tiny", method)
    trained: Trained = fuse(["qa", "mnli"], "tydiqa", kind=kind, **options)
    there = _scores("tydiqa", trained.path, tmp_path, "cuda")
    assert there == _scores("tydiqa", trained.path, tmp_path, "cpu")


@pytest.mark.parametrize("target", ["udpos", "xnli", "xcopa", "tydiqa"])
def test_targets_answer_as_on_the_processor(
    target: str, options: dict[str, Any], tmp_path: Path
) -> None:
    trained = train_target(target, **options)
    there = _scores(target, trained.path, tmp_path, "cuda")
    assert there == _scores(target, trained.path, tmp_path, "cpu")


def test_the_same_training_twice_makes_the_same_weights(
    options: dict[str, Any], tmp_path: Path
) -> None:
    one, two = (
        train_adapter("mnli", **{**options, "out": tmp_path / name}) for name in ("one", "two")
    )
    for path in one.path.glob("*.safetensors"):
        assert path.read_bytes() == (two.path / path.name).read_bytes()


def test_what_is_offloaded_takes_less_memory_and_changes_weights_by_rounding_alone(
    options: dict[str, Any], tmp_path: Path
) -> None:
    peaks, made = [], []
    for activations in ("recomputed", "offloaded"):
        torch.cuda.reset_peak_memory_stats()
        out = tmp_path / activations
        made.append(train_adapter("mnli", **{**options, "out": out, "activations": activations}))
        peaks.append(torch.cuda.max_memory_allocated())
    assert peaks[1] < peaks[0]
    for path in made[0].path.glob("*.safetensors"):
        one, two = load_file(path), load_file(made[1].path / path.name)
        assert one.keys() == two.keys()
        for name, weights in one.items():
            assert (weights - two[name]).norm() <= 1e-3 * weights.norm()


def _learn(options: dict[str, Any]) -> None:
    train_adapter("mnli", **options)


def test_it_learns_in_a_process_that_was_spawned(options: dict[str, Any]) -> None:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        pool.submit(_learn, options).result()


def test_no_step_waits_for_the_gpu(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step that waits leaves the processor and the GPU idle in turn.

    The one place that does is transformers', which looks whether a mask hides anything.
    """
    step = ModuleTrainer.training_step
    mask = vars(modeling_xlm_roberta)[MASK]
    asked = []

    def watched(trainer: ModuleTrainer, *args: Any, **kwargs: Any) -> torch.Tensor:
        if not trainer.state.global_step:  # the first one allocates
            return step(trainer, *args, **kwargs)
        torch.cuda.set_sync_debug_mode("error")
        try:
            return step(trainer, *args, **kwargs)
        finally:
            torch.cuda.set_sync_debug_mode("default")

    def looked(*args: Any, **kwargs: Any) -> Any:
        before = torch.cuda.get_sync_debug_mode()
        torch.cuda.set_sync_debug_mode("default")
        asked.append(before)
        made = mask(*args, **kwargs)
        torch.cuda.set_sync_debug_mode(before)
        return made

    monkeypatch.setattr(ModuleTrainer, "training_step", watched)
    monkeypatch.setattr(modeling_xlm_roberta, MASK, looked)
    assert train_adapter("mnli", **options).record.steps > 1
    assert any(asked)
