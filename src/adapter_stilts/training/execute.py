"""The work of one training: loads the backbone, trains, writes the module."""

from __future__ import annotations

import contextlib
import errno
import logging
import math
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError
from transformers import TrainerState, TrainingArguments, set_seed
from transformers.trainer import TRAINER_STATE_NAME

from adapter_stilts.data.language import read_language_text
from adapter_stilts.data.load import load_examples, resolve_where
from adapter_stilts.engine.attention import recompute_activations
from adapter_stilts.engine.engine import load_engine, return_memory
from adapter_stilts.errors import FailureError, InterruptedTrainingError, UserError, shown
from adapter_stilts.interrupts import stop_asked
from adapter_stilts.training.begin import (
    add_module_of,
    announce,
    trainer_arguments,
    warn_of_schedule,
)
from adapter_stilts.training.callbacks import (
    EvaluationSchedule,
    GradualUnfreezing,
    Progress,
    StepReports,
    StopWhenAsked,
)
from adapter_stilts.training.checkpoint import check_manifest
from adapter_stilts.training.finish import finish
from adapter_stilts.training.folders import claim, finished_record, latest_checkpoint, only_one
from adapter_stilts.training.job import Data, Job, prepare
from adapter_stilts.training.options import Settings
from adapter_stilts.training.recipe import Recipe
from adapter_stilts.training.spec import Request, TrainingSpec
from adapter_stilts.training.trainer import ModuleTrainer
from adapter_stilts.zoo.record import ModuleRecord

SAVE_SECONDS = 600.0
SAVE_VARIABLE = "ADSTILTS_SAVE_SECONDS"
"""The environment's seconds between checkpoints, for machines that may be taken away."""

_TRAINING = threading.RLock()
"""All threads of a process draw from the same random numbers: a second training waits."""


def execute(asked: Request) -> ModuleRecord:
    """Trains what was asked for, or goes on with it, and writes the module.

    Raises:
        UserError: something about the data is wrong, or another run lies there.
        FailureError: disk or memory ran out, or the training diverged.
        InterruptedTrainingError: Ctrl-C; a checkpoint has been written.
    """
    recipe, options, folder = asked.recipe, asked.options, asked.folder
    with _TRAINING, clear_failures(recipe, folder), only_one(folder):
        parts = _read_parts(asked.spec, options)
        set_seed(options.seed)
        offload = recipe.activations == "offloaded"
        engine = load_engine(asked.backbone, precision=recipe.precision, offload=offload)
        if recipe.activations != "kept":
            recompute_activations(engine.model)
        prepared = prepare(asked.spec, recipe, options.seed, asked.name, engine, parts)
        job, schedule = prepared.with_schedule()
        settings = asked.settings(job.recipe)
        done = finished_record(asked, job, settings)
        if done is not None:
            return done
        claim(asked, job, settings)
        args = trainer_arguments(job, folder, options.report_to)
        warn_of_schedule(recipe, schedule, sample=resolve_where(options.data) == "sample")
        if not options.quiet:
            announce(job, schedule)
        state, seconds = _run(job, asked.work, args, quiet=options.quiet)
        return finish(job, state, seconds, asked)


@contextlib.contextmanager
def clear_failures(recipe: Recipe, folder: Path) -> Iterator[None]:
    """Turns full disks and full memory into a `FailureError`: one line that names the remedy."""
    try:
        yield
    except (MemoryError, RuntimeError, OSError, SafetensorError) as error:
        if is_out_of_memory(error):
            raise FailureError(
                f"out of memory: lower --batch-tokens (now {recipe.batch_tokens}) or --max-length "
                f"(now {recipe.max_length}), for a dual encoder --batch-examples (now "
                f"{recipe.batch_examples}); a checkpoint, if one was written, continues with "
                "--resume"
            ) from error
        if is_full(error):
            raise FailureError(
                f"disk full while writing near {folder}: free some space, then run again with "
                "--resume"
            ) from error
        raise


