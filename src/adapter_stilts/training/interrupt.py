"""Ctrl-C during a training: the step is finished, a checkpoint written, then it stops."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from adapter_stilts.training.processes import any_process


class StopOnSignal(TrainerCallback):
    """Catches SIGINT and SIGTERM while it is entered; a second Ctrl-C stops at once."""

    def __init__(self) -> None:
        self.caught = False
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> StopOnSignal:
        # Python lets only the main thread set handlers.
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._catch)
        return self

    def __exit__(self, *details: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _catch(self, number: int, frame: FrameType | None) -> None:
        if self.caught:
            raise KeyboardInterrupt
        self.caught = True

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        """Asks for a checkpoint and the end of the training."""
        self.caught = any_process(self.caught)
        if self.caught:
            control.should_save = True
            control.should_training_stop = True
        return control
