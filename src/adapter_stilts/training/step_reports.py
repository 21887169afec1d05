"""How far a training is, for a program that shows several trainings, such as a study's."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

Report = Callable[[int, int], None]
"""Takes the steps that are done, and all steps."""
SECONDS = 2.0
_report: ContextVar[Report | None] = ContextVar("report", default=None)


@contextmanager
def report_steps(report: Report) -> Iterator[None]:
    """Inside the block, every training reports its steps, at most every two seconds."""
    before = _report.set(report)
    try:
        yield
    finally:
        _report.reset(before)


class StepReports(TrainerCallback):
    """Reports steps where somebody asked for it."""

    def __init__(self) -> None:
        self._report = _report.get()
        self._reported = float("-inf")

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Reports, unless it has just done so."""
        now = time.monotonic()
        if self._report is not None and now - self._reported >= SECONDS:
            self._reported = now
            self._report(state.global_step, state.max_steps)
