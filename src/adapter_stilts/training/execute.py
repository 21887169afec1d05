"""The work of one training: loads the backbone, adds the new module, trains, writes it."""

from __future__ import annotations

import contextlib
import errno
import logging
import math
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import torch
import transformers
from accelerate import PartialState
from safetensors import SafetensorError
from tqdm import tqdm
from transformers import TrainerState, TrainingArguments, set_seed
from transformers.trainer import TRAINER_STATE_NAME

from adapter_stilts.data.load import load_examples, read_language_text, resolve_where
from adapter_stilts.engine.attention import recompute_activations
from adapter_stilts.engine.composition import Call, top
from adapter_stilts.engine.engine import (
    add_head,
    add_module,
    copy_weights,
    load_engine,
    return_memory,
)
from adapter_stilts.engine.fusing import FusionShape, add_fusion, start_fusion
from adapter_stilts.engine.methods import SIZES, get_method, unused_sizes
from adapter_stilts.engine.native import claim_head, head_labels, head_name
from adapter_stilts.engine.words import add_masked_words_head
from adapter_stilts.entry import stop_asked
from adapter_stilts.errors import FailureError, InterruptedTrainingError, UserError, counted, shown
from adapter_stilts.heads import has_weights, is_named
from adapter_stilts.training.batching import epoch_batches
from adapter_stilts.training.callbacks import (
    EvaluationSchedule,
    GradualUnfreezing,
    Progress,
    StepReports,
    StopWhenAsked,
)
from adapter_stilts.training.checkpoint import check_manifest
from adapter_stilts.training.finish import finish
from adapter_stilts.training.folders import (
    claim,
    finished_record,
    latest_checkpoint,
    only_one,
    unfinished,
)
from adapter_stilts.training.job import Data, Job, Schedule, TextData, prepare
from adapter_stilts.training.options import Settings
from adapter_stilts.training.recipe import MOST_PASSES, Recipe
from adapter_stilts.training.spec import Request, TrainingSpec
from adapter_stilts.training.trainer import ModuleTrainer
from adapter_stilts.zoo.local import load_leaves, load_resolved, start_from
from adapter_stilts.zoo.record import ModuleRecord

SAVE_SECONDS = 600.0
SAVE_VARIABLE = "ADSTILTS_SAVE_SECONDS"
"""The environment's seconds between checkpoints, for machines that may be taken away."""

_TRAINING = threading.RLock()
"""All threads of a process draw from the same random numbers: a second training waits."""


def execute(asked: Request) -> ModuleRecord:
    """Trains what was asked for, or goes on with it, and writes it; fails as `train_adapter`."""
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


def add_module_of(job: Job) -> None:
    """The new module with its heads on top of those of the training, and what they start from.

    A module on top of itself is refused.
    """
    engine, spec = job.engine, job.spec
    heads: list[tuple[str, ModuleRecord | None]] = []
    if spec.fuses:
        heads = _add_fusion(job)
    else:
        below = load_resolved(engine, spec.on) if spec.on else None
        if job.name in engine.modules:
            raise UserError(f"'{job.name}' cannot stand on top of itself")
        add_module(
            engine,
            job.name,
            get_method(job.recipe.method),
            job.recipe.shape,
            on=below.inside if below else None,
        )
        heads = [(below.name, below.record)] if below else []
    _add_heads(job)
    if spec.start:
        start = start_fusion if spec.fuses else start_from
        start(engine, job.name, spec.start)
    elif not spec.fresh_head:
        any(_start_head(job, name, record) for name, record in heads)


def _add_heads(job: Job) -> None:
    for data in job.tasks:
        if isinstance(data, TextData):
            add_masked_words_head(job.engine, job.name, data.head, data.words)
            continue
        add_head(
            job.engine,
            data.head,
            data.task.head,
            labels=data.labels,
            choices=data.task.choices,
            dropout=job.recipe.head_dropout,
        )
        claim_head(job.engine, job.name, data.head, trainable=True)
    if job.text:
        add_masked_words_head(job.engine, job.name, job.text[0].head)


def _start_head(job: Job, below: str, record: ModuleRecord | None) -> bool:
    """Whether the head starts from the one below: that is of the same kind with the same labels.

    Of a multi-task module it is the head that suits the task best.
    """
    (data,) = job.tasks
    kind = data.task.head
    chosen = record.suited_task(kind, data.labels) if record and has_weights(kind) else None
    if record is None or chosen is None:
        return False
    source = below if chosen == record.task else head_name(below, chosen)
    if is_named(kind) and head_labels(job.engine, source) != data.labels:  # in the same order
        return False
    return copy_weights(job.engine, source, job.name, head_only=True)


def _add_fusion(job: Job) -> list[tuple[str, ModuleRecord | None]]:
    """A new fusion over the training's modules; the sources' names in the engine and records."""
    warn_of_small_batches(job)
    engine, on = job.engine, job.spec.on
    assert on
    expression = load_leaves(engine, on)
    assert isinstance(expression, Call) and isinstance(on.expression, Call)
    shape = FusionShape.of(job.recipe.method, job.recipe.rank)
    add_fusion(engine, job.name, expression.parts, shape)
    return [
        (top(inside), on.modules[top(part)].record)
        for inside, part in zip(expression.parts, on.expression.parts, strict=True)
    ]


