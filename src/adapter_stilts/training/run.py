"""One training from task and recipe to a module on disk."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import transformers
from transformers import TrainerState, TrainingArguments, set_seed
from transformers.trainer import TRAINER_STATE_NAME

from adapter_stilts.backbones import DEFAULT_BACKBONE, default_device, find_backbone
from adapter_stilts.modules.engine import load_engine
from adapter_stilts.tasks.registry import get_task
from adapter_stilts.training.arguments import (
    check_numbers,
    check_tracker,
    completed,
    trainer_arguments,
)
from adapter_stilts.training.begin import add_module_of, check_method
from adapter_stilts.training.checkpoint import check_manifest, latest_checkpoint
from adapter_stilts.training.failures import InterruptedTrainingError, clear_failures
from adapter_stilts.training.finish import finish
from adapter_stilts.training.folders import check_free, claim, finished, only_one, unfinished
from adapter_stilts.training.interrupt import StopOnSignal
from adapter_stilts.training.job import Job, Lesson, prepare
from adapter_stilts.training.naming import chosen_recipe, default_folder, module_name
from adapter_stilts.training.pace import Pace
from adapter_stilts.training.planning import make_plan
from adapter_stilts.training.progress import Progress
from adapter_stilts.training.reading import read_parts
from adapter_stilts.training.recipe import Recipe
from adapter_stilts.training.trainer import ModuleTrainer
from adapter_stilts.training.unfreezing import GradualUnfreezing
from adapter_stilts.zoo.record import ModuleRecord

SAVE_SECONDS = 600.0


@dataclass(frozen=True)
class Trained:
    """A trained module on disk."""

    path: Path
    record: ModuleRecord


def train_adapter(
    task: str | Lesson,
    *,
    backbone: str = DEFAULT_BACKBONE,
    data: str | None = None,
    recipe: str | Recipe = "default",
    seed: int = 0,
    limit: int | None = None,
    dev_limit: int | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    skip_bad_rows: bool = False,
    report_to: str = "none",
    quiet: bool = False,
    **changes: Any,
) -> Trained:
    """Trains one module for one task on a frozen backbone and writes it to disk.

    Args:
        task: name of an intermediate task, such as `squad` (or what `train_target`, `fuse`,
            `train_multitask` and `train_language` make of theirs).
        backbone: `embedded`, a local folder, or a Hub id.
        data: `hub`, `sample`, or a folder with official files; None: `ADSTILTS_DATA` or the Hub.
        recipe: a recipe, its name, or a YAML file.
        seed: of initial weights and order of the examples.
        limit, dev_limit: examples to draw at random from the training and dev data.
        out: folder of the module; by default `ZOO/BACKBONE/TASK[-METHOD]`.
        resume: continue an interrupted run of the same settings.
        overwrite: replace a module or an unfinished run that lies at `out`.
        skip_bad_rows: leave out training rows that cannot be used, such as questions with an
            answer that is not at its offset, and say how many; without, they are refused.
        report_to: experiment tracker, as `transformers.TrainingArguments` takes it; what it
            writes as files goes to a folder `....logs` beside the module.
        quiet: no progress bar.
        changes: recipe fields to change, such as `method="lora"` or `epochs=1`.

    Returns:
        Where the module lies, and its record with dev scores.

    Raises:
        UserError: something about the arguments or the data is wrong.
        FailureError: disk or memory ran out, or the training diverged.
        InterruptedTrainingError: Ctrl-C; a checkpoint has been written.
    """
    lesson = Lesson((get_task(task),)) if isinstance(task, str) else task
    chosen = chosen_recipe(recipe, changes)
    check_numbers(seed=seed, limit=limit, dev_limit=dev_limit)
    check_tracker(report_to)
    found = find_backbone(backbone)
    chosen = completed(chosen, lesson, found)
    name = module_name(lesson, chosen.method)
    check_method(lesson, chosen.method, name)
    folder = Path(out) if out else default_folder(found, name, lesson.on)
    work = unfinished(folder)
    check_free(folder, resume=resume, overwrite=overwrite)
    with clear_failures(chosen, folder), only_one(folder):
        parts = read_parts(
            lesson, data, limit=limit, dev_limit=dev_limit, seed=seed, skip_bad=skip_bad_rows
        )
        set_seed(seed)
        engine = load_engine(found, precision=chosen.precision, device=default_device())
        job = prepare(lesson, chosen, seed, name, engine, parts)
        done = finished(folder, job, resume=resume, overwrite=overwrite)
        if done is not None:
            return Trained(folder, done)
        claim(work, job, resume=resume, overwrite=overwrite)
        state, seconds = _run(job, work, trainer_arguments(job, folder, report_to), quiet=quiet)
        record = finish(job, state, seconds, folder, work)
    return Trained(folder, record)


def _run(
    job: Job, work: Path, args: TrainingArguments, *, quiet: bool
) -> tuple[TrainerState, float]:
    """Trains, or goes on from the last checkpoint; the engine then holds the best weights."""
    recipe = job.recipe
    add_module_of(job)
    plan, tokens = make_plan(job)
    pace = Pace(
        evaluations=min(recipe.evaluations, len(tokens)),
        patience=recipe.patience,
        save_seconds=SAVE_SECONDS,
    )
    bar, stop = Progress(tokens), StopOnSignal()
    callbacks: list[Any] = [pace, stop] if quiet else [pace, stop, bar]
    if recipe.unfreeze == "top-down":
        unfreeze_steps = round(recipe.unfreeze_fraction * len(tokens))
        callbacks.append(GradualUnfreezing(job.engine, job.name, unfreeze_steps))
    with _quiet_libraries(), stop, contextlib.closing(bar):
        trainer = ModuleTrainer(
            job.engine,
            job.name,
            args,
            sources=job.sources,
            plan=plan,
            score=job.dev_scores,
            callbacks=callbacks,
            on_scores=lambda state, scores, seconds: bar.evaluated(
                state, job.headline(scores), seconds
            ),
        )
        _train(trainer, pace, latest_checkpoint(work))
    if stop.caught and trainer.state.global_step < trainer.state.max_steps:
        raise InterruptedTrainingError(
            f"stopped at step {trainer.state.global_step} of {trainer.state.max_steps}; "
            f"saved in {work}: add --resume to the same command to go on"
        )
    return trainer.state, pace.total_seconds


def _train(trainer: ModuleTrainer, pace: Pace, checkpoint: Path | None) -> None:
    if checkpoint is None:
        trainer.train()
        return
    check_manifest(checkpoint)
    state = TrainerState.load_from_json(str(checkpoint / TRAINER_STATE_NAME))
    if pace.is_over(trainer.args, state):
        # Killed between its last checkpoint and the writing of the module.
        trainer.take_best(checkpoint, state)
    else:
        trainer.train(resume_from_checkpoint=str(checkpoint))


@contextlib.contextmanager
def _quiet_libraries() -> Iterator[None]:
    """Keeps the libraries' notes out of the progress bar; errors still show."""
    before = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        transformers.logging.set_verbosity(before)


__all__ = ["InterruptedTrainingError", "Trained", "train_adapter"]