def is_out_of_memory(error: BaseException | None) -> bool:
    """Whether memory was full, that of the machine or of its GPU."""
    said = isinstance(error, RuntimeError) and any(
        text in str(error) for text in ("can't allocate memory", "not enough memory")
    )
    return said or isinstance(error, torch.OutOfMemoryError | MemoryError)


def is_full(error: BaseException | None) -> bool:
    """Whether a disk was full."""
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    return full or "No space left" in str(error)


def _run(
    job: Job, work: Path, args: TrainingArguments, *, quiet: bool
) -> tuple[TrainerState, float]:
    """Trains, or goes on from the last checkpoint; the engine then holds the best weights."""
    recipe = job.recipe
    add_module_of(job)
    plan, tokens = job.plan()
    schedule = EvaluationSchedule(
        evaluations=min(recipe.evaluations, len(tokens)),
        patience=recipe.patience,
        save_seconds=_save_seconds(),
        on_stop=lambda state: bar.show_stop(state, recipe.patience),
    )
    bar = Progress(tokens)
    with _quiet_libraries(), stop_asked() as asked, contextlib.closing(bar):
        stop = StopWhenAsked(asked)
        callbacks: list[Any] = [schedule, stop, StepReports(), *([] if quiet else [bar])]
        if recipe.unfreeze == "top-down":
            unfreeze_steps = round(recipe.unfreeze_fraction * len(tokens))
            callbacks.append(GradualUnfreezing(job.engine, job.name, unfreeze_steps))
        trainer = ModuleTrainer(
            job.engine,
            job.name,
            args,
            sources=job.sources,
            plan=plan,
            score=job.dev_scores,
            callbacks=callbacks,
            on_scores=lambda state, scores, seconds: bar.show_scores(
                state, job.headline(scores), seconds
            ),
            keep=recipe.keep,
            average_last=recipe.average_last,
        )
        # All texts are encoded: their features lie on disk.
        job.engine.backbone.put_tokenizer_away()
        return_memory(job.engine)
        _train(trainer, schedule, latest_checkpoint(work))
    if (stop.stopped or asked()) and trainer.state.global_step < trainer.state.max_steps:
        raise InterruptedTrainingError(
            f"stopped at step {trainer.state.global_step} of {trainer.state.max_steps}; "
            f"saved in {work}: add --resume to the same command to go on"
        )
    trainer.take_kept()
    return trainer.state, schedule.total_seconds


def _save_seconds() -> float:
    given = os.environ.get(SAVE_VARIABLE)
    if given is None:
        return SAVE_SECONDS
    try:
        seconds = float(given)
    except ValueError:
        seconds = math.nan
    if not seconds >= 0:
        raise UserError(f"{SAVE_VARIABLE}={shown(given)}: seconds are needed, such as 60")
    return seconds


def _train(trainer: ModuleTrainer, schedule: EvaluationSchedule, checkpoint: Path | None) -> None:
    if checkpoint is None:
        trainer.train()
        return
    check_manifest(checkpoint)
    state = TrainerState.load_from_json(str(checkpoint / TRAINER_STATE_NAME))
    trainer.read_checkpoint(checkpoint)
    if schedule.is_over(trainer.args, state):
        # Killed between its last checkpoint and the writing of the module.
        trainer.state = state
    else:
        trainer.train_from(checkpoint)


@contextlib.contextmanager
def _quiet_libraries() -> Iterator[None]:
    """Keeps the libraries' notes out of the progress bar; errors still show."""
    before = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        transformers.logging.set_verbosity(before)


def _read_parts(spec: TrainingSpec, options: Settings) -> Data:
    """The training and dev examples of every task; training rows may be skipped."""
    limit, dev_limit, seed = options.limit, options.dev_limit, options.seed
    skip_bad, data = options.skip_bad_rows, options.data
    if spec.text:
        return [read_language_text(spec.text, limit=limit, dev_limit=dev_limit, seed=seed)]
    return [
        (
            load_examples(each, "train", data, limit=limit, seed=seed, skip_bad=skip_bad),
            load_examples(each, "dev", data, limit=dev_limit, seed=seed),
        )
        for each in spec.tasks
    ]
