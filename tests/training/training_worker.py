"""Trainings in processes of their own, which a test may kill at a chosen moment.

Importing torch and transformers takes seconds, so one process that has them forks a child for
every training (`serve`). `python training_worker.py REQUEST` does a single training without
forking, which is what torchrun starts.

A request has `settings` (of `train_adapter`, or of what it names as `trains`), `ranks` (processes
that train together) and `stop`:

    {}                              nothing happens
    {"event": 7}                    SIGKILL at the 7th change of files beside the module
    {"seconds": 0.5}                SIGKILL after that time
    {"writing": true}               SIGKILL as soon as a checkpoint is being written
    {"step": 3, "signal": 15}       that signal in the middle of the 3rd step
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from transformers import TrainerCallback
from transformers.integrations import integration_utils

from adapter_stilts.engine.engine import module_parameters
from adapter_stilts.errors import FailureError, InterruptedTrainingError, UserError
from adapter_stilts.training import execute, run
from adapter_stilts.training.finish import finish
from adapter_stilts.training.run import train_multitask
from adapter_stilts.training.target import fuse, train_target
from adapter_stilts.training.trainer import ModuleTrainer

TRAINS: dict[str, Callable[..., Any]] = {
    "adapter": run.train_adapter,
    "target": train_target,
    "multitask": train_multitask,
    "fusion": fuse,
}
_CHANGES = ("os.mkdir", "os.rename", "os.remove", "shutil.rmtree", "open")


class FirstGradients(TrainerCallback):
    """Keeps the gradients of the first optimizer step: `report_to="gradients"`."""

    kept: dict[str, torch.Tensor] = {}  # noqa: RUF012

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Copies them, once."""
        if not self.kept:
            found = kwargs["model"].named_parameters()
            self.kept.update({n: p.grad.clone() for n, p in found if p.grad is not None})


def train(request: dict[str, Any]) -> int:
    """One training; returns the exit code and leaves a message in `OUT.message`."""
    torch.set_num_threads(1)
    out = Path(request["settings"]["out"])
    execute.SAVE_SECONDS = request.get("save_seconds", execute.SAVE_SECONDS)
    integration_utils.INTEGRATION_TO_CALLBACK["gradients"] = FirstGradients
    if request.get("weights"):
        vars(execute)["finish"] = _keep_weights
    _arm(request["stop"], out)
    code, message = 0, ""
    try:
        TRAINS[request.get("trains", "adapter")](**request["settings"])
    except (UserError, FailureError, InterruptedTrainingError) as error:
        code, message = error.exit_code, str(error)
    except BaseException:
        code, message = 70, traceback.format_exc()
    out.with_name(f"{out.name}.message").write_text(message)
    return code


def _keep_weights(job: Any, state: Any, seconds: float, asked: Any) -> Any:
    """Every process writes what it has learnt before the first one writes the module."""
    folder = asked.folder
    rank = os.environ.get("RANK", "0")
    weights = {k: p.detach().clone() for k, p in module_parameters(job.engine, job.name).items()}
    save_file(weights, folder.with_name(f"weights-{rank}.safetensors"))
    save_file(FirstGradients.kept, folder.with_name(f"gradients-{rank}.safetensors"))
    return finish(job, state, seconds, asked)


def _arm(stop: dict[str, Any], out: Path) -> None:
    if "event" in stop:
        left = [int(stop["event"])]

        def count(event: str, details: tuple[Any, ...]) -> None:
            if event in _CHANGES and str(details[0]).startswith(str(out.parent)):
                if event == "open" and not int(details[2]) & (os.O_WRONLY | os.O_RDWR):
                    return
                left[0] -= 1
                if left[0] == 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(count)
    if "step" in stop and os.environ.get("RANK", "0") == "0":
        steps = [int(stop["step"])]
        before = ModuleTrainer.training_step

        def step(self: ModuleTrainer, *args: Any, **kwargs: Any) -> Any:
            steps[0] -= 1
            if steps[0] == 0:
                os.kill(os.getpid(), int(stop["signal"]))
            return before(self, *args, **kwargs)

        ModuleTrainer.training_step = step  # type: ignore[method-assign]


def _fork(request: dict[str, Any], rank: int, port: int) -> int:
    child = os.fork()
    if child:
        return child
    world = int(request["ranks"])
    if world > 1:
        values = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": world, "MASTER_PORT": port}
        os.environ.update({name: str(value) for name, value in values.items()})
        os.environ["MASTER_ADDR"] = "127.0.0.1"
    os._exit(train(request))


def _wait(request: dict[str, Any], children: list[int]) -> list[int]:
    stop = request["stop"]
    out = Path(request["settings"]["out"])
    begun, codes = time.monotonic(), dict[int, int]()
    while len(codes) < len(children):
        for child in children:
            if child not in codes and (done := os.waitpid(child, os.WNOHANG))[0]:
                codes[child] = os.waitstatus_to_exitcode(done[1])
        late = time.monotonic() - begun > float(stop.get("seconds", 200))
        writing = stop.get("writing") and any(out.parent.glob("*.unfinished/.checkpoint-*"))
        if late or writing:
            for child in set(children) - set(codes):
                os.kill(child, signal.SIGKILL)
        time.sleep(0.0005 if stop.get("writing") else 0.005)
    return [codes[child] for child in children]


def serve(requests: Connection, log: Path) -> None:
    """Answers requests with exit codes until there are no more of them."""
    os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT), 2)
    os.dup2(2, 1)
    while (request := requests.recv()) is not None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = int(free.getsockname()[1])
        children = [_fork(request, rank, port) for rank in range(int(request["ranks"]))]
        requests.send(_wait(request, children))


if __name__ == "__main__":
    sys.exit(train(json.loads(sys.argv[1])))
