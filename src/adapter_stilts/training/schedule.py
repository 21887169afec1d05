"""When a training is scored, saved, and stopped early."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import ExportableState

from adapter_stilts.training.processes import any_process
from adapter_stilts.training.selection import is_worn_out


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
        on_stop: Callable[[TrainerState], None] = lambda state: None,
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

    def is_over(self, args: TrainingArguments, state: TrainerState) -> bool:
        """Whether nothing is left to train: all steps done, or stopped early."""
        self._start_clock(state)
        return state.global_step >= state.max_steps or self._is_worn_out(args, state)

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Starts the clock, from where a resumed run left it."""
        self._start_clock(state)

    def _start_clock(self, state: TrainerState) -> None:
        kept: Any = state.stateful_callbacks  # annotated as a list, but kept by name
        mine = kept.get(type(self).__name__, {})
        self._seconds = float(mine.get("attributes", {}).get("seconds", 0.0))
        self._resumed_at = self._saved = time.monotonic()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        """Asks for evaluation and checkpoint where they are due."""
        due = self._is_due(state.global_step, state.max_steps)
        control.should_evaluate = due
        late = time.monotonic() - self._saved > self._save_seconds
        control.should_save = any_process(due or late)
        return control

    def _is_due(self, step: int, steps: int) -> bool:
        before = (step - 1) * self._evaluations // steps
        return step * self._evaluations // steps > before

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Counts evaluations without a better score."""
        self.stopped_early = self._is_worn_out(args, state)

    def _is_worn_out(self, args: TrainingArguments, state: TrainerState) -> bool:
        # The evaluation at hand is not in `best_metric` yet, so the log is read instead.
        key = str(args.metric_for_best_model)
        scores = [entry[key] for entry in state.log_history if key in entry]
        return is_worn_out(
            scores, patience=self._patience, step=state.global_step, steps=state.max_steps
        )

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        """Stops after the checkpoint that follows the last evaluation."""
        self._saved = time.monotonic()
        if self.stopped_early and not control.should_training_stop:
            if state.global_step < state.max_steps:
                self._on_stop(state)
            control.should_training_stop = True
        return control