def trainer_arguments(job: Job, folder: Path, report_to: str) -> TrainingArguments:
    """The recipe in the words of transformers."""
    recipe = job.recipe
    bf16 = job.engine.dtype == torch.bfloat16
    # transformers leaves the precision of one training in the environment, where the next one
    # in this process would find it.
    os.environ["ACCELERATE_MIXED_PRECISION"] = "bf16" if bf16 else "no"
    return TrainingArguments(
        output_dir=str(unfinished(folder)),
        logging_dir=str(folder.with_name(f"{folder.name}.logs")),
        per_device_train_batch_size=1,
        gradient_accumulation_steps=recipe.accumulate,
        num_train_epochs=1,  # the batch plan holds all epochs
        learning_rate=recipe.lr,
        lr_scheduler_type="linear",
        warmup_ratio=recipe.warmup,
        weight_decay=recipe.weight_decay,
        max_grad_norm=recipe.max_grad_norm,
        bf16=bf16,
        use_cpu=job.engine.device.type == "cpu",
        eval_strategy="steps",
        eval_steps=10**9,  # `EvaluationSchedule` decides
        save_strategy="no",  # `ModuleTrainer` saves
        logging_steps=10,
        logging_nan_inf_filter=False,
        metric_for_best_model=f"eval_{job.metric}",
        greater_is_better=True,
        disable_tqdm=True,
        report_to=report_to,
        seed=job.seed,
        remove_unused_columns=False,
        ddp_find_unused_parameters=recipe.unfreeze != "none" or len(job.sources) > 1,
        # A batch is a few lists to pad: workers would cost more than they do, and cannot be
        # started in a process that was itself spawned.
        dataloader_num_workers=0,
    )


logger = logging.getLogger(__name__)

LEAST_BATCH = 16
"""Under so many examples a step fusion diverges (adapters#597)."""


FEW_STEPS = 200
"""Under so many optimizer steps the learning rate decides, more than task or method."""
MANY_PASSES = 100
"""More passes over the training data than bring anything."""
FAR = 30
"""A learning rate so many times above or below the usual one was never seen to work."""


def warn_of_schedule(recipe: Recipe, schedule: Schedule, *, sample: bool = False) -> None:
    """Says what to change in a training that is known to go wrong, or that is not as it seems.

    `recipe` is as it was asked for, before `Job.with_schedule` completes it; the bundled `sample`
    suffices for a demonstration only.
    """
    _warn_of_steps(recipe, schedule, sample)
    for size in unused_sizes(recipe.method, {size: getattr(recipe, size) for size in SIZES}):
        logger.warning("method %s has no %s: it changes nothing", recipe.method, size)
    usual, steps, least = schedule.rate, f"{schedule.steps:,}", f"{recipe.min_steps:,}"
    if recipe.lr and not usual / FAR <= recipe.lr <= usual * FAR:
        what = "learning rate %g is far from what works: %g to %g is usual for %s in %s steps"
        logger.warning(what, recipe.lr, usual / 10, usual * 10, recipe.method, steps)
    if recipe.min_steps != Recipe.min_steps and schedule.steps < recipe.min_steps:
        winner = _deciding(recipe) if recipe.steps or recipe.epochs else f"{MOST_PASSES:g} passes"
        logger.warning("%s wins over --min-steps %s: %s steps are made", winner, least, steps)


def _warn_of_steps(recipe: Recipe, schedule: Schedule, sample: bool) -> None:
    steps, option, examples = schedule.steps, _deciding(recipe), f"{schedule.examples:,} examples"
    if steps < FEW_STEPS and not sample:
        logger.warning(
            "%s few: scores may say more of the learning rate than of task or method; "
            "raise %s (%s over %s now)",
            "1 step is" if steps == 1 else f"{steps} steps are",
            option,
            schedule.in_passes,
            examples,
        )
    elif schedule.passes > MANY_PASSES:
        passes = f"{schedule.passes:,.0f} passes over {examples}; 2 to {MOST_PASSES:g} are usual"
        logger.warning("%s steps are %s: lower %s", f"{steps:,}", passes, option)


def _deciding(recipe: Recipe) -> str:
    """The option that the number of steps comes from; steps win over passes."""
    return "--steps" if recipe.steps else "--epochs" if recipe.epochs else "--epochs or --steps"


def warn_of_small_batches(job: Job) -> None:
    """Says so where the steps of a fusion's training have too few examples."""
    recipe = job.recipe
    if recipe.method in ("fusion-uniform", "fusion-arrow"):  # nothing but the head learns
        return
    batches = epoch_batches(job.sources[0].lengths, epoch=0, **job.drawing)
    size = median(map(len, batches)) * recipe.accumulate * PartialState().num_processes
    if size < LEAST_BATCH:
        what = (
            "%d examples a step: fusion is known to diverge under %d; raise --batch-tokens (now "
            "%d) or --accumulate (now %d)"
        )
        logger.warning(what, size, LEAST_BATCH, recipe.batch_tokens, recipe.accumulate)


def announce(job: Job, schedule: Schedule) -> None:
    """Says on standard error, in the first process, what is planned."""
    if not PartialState().is_main_process:
        return
    recipe = job.recipe
    tqdm.write(
        f"planned: {counted(schedule.steps, 'step')}, "
        f"{schedule.in_passes} over {schedule.examples:,} examples; learning rate {recipe.lr:g}",
        file=sys.stderr,
    )
