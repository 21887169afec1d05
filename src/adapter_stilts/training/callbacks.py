"""Callbacks of a training: when it is scored, saved and stopped, what learns, what is shown."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from accelerate import PartialState
from tqdm import tqdm
from transformers import TrainerCallback, TrainingArguments
from transformers import TrainerControl as Control
from transformers import TrainerState as State
from transformers.trainer_callback import ExportableState

from adapter_stilts.backbones import default_device
from adapter_stilts.display import scores_line
from adapter_stilts.engine.engine import Engine, layer_of, module_parameters


class EvaluationSchedule(TrainerCallback, ExportableState):
    """Scores dev `evaluations` times at even distances, the last time at the end.

    Saves after every evaluation and at least every `save_seconds`. Stops where `is_worn_out` says
    so, and tells `on_stop` then.
    """

    def __init__(
        self,
        *,
        evaluations: int,
        patience: int,
        save_seconds: float,
        on_stop: Callable[[State], None] = lambda state: None,
    ) -> None:
        self._evaluations = evaluations
        self._patience = patience
        self._save_seconds = save_seconds
        self._on_stop = on_stop
        self._saved = time.monotonic()
        self._seconds = 0.0
        self._resumed_at = time.monotonic()
        self.stopped_early = False

    @property
    def total_seconds(self) -> float:
        """Seconds trained so far, over all interruptions."""
        return self._seconds + time.monotonic() - self._resumed_at

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"args": {}, "attributes": {"seconds": self.total_seconds}}

    def is_over(self, args: TrainingArguments, state: State) -> bool:
        """Whether nothing is left to train: all steps done, or stopped early."""
        self._start_clock(state)
        return state.global_step >= state.max_steps or self._is_worn_out(args, state)

    def on_train_begin(self, args: Any, state: State, control: Control, **kwargs: Any) -> None:
        """Starts the clock, from where a resumed run left it."""
        self._start_clock(state)

    def _start_clock(self, state: State) -> None:
        kept: Any = state.stateful_callbacks  # annotated as a list, but kept by name
        mine = kept.get(type(self).__name__, {})
        self._seconds = float(mine.get("attributes", {}).get("seconds", 0.0))
        self._resumed_at = self._saved = time.monotonic()

    def on_step_end(self, args: Any, state: State, control: Control, **kwargs: Any) -> Control:
        """Asks for evaluation and checkpoint where they are due."""
        step, steps, times = state.global_step, state.max_steps, self._evaluations
        due = step * times // steps > (step - 1) * times // steps
        control.should_evaluate = due
        late = time.monotonic() - self._saved > self._save_seconds
        control.should_save = any_process(due or late)
        return control

    def on_evaluate(self, args: Any, state: State, control: Control, **kwargs: Any) -> None:
        """Counts evaluations without a better score."""
        self.stopped_early = self._is_worn_out(args, state)

    def _is_worn_out(self, args: TrainingArguments, state: State) -> bool:
        scores, step, steps = scores_so_far(args, state), state.global_step, state.max_steps
        return is_worn_out(scores, patience=self._patience, step=step, steps=steps)

    def on_save(self, args: Any, state: State, control: Control, **kwargs: Any) -> Control:
        """Stops after the checkpoint that follows the last evaluation."""
        self._saved = time.monotonic()
        if self.stopped_early and not control.should_training_stop:
            if state.global_step < state.max_steps:
                self._on_stop(state)
            control.should_training_stop = True
        return control


class StopWhenAsked(TrainerCallback):
    """Ends a training after a checkpoint when that is asked for; `stopped` says so."""

    def __init__(self, asked: Callable[[], bool]) -> None:
        self._asked = asked
        self.stopped = False

    def on_step_end(self, args: Any, state: State, control: Control, **kwargs: Any) -> Control:
        """Asks for a checkpoint and the end of the training."""
        self.stopped = any_process(self._asked())
        if self.stopped:
            control.should_save = True
            control.should_training_stop = True
        return control


def lowest_trained_layer(step: int, *, layers: int, unfreeze_steps: int) -> int:
    """The lowest layer whose module learns at `step` (0-based); layers are freed at an even pace.

    At step 0 only the top layer's module learns; from `unfreeze_steps` on all do (Liu et al.
    2023, "FUN with Fisher", section 3). Below that layer no gradient is computed, which makes
    the early steps cheaper as well.
    """
    if step >= unfreeze_steps:
        return 0
    freed = 1 + step * layers // unfreeze_steps
    return max(0, layers - freed)


class GradualUnfreezing(TrainerCallback):
    """Turns gradients of the modules' layers on from the top layer down.

    The state follows from the step number alone, so a resumed run needs nothing saved.
    """

    def __init__(self, engine: Engine, name: str, unfreeze_steps: int) -> None:
        self._layers = engine.layers
        self._steps = unfreeze_steps
        self._by_layer = [
            (layer, parameter)
            for key, parameter in module_parameters(engine, name).items()
            if (layer := layer_of(key)) is not None
        ]

    def on_step_begin(self, args: Any, state: State, control: Control, **kwargs: Any) -> None:
        """Sets which parameters take part in the coming step."""
        lowest = lowest_trained_layer(
            state.global_step, layers=self._layers, unfreeze_steps=self._steps
        )
        for layer, parameter in self._by_layer:
            parameter.requires_grad_(layer >= lowest)


RULES = 2
"""Raised when the same scores come to stop a training elsewhere or to keep another step."""


def scores_so_far(args: TrainingArguments, state: State) -> list[float]:
    """The score that counts, at every evaluation; `best_metric` would lack the one at hand."""
    key = str(args.metric_for_best_model)
    return [entry[key] for entry in state.log_history if key in entry]


def place_of_best(scores: Sequence[float]) -> int:
    """The evaluation to keep: the first with the highest score.

    Where no score has risen above the first one, it is the last that equals it: on a plateau, as
    that of the majority class, what was trained longest is the better guess.
    """
    best = max(scores)
    if best > scores[0]:
        return scores.index(best)
    return max(place for place, score in enumerate(scores) if score == best)


def is_worn_out(scores: Sequence[float], *, patience: int, step: int, steps: int) -> bool:
    """Whether to stop: `patience` evaluations in a row brought no better score (0: never).

    Never before half of the steps, nor before any score has risen: many trainings begin on a
    plateau, and the learning rate is at its highest in the first half.

    >>> is_worn_out([50.0, 60.0, 60.0, 55.0], patience=2, step=40, steps=80)
    True
    >>> is_worn_out([50.0, 50.0, 50.0, 50.0], patience=2, step=40, steps=80)
    False
    """
    if not patience or 2 * step < steps or not scores or max(scores) <= scores[0]:
        return False
    return len(scores) - 1 - scores.index(max(scores)) >= patience


def this_process() -> PartialState:
    """Which of a training's processes this is.

    Without being told, `accelerate` takes every process on a CPU for the only one, until
    transformers begins to train.
    """
    return PartialState(cpu=default_device().type == "cpu")


def any_process(wish: bool) -> bool:
    """Whether any process of this training wishes so; every process has to ask.

    A clock or a signal tells processes different things at the same step. If one of them wrote a
    checkpoint alone, it would wait for the others for ever.
    """
    state = PartialState()
    if state.num_processes == 1:
        return wish
    flag = torch.tensor(int(wish), device=state.device)
    torch.distributed.all_reduce(flag, op=torch.distributed.ReduceOp.MAX)
    return bool(flag)


class Progress(TrainerCallback):
    """One bar on standard error, of the first process: loss, tokens a second, time left.

    Dev scores stand on lines of their own above it.
    """

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

    def show_scores(self, state: State, scores: dict[str, float], seconds: float) -> None:
        """Prints the dev scores above the bar."""
        self._evaluating += seconds
        if self._bar is not None:
            place = f"step {state.global_step}/{state.max_steps}"
            self._bar.write(f"{place}: dev {scores_line(scores)}", file=sys.stderr)

    def show_stop(self, state: State, patience: int) -> None:
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
