"""One progress bar: loss, tokens a second, time left; dev scores on lines of their own."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from accelerate import PartialState
from tqdm import tqdm
from transformers import TrainerCallback
from transformers import TrainerControl as Control
from transformers import TrainerState as State

from adapter_stilts.training.job import Job
from adapter_stilts.training.planning import Schedule


def announce(job: Job, schedule: Schedule) -> None:
    """Says on standard error, in the first process, what is planned."""
    if not PartialState().is_main_process:
        return
    recipe = job.recipe
    tqdm.write(
        f"planned: {schedule.steps:,} {'step' if schedule.steps == 1 else 'steps'}, "
        f"{schedule.in_passes} over {schedule.examples:,} examples; learning rate {recipe.lr:g}",
        file=sys.stderr,
    )


class Progress(TrainerCallback):
    """Draws the bar on standard error, in the first process only."""

    def __init__(self, tokens: list[int]) -> None:
        """Takes the number of tokens of every step, in order."""
        self._tokens = tokens
        self._bar: tqdm[Any] | None = None
        self._started = 0.0
        self._from_step = 0
        self._evaluating = 0.0

    def on_train_begin(self, args: Any, state: State, control: Control, **kwargs: Any) -> None:
        """Opens the bar, at the step a resumed run continues from."""
        if state.is_world_process_zero:
            self._started, self._from_step = time.monotonic(), state.global_step
            self._bar = tqdm(
                total=state.max_steps,
                initial=state.global_step,
                unit="step",
                dynamic_ncols=True,
                file=sys.stderr,
                mininterval=0.5,
            )

    def on_step_end(self, args: Any, state: State, control: Control, **kwargs: Any) -> None:
        """Moves the bar and renews tokens a second."""
        if self._bar is None:
            return
        seconds = time.monotonic() - self._started - self._evaluating
        done = sum(self._tokens[self._from_step : state.global_step])
        rate = f"{done / max(seconds, 1e-9):,.0f}"
        losses = [entry["loss"] for entry in state.log_history[-3:] if "loss" in entry]
        loss = f"loss {losses[-1]:.3f}, " if losses else ""
        self._bar.set_postfix_str(f"{loss}{rate} tokens/s", refresh=False)
        self._bar.update(state.global_step - self._bar.n)

    def evaluated(self, state: State, scores: dict[str, float], seconds: float) -> None:
        """Prints the dev scores above the bar."""
        self._evaluating += seconds
        if self._bar is not None:
            shown = ", ".join(f"{name} {value:.1f}" for name, value in scores.items())
            self._bar.write(
                f"step {state.global_step}/{state.max_steps}: dev {shown}", file=sys.stderr
            )

    def stopped(self, state: State, patience: int) -> None:
        """Says that the training ends before its last step, and why."""
        if self._bar is not None:
            self._bar.write(
                f"stopped early at step {state.global_step} of {state.max_steps}: no better dev "
                f"score in {patience} evaluations (--patience 0 never stops early)",
                file=sys.stderr,
            )

    def on_train_end(self, args: Any, state: State, control: Control, **kwargs: Any) -> None:
        """Closes the bar."""
        self.close()

    def close(self) -> None:
        """Closes the bar, also after a failure."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


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

    def on_step_end(self, args: Any, state: State, control: Control, **kwargs: Any) -> None:
        """Reports, unless it has just done so."""
        now = time.monotonic()
        if self._report is not None and now - self._reported >= SECONDS:
            self._reported = now
            self._report(state.global_step, state.max_steps)
