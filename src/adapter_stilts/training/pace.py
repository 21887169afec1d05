"""When a training is scored, saved, and stopped early."""

from __future__ import annotations

import time
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import ExportableState


class Pace(TrainerCallback, ExportableState):  # type: ignore[misc]
    """Scores dev `evaluations` times at even distances, the last time at the end.

    Saves after every evaluation and at least every `save_seconds`. Stops after `patience`
    evaluations in a row without a better score (0: never).
    """

    def __init__(self, *, evaluations: int, patience: int, save_seconds: float) -> None:
        self._evaluations = evaluations
        self._patience = patience
        self._save_seconds = save_seconds
        self._saved = time.monotonic()
        self.seconds = 0.0
        self._resumed_at = time.monotonic()
        self.stopped_early = False

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps: seconds trained so far, over all interruptions."""
        seconds = self.seconds + time.monotonic() - self._resumed_at
        return {"args": {}, "attributes": {"seconds": seconds}}

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Starts the clock, from where a resumed run left it."""
        kept = state.stateful_callbacks.get(type(self).__name__, {})
        self.seconds = float(kept.get("attributes", {}).get("seconds", 0.0))
        self._resumed_at = self._saved = time.monotonic()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        """Asks for evaluation and checkpoint where they are due."""
        due = self._is_due(state.global_step, state.max_steps)
        control.should_evaluate = due
        control.should_save = due or time.monotonic() - self._saved > self._save_seconds
        return control

    def _is_due(self, step: int, steps: int) -> bool:
        before = (step - 1) * self._evaluations // steps
        return step * self._evaluations // steps > before

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Counts evaluations without a better score.

        The evaluation at hand is not in `best_metric` yet, so the log is read instead.
        """
        key = str(args.metric_for_best_model)
        scores = [entry[key] for entry in state.log_history if key in entry]
        best = max(range(len(scores)), key=lambda place: scores[place])
        if self._patience and len(scores) - 1 - best >= self._patience:
            self.stopped_early = True

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        """Stops after the checkpoint that follows the last evaluation."""
        self._saved = time.monotonic()
        if self.stopped_early:
            control.should_training_stop = True
        return control
