"""What the tests of training share: short settings, a watching tracker, killable processes."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from training_worker import serve  # type: ignore[import-not-found]
from transformers import TrainerCallback

from adapter_stilts.training.run import Trained
from adapter_stilts.training.trainer import ModuleTrainer
from process_kit import begin, end

Train = Callable[..., Trained]
Weights = dict[str, torch.Tensor]

SHORT: Mapping[str, Any] = {
    "task": "mnli",
    "data": "sample",
    "limit": 24,
    "dev_limit": 8,
    "epochs": 1,
    "max_length": 64,
    "batch_examples": 4,
    "evaluations": 1,
    "precision": "fp32",
    "quiet": True,
}
"""Six steps of four examples, scored once, at the end."""


def spoil_fourth_loss(monkeypatch: pytest.MonkeyPatch, factor: float) -> None:
    """Multiplies the loss of the fourth step, as where a training diverges."""
    whole = ModuleTrainer.compute_loss

    def loss(self: ModuleTrainer, *args: Any, **kwargs: Any) -> Any:
        found = whole(self, *args, **kwargs)
        return found * factor if self.state.global_step == 3 else found

    monkeypatch.setattr(ModuleTrainer, "compute_loss", loss)


@dataclass
class Spy(TrainerCallback):
    """A tracker that keeps what it is told; `on_step` is called before every step."""

    logs: list[dict[str, float]] = field(default_factory=list)
    layers: list[dict[str, torch.Tensor]] = field(default_factory=list)
    seen: dict[str, Any] = field(default_factory=dict)
    gradients: list[dict[str, torch.Tensor]] = field(default_factory=list)
    names: set[str] = field(default_factory=set)
    on_step: Callable[[int], None] | None = None

    def stop_at(self, step: int) -> None:
        """Sends this process a Ctrl-C at the beginning of a step."""

        def interrupt(now: int) -> None:
            if now == step:
                os.kill(os.getpid(), signal.SIGINT)

        self.on_step = interrupt

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Keeps model and optimizer, and the weights before the first step."""
        self.seen = {**kwargs, "args": args}
        self.names = {n for n, p in kwargs["model"].named_parameters() if p.requires_grad}
        self.layers.append(self._trainable())

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Calls the test back."""
        if self.on_step is not None:
            self.on_step(state.global_step + 1)

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Keeps the gradients."""
        found = self.seen["model"].named_parameters()
        self.gradients.append({n: p.grad.clone() for n, p in found if p.grad is not None})

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Keeps the weights after every step."""
        self.layers.append(self._trainable())

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        """Keeps what is logged."""
        self.logs.append(dict(logs))

    def _trainable(self) -> dict[str, torch.Tensor]:
        return {
            name: parameter.detach().clone()
            for name, parameter in self.seen["model"].named_parameters()
            if name in self.names
        }


class Worker:
    """Trains in processes of their own (`training_worker.py`)."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._requests, theirs = multiprocessing.Pipe()
        self._process = begin(serve, theirs, log)
        theirs.close()

    def __call__(
        self,
        settings: dict[str, Any],
        *,
        stop: Mapping[str, Any] | None = None,
        ranks: int = 1,
        **more: Any,
    ) -> list[int]:
        """Exit codes of the processes of one training; `-9` where one was killed."""
        self._requests.send({"settings": settings, "stop": stop or {}, "ranks": ranks, **more})
        try:
            codes: list[int] = self._requests.recv()
        except EOFError:
            raise AssertionError(self._log.read_text()) from None
        return codes

    def close(self) -> None:
        """Ends the process."""
        self._requests.send(None)
        assert end(self._process, 60) == 0
