"""Several processes (`torchrun`) learn what one learns from the same batches."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from adapter_stilts.zoo.record import ModuleRecord

Worker = Callable[..., list[int]]

BOTH = {"limit": 32, "unfreeze": "top-down", "report_to": "gradients"}


def test_two_processes_learn_what_one_does(
    worker: Worker, settings: dict[str, Any], tmp_path: Path
) -> None:
    one, two = tmp_path / "one" / "module", tmp_path / "two" / "module"
    both = {**settings, **BOTH}
    for out in (one, two):
        out.parent.mkdir()
    assert worker({**both, "accumulate": 2, "out": str(one)}, weights=True) == [0]
    assert worker({**both, "out": str(two)}, ranks=2, weights=True) == [0, 0], said(two)
    assert_alike(one, two)


@pytest.mark.slow
def test_torchrun_starts_two_processes_that_learn_what_one_does(
    worker: Worker, settings: dict[str, Any], tmp_path: Path
) -> None:
    one, two = tmp_path / "one" / "module", tmp_path / "two" / "module"
    both = {**settings, **BOTH}
    for out in (one, two):
        out.parent.mkdir()
    assert worker({**both, "accumulate": 2, "out": str(one)}, weights=True) == [0]
    torchrun({"settings": {**both, "out": str(two)}, "stop": {}, "weights": True})
    assert_alike(one, two)


def assert_alike(one: Path, two: Path) -> None:
    """Gradients of the first step, final weights and records; and nothing else was written."""
    alone = load_file(one.with_name("weights-0.safetensors"))
    ranks = [load_file(two.with_name(f"weights-{rank}.safetensors")) for rank in (0, 1)]
    assert ranks[0].keys() == ranks[1].keys() == alone.keys()
    for name, weight in alone.items():
        assert torch.equal(ranks[0][name], ranks[1][name]), name
        torch.testing.assert_close(ranks[0][name], weight, rtol=0, atol=2e-5)
    gradients = load_file(one.with_name("gradients-0.safetensors"))
    assert gradients
    for rank in (0, 1):
        found = load_file(two.with_name(f"gradients-{rank}.safetensors"))
        for name, gradient in gradients.items():
            torch.testing.assert_close(found[name], gradient, rtol=1e-3, atol=1e-6)
    records = [ModuleRecord.read(out) for out in (one, two)]
    assert [record.steps for record in records] == [4, 4]
    assert records[0].scores == records[1].scores
    assert [path.name for path in two.parent.iterdir() if path.is_dir()] == ["module"]


def said(out: Path) -> str:
    message = out.with_name(f"{out.name}.message")
    return message.read_text() if message.exists() else "nothing"


def torchrun(request: dict[str, Any]) -> None:
    script = Path(__file__).with_name("training_worker.py")
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2"]
    command += ["--rdzv_backend", "c10d", "--rdzv_endpoint", "127.0.0.1:0"]
    command += ["--local_addr", "127.0.0.1", str(script)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        [*command, json.dumps(request)],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as started:
        try:
            _, errors = started.communicate(timeout=250)
        except subprocess.TimeoutExpired:
            os.killpg(started.pid, signal.SIGKILL)  # torchrun and what it started
            raise
    assert started.returncode == 0, errors[-2000:] + said(Path(request["settings"]["out"]))
