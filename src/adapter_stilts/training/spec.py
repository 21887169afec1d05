"""What a training is about, before anything heavy is imported."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapter_stilts.engine.methods import DEFAULT_METHOD, LANGUAGE_METHOD, get_method
from adapter_stilts.tasks.spec import TaskSpec
from adapter_stilts.training.text import Text
from adapter_stilts.zoo.record import MULTITASK, ModuleRecord
from adapter_stilts.zoo.resolved_composition import ResolvedComposition


@dataclass(frozen=True)
class Mixture:
    """How several tasks are learnt at once, each with a head of its own.

    `temperature` is that of `mixing.task_shares`; with `normalise_losses`, a guess has the same
    loss in every task (`BatchSource.scaled`); `text` is read for masked language modelling.
    """

    temperature: float = 2.0
    normalise_losses: bool = False
    text: Text | None = None

    def decides(self) -> dict[str, Any]:
        """What of it decides the weights."""
        text = {"text": self.text.decides()} if self.text else {}
        return {"temperature": self.temperature, "normalise": self.normalise_losses, **text}


@dataclass(frozen=True)
class TrainingSpec:
    """What is learnt, and on top of what.

    There is one task, or with a `mixture` several. `on` is the composition below the new module;
    with `fuses`, the modules that it fuses. The head starts from that composition's (or the first
    of these modules'), where both are of one kind with the same labels, unless `fresh_head`.
    `start` is a module of an earlier stage, from whose weights this one goes on. With `text`, a
    file or folder, the task is to predict its masked words. `staged` says that it is one of several
    stages of one training.
    """

    tasks: tuple[TaskSpec, ...]
    on: ResolvedComposition | None = None
    fresh_head: bool = False
    start: Path | None = None
    fuses: bool = False
    mixture: Mixture | None = None
    text: Path | None = None
    staged: bool = False

    @property
    def usual_method(self) -> str:
        """The method of which a module's name says nothing."""
        return LANGUAGE_METHOD if self.text else DEFAULT_METHOD

    @property
    def fuses_loras(self) -> bool:
        """Whether it is a fusion with LoRAs among its modules."""
        below = self.on.methods.values() if self.on and self.fuses else ()
        return any(get_method(each).family == "lora" for each in below)

    @property
    def name(self) -> str:
        """What is learnt, in a word."""
        return MULTITASK if self.mixture else self.tasks[0].name

    def decides(self) -> dict[str, Any]:
        """What of it decides the weights, besides the data."""
        below = {
            "on": self.on.identity if self.on else "",
            "head_of_source": self.fuses and not self.fresh_head,
            "fresh_head": self.fresh_head,
            "start": ModuleRecord.read(self.start).run if self.start else "",
            "tasks": [task.name for task in self.tasks] if self.mixture else [],
            "mixture": self.mixture.decides() if self.mixture else {},
            "own": [task.identity for task in self.tasks if task.identity],
        }
        return {"task": self.name, **{key: value for key, value in below.items() if value}}
