"""Several processes (`torchrun`) learn what one learns from the same batches."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from adapter_stilts.zoo.record import ModuleRecord

Worker = Callable[..., list[int]]


def test_two_processes_learn_what_one_does(
    worker: Worker, settings: dict[str, Any], tmp_path: Path
) -> None:
    one, two = tmp_path / "one" / "module", tmp_path / "two" / "module"
    for out in (one, two):
        out.parent.mkdir()
    both = {**settings, "limit": 32, "unfreeze": "top-down", "report_to": "gradients"}
    assert worker({**both, "accumulate": 2, "out": str(one)}, weights=True) == [0]
    torchrun({"settings": {**both, "out": str(two)}, "stop": {}, "weights": True})

    ranks = [load_file(two.with_name(f"weights-{rank}.safetensors")) for rank in (0, 1)]
    alone = load_file(one.with_name("weights-0.safetensors"))
    assert ranks[0].keys() == ranks[1].keys() == alone.keys()
    for name, weight in alone.items():
        assert torch.equal(ranks[0][name], ranks[1][name]), name
        torch.testing.assert_close(ranks[0][name], weight, rtol=0, atol=2e-5)
    gradients = load_file(one.with_name("gradients-0.safetensors"))
    for rank in (0, 1):
        found = load_file(two.with_name(f"gradients-{rank}.safetensors"))
        for name, gradient in gradients.items():  # DistributedDataParallel adds "module."
            torch.testing.assert_close(found[f"module.{name}"], gradient, rtol=1e-3, atol=1e-6)
    records = [ModuleRecord.read(out) for out in (one, two)]
    assert [record.steps for record in records] == [4, 4]
    assert records[0].scores == records[1].scores
    assert {path.name for path in two.parent.iterdir() if path.is_dir()} <= {
        "module",
        "module.logs",
    }


def torchrun(request: dict[str, Any]) -> None:
    script = Path(__file__).with_name("training_worker.py")
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2"]
    command += ["--master_addr", "127.0.0.1", "--master_port", "0", str(script)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, json.dumps(request)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    message = Path(request["settings"]["out"]).with_name("module.message")
    assert done.returncode == 0, done.stderr[-2000:] + (
        message.read_text() if message.exists() else ""
    )
