"""Full disks, full memory and diverging runs end in one line that names the remedy."""

from __future__ import annotations

import errno
import math
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from training_kit import Train, spoil_fourth_loss  # type: ignore[import-not-found]

from adapter_stilts.errors import FailureError
from adapter_stilts.training import execute, trainer
from adapter_stilts.training.trainer import ModuleTrainer


def failure(train: Train, **changes: Any) -> str:
    with pytest.raises(FailureError) as caught:
        train(**changes)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
        OSError(errno.EDQUOT, os.strerror(errno.EDQUOT)),
        SafetensorError(
            "Error while serializing: I/O error: No space left on device (os error 28)"
        ),
    ],
)
def test_a_full_disk_leaves_nothing_half_written(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def full(tensors: Any, path: Path) -> None:
        path.write_bytes(b"half")
        raise error

    monkeypatch.setattr(trainer, "save_file", full)
    message = failure(train)
    assert message.startswith("disk full while writing near ") and "--resume" in message
    assert not (tmp_path / "module").exists()
    assert [p for p in (tmp_path / "module.unfinished").glob("*") if p.name != "run.json"] in (
        [],
        [tmp_path / "module.unfinished" / ".rng-0.safetensors"],
    )


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of one megabyte, where tests may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    try:
        done = subprocess.run(command, check=False, capture_output=True).returncode == 0
    except OSError:
        done = False
    if not done:
        pytest.skip("mounting a small disk needs root")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=False)


def test_on_a_disk_that_is_really_full(train: Train, small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"0" * (1024 * 1024 - 4 * 4096))
    out = small_disk / "module"
    assert "disk full while writing near" in failure(train, out=out)
    assert not out.exists()
    ballast.unlink()
    assert train(out=out, resume=True).record.steps == 6


def out_of_memory(kind: str) -> None:
    if kind == "gpu":
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nGPU 0 ...")
    if kind == "python":
        raise MemoryError
    torch.empty(2**52, dtype=torch.uint8)  # the CPU allocator's own message


@pytest.mark.parametrize("kind", ["gpu", "python", "cpu"])
def test_out_of_memory_names_what_to_lower(
    train: Train, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(ModuleTrainer, "compute_loss", lambda *a, **k: out_of_memory(kind))
    message = failure(train, batch_tokens=777)
    assert message.startswith("out of memory: lower --batch-tokens (now 777) or --max-length")
    assert "(now 64)" in message


@pytest.mark.parametrize("factor", [math.nan, math.inf])
def test_a_diverging_run_stops_and_keeps_the_last_good_checkpoint(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, factor: float
) -> None:
    spoil_fourth_loss(monkeypatch, factor)
    monkeypatch.setattr(execute, "SAVE_SECONDS", 0.0)
    message = failure(train, lr=3e-3)
    assert message.startswith("the training diverged at step 4 (loss ")
    assert "lower --lr (now 0.003)" in message and "--overwrite" in message
    kept = tmp_path / "module.unfinished" / "checkpoint-3"
    assert message.endswith(f"the last good checkpoint is kept in {kept}")
    tensors = load_file(kept / "module.safetensors")
    assert all(bool(tensor.isfinite().all()) for tensor in tensors.values())
    assert not (tmp_path / "module").exists()


def test_a_learning_rate_far_too_high_is_found(train: Train, tmp_path: Path) -> None:
    message = failure(train, lr=1e30, warmup=0.0)
    assert message.startswith("the training diverged at step 2 (")
    assert "checkpoint" not in message  # there is none yet
    assert not (tmp_path / "module").exists()


def test_gradients_alone_can_diverge(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = ModuleTrainer.training_step

    def step(self: ModuleTrainer, model: Any, *args: Any, **kwargs: Any) -> Any:
        loss = whole(self, model, *args, **kwargs)
        next(p for p in model.parameters() if p.grad is not None).grad.fill_(math.inf)
        return loss

    monkeypatch.setattr(ModuleTrainer, "training_step", step)
    assert "diverged at step 1 (gradient norm inf)" in failure(train)


def test_other_errors_are_not_taken_for_these(
    train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("shapes do not fit")

    monkeypatch.setattr(ModuleTrainer, "compute_loss", wrong)
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        train()
