"""Checkpoints give back every bit, hold no pickle, and appear whole or not at all."""

from __future__ import annotations

import random
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.optim.lr_scheduler import LambdaLR

from adapter_stilts.errors import UserError
from adapter_stilts.training.checkpoint import (
    drop_older_checkpoints,
    load_optimizer,
    load_rng,
    read_tensors,
    save_optimizer,
    save_rng,
)
from adapter_stilts.training.folders import latest_checkpoint


def schedule(step: int, *, total: int) -> float:
    return 1 - step / total


def learner(used: int) -> tuple[torch.nn.Module, torch.optim.AdamW, LambdaLR]:
    """Three layers in two groups, of which the first `used` have been trained for three steps."""
    torch.manual_seed(1)
    model = torch.nn.Sequential(*(torch.nn.Linear(4, 4) for _ in range(3)))
    matrices = [p for p in model.parameters() if p.ndim > 1]
    vectors = [p for p in model.parameters() if p.ndim == 1]
    groups = [
        {"params": matrices, "weight_decay": 0.1},
        {"params": vectors, "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=0.013)
    scheduler = LambdaLR(optimizer, partial(schedule, total=10))
    for _ in range(3 if used else 0):
        step(model[:used], optimizer, scheduler)
    return model, optimizer, scheduler


def step(layers: torch.nn.Module, optimizer: torch.optim.Optimizer, scheduler: LambdaLR) -> None:
    layers(torch.randn(5, 4)).square().sum().backward()
    optimizer.step()
    scheduler.step()
    optimizer.zero_grad()


@pytest.mark.parametrize("used", [1, 3])
def test_optimizer_and_scheduler_come_back_exactly(tmp_path: Path, used: int) -> None:
    model, optimizer, scheduler = learner(used)
    save_optimizer(tmp_path / "optimizer.safetensors", optimizer, scheduler)
    weights = [parameter.detach().clone() for parameter in model.parameters()]

    again, fresh, fresh_scheduler = learner(0)
    load_optimizer(tmp_path / "optimizer.safetensors", fresh, fresh_scheduler)
    with torch.no_grad():
        for parameter, value in zip(again.parameters(), weights, strict=True):
            parameter.copy_(value)
    assert fresh_scheduler.get_last_lr() == scheduler.get_last_lr() != [0.013, 0.013]
    assert fresh.state_dict()["state"].keys() == optimizer.state_dict()["state"].keys()
    for layers, how, when in ((model, optimizer, scheduler), (again, fresh, fresh_scheduler)):
        torch.manual_seed(5)
        for _ in range(4):
            step(layers, how, when)
    for one, other in zip(model.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)


def test_random_states_come_back_exactly(tmp_path: Path) -> None:
    def draw() -> tuple[float, float, float, float, list[float]]:
        numbers = torch.rand(3).tolist()
        normal = random.gauss(0, 1), float(np.random.normal())  # both keep a second one in hand
        return random.random(), float(np.random.rand()), *normal, numbers

    random.seed(3)
    np.random.seed(4)
    torch.manual_seed(5)
    draw()
    save_rng(tmp_path / "rng.safetensors")
    expected = [draw() for _ in range(3)]
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    assert draw() != expected[0]
    load_rng(tmp_path / "rng.safetensors")
    assert [draw() for _ in range(3)] == expected


def test_the_latest_whole_checkpoint_counts(tmp_path: Path) -> None:
    assert latest_checkpoint(tmp_path / "nowhere") is None
    assert latest_checkpoint(tmp_path) is None
    for name in ("checkpoint-9", "checkpoint-10", ".checkpoint-11.k3j2", "checkpoint-12.old"):
        (tmp_path / name).mkdir()
    assert latest_checkpoint(tmp_path) == tmp_path / "checkpoint-10"


def test_older_checkpoints_and_half_written_ones_are_dropped(tmp_path: Path) -> None:
    for name in ("checkpoint-9", "checkpoint-10", ".checkpoint-11.k3j2"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "module.safetensors").write_bytes(b"half")
    (tmp_path / "run.json").write_text("{}")
    drop_older_checkpoints(tmp_path, keep=tmp_path / "checkpoint-10")
    assert {path.name for path in tmp_path.iterdir()} == {"checkpoint-10", "run.json"}


def test_a_damaged_weights_file_is_named(tmp_path: Path) -> None:
    whole = tmp_path / "optimizer.safetensors"
    _, optimizer, scheduler = learner(3)
    save_optimizer(whole, optimizer, scheduler)
    whole.write_bytes(whole.read_bytes()[:-20])
    with pytest.raises(UserError, match=r"optimizer\.safetensors: damaged or missing"):
        read_tensors(whole)
    with pytest.raises(UserError, match=r"none\.safetensors: damaged or missing"):
        read_tensors(tmp_path / "none.safetensors")
