"""One training from task and recipe to a module on disk."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import errno
import hashlib
import json
import logging
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch
import transformers
from accelerate import PartialState
from safetensors import SafetensorError
from transformers import TrainingArguments, set_seed

from adapter_stilts.backbones import DEFAULT_BACKBONE, default_device, find_backbone
from adapter_stilts.data.load import ExampleSet, load_examples
from adapter_stilts.errors import FailureError, UserError
from adapter_stilts.features.batch import padded_length
from adapter_stilts.features.build import build_features
from adapter_stilts.inference.predictions import predict_features, score_predictions
from adapter_stilts.metrics import primary
from adapter_stilts.modules.engine import Engine, add_module, load_engine, module_parameters
from adapter_stilts.modules.methods import DEFAULT_METHOD, get_method
from adapter_stilts.paths import zoo_dir
from adapter_stilts.tasks.registry import get_task
from adapter_stilts.tasks.spec import TaskSpec
from adapter_stilts.training.batching import BatchPlan
from adapter_stilts.training.checkpoint import latest_checkpoint
from adapter_stilts.training.environment import machine, peak_memory_mb, versions
from adapter_stilts.training.interrupt import StopOnSignal
from adapter_stilts.training.pace import Pace
from adapter_stilts.training.progress import Progress
from adapter_stilts.training.recipe import Recipe, get_recipe
from adapter_stilts.training.trainer import ModuleTrainer
from adapter_stilts.training.unfreezing import GradualUnfreezing
from adapter_stilts.zoo.local import save_module
from adapter_stilts.zoo.record import RECORD, ModuleRecord

logger = logging.getLogger(__name__)

SAVE_SECONDS = 600.0


class InterruptedTrainingError(Exception):
    """Ctrl-C: the work so far is saved; the message says how to go on."""

    exit_code = 130


@dataclass(frozen=True)
class Trained:
    """A trained module on disk."""

    path: Path
    record: ModuleRecord


@dataclass
class _Job:
    """Everything one training needs, decided before it starts."""

    task: TaskSpec
    recipe: Recipe
    seed: int
    name: str
    engine: Engine
    train: ExampleSet
    dev: ExampleSet
    tags: list[str]
    train_features: datasets.Dataset
    dev_features: datasets.Dataset
    run: str

    @property
    def labels(self) -> tuple[str, ...]:
        return self.task.labels or tuple(self.tags)


def train_adapter(
    task: str,
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
    report_to: str = "none",
    quiet: bool = False,
    **changes: Any,
) -> Trained:
    """Trains one module for one task on a frozen backbone and writes it to disk.

    Args:
        task: name of an intermediate task, such as `squad`.
        backbone: `embedded`, a local folder, or a Hub id.
        data: `hub`, `sample`, or a folder with official files; None: `ADSTILTS_DATA` or the Hub.
        recipe: a recipe, its name, or a YAML file.
        seed: of initial weights and order of the examples.
        limit, dev_limit: examples to draw at random from the training and dev data.
        out: folder of the module; by default `ZOO/BACKBONE/TASK[-METHOD]`.
        resume: continue an interrupted run of the same settings.
        overwrite: replace a module or an unfinished run that lies at `out`.
        report_to: experiment tracker, as `transformers.TrainingArguments` takes it.
        quiet: no progress bar.
        changes: recipe fields to change, such as `method="lora"` or `epochs=1`.

    Returns:
        Where the module lies, and its record with dev scores.

    Raises:
        UserError: something about the arguments or the data is wrong.
        FailureError: disk or memory ran out, or the training diverged.
        InterruptedTrainingError: Ctrl-C; a checkpoint has been written.
    """
    spec = get_task(task)
    chosen = get_recipe(recipe) if isinstance(recipe, str) else recipe
    chosen = chosen.replace(**changes)
    name = spec.name if chosen.method == DEFAULT_METHOD else f"{spec.name}-{chosen.method}"
    found = find_backbone(backbone)
    folder = Path(out) if out else zoo_dir() / found.slug / name
    work = folder.with_name(f"{folder.name}.unfinished")
    _check_free(folder, work, resume=resume, overwrite=overwrite)
    length = chosen.max_length or min(spec.max_length, found.max_length)
    if length > found.max_length:
        raise UserError(
            f"max-length {length} is over the {found.max_length} tokens that backbone "
            f"'{backbone}' has positions for"
        )
    chosen = chosen.replace(max_length=length, lr=chosen.learning_rate)
    with _clear_failures(chosen, folder):
        train = load_examples(spec, "train", data, limit=limit, seed=seed)
        dev = load_examples(spec, "dev", data, limit=dev_limit, seed=seed)
        set_seed(seed)
        engine = load_engine(found, precision=chosen.precision, device=default_device())
        job = _prepare(spec, chosen, seed, name, engine, train, dev)
        _claim(work, job, resume=resume, overwrite=overwrite)
        trainer, pace = _run(job, work, report_to=report_to, quiet=quiet)
        record = _finish(job, trainer, pace, folder, work)
    return Trained(folder, record)


def _check_free(folder: Path, work: Path, *, resume: bool, overwrite: bool) -> None:
    if overwrite or resume:
        return
    if (folder / RECORD).exists():
        raise UserError(f"a module lies at {folder} already: choose --out or add --overwrite")
    if folder.is_dir() and any(folder.iterdir()):
        raise UserError(f"{folder} is not empty: choose another --out")
    if latest_checkpoint(work):
        raise UserError(
            f"an unfinished run lies at {work}: add --resume to continue it, or --overwrite to "
            "begin anew"
        )


@contextlib.contextmanager
def _clear_failures(recipe: Recipe, folder: Path) -> Iterator[None]:
    """Turns full disks and full memory into one line that names the remedy."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise _out_of_memory(recipe) from error
    except MemoryError as error:
        raise _out_of_memory(recipe) from error
    except RuntimeError as error:
        if "can't allocate memory" in str(error) or "not enough memory" in str(error):
            raise _out_of_memory(recipe) from error
        raise
    except (OSError, SafetensorError) as error:
        full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
        if full or "No space left" in str(error):
            raise FailureError(
                f"disk full while writing near {folder}: free some space, then run again with "
                "--resume"
            ) from error
        raise


def _out_of_memory(recipe: Recipe) -> FailureError:
    return FailureError(
        f"out of memory: lower --batch-tokens (now {recipe.batch_tokens}) or --max-length (now "
        f"{recipe.max_length}); a checkpoint, if one was written, continues with --resume"
    )


def _prepare(
    spec: TaskSpec,
    recipe: Recipe,
    seed: int,
    name: str,
    engine: Engine,
    train: ExampleSet,
    dev: ExampleSet,
) -> _Job:
    tags: list[str] = []
    if spec.head == "tagging":
        counts = Counter(tag for row in train.examples["tags"] for tag in row)
        tags = sorted(counts, key=lambda tag: (-counts[tag], tag))
    tokenizer = engine.backbone.tokenizer
    train_features, dev_features = (
        build_features(
            spec.head,
            part.examples,
            part.fingerprint,
            tokenizer,
            max_length=recipe.max_length,
            stride=recipe.stride,
            tags=tags,
        )
        for part in (train, dev)
    )
    run = _run_id(spec, recipe, seed, engine, train, dev)
    return _Job(
        spec, recipe, seed, name, engine, train, dev, tags, train_features, dev_features, run
    )


def _run_id(
    spec: TaskSpec,
    recipe: Recipe,
    seed: int,
    engine: Engine,
    train: ExampleSet,
    dev: ExampleSet,
) -> str:
    decides = {
        "task": spec.name,
        "recipe": dataclasses.asdict(recipe),
        "dtype": str(engine.dtype),
        "seed": seed,
        "backbone": engine.fingerprint,
        "data": [train.fingerprint, dev.fingerprint],
        "world": PartialState().num_processes,
    }
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:16]


def _claim(work: Path, job: _Job, *, resume: bool, overwrite: bool) -> None:
    """Makes the folder of the unfinished run, or checks that it is of the same run."""
    note = work / "run.json"
    state = PartialState()
    if state.is_main_process:
        if overwrite and not resume and work.exists():
            shutil.rmtree(work)
        if resume and latest_checkpoint(work):
            began = json.loads(note.read_text(encoding="utf-8")).get("run")
            if began != job.run:
                raise UserError(
                    f"the unfinished run at {work} has other settings or data: give the same "
                    "ones, or --overwrite to begin anew"
                )
        work.mkdir(parents=True, exist_ok=True)
        fields = {"run": job.run, "task": job.task.name, "recipe": dataclasses.asdict(job.recipe)}
        note.write_text(json.dumps(fields, indent=1), encoding="utf-8")
    state.wait_for_everyone()


def _run(job: _Job, work: Path, *, report_to: str, quiet: bool) -> tuple[ModuleTrainer, Pace]:
    recipe, engine = job.recipe, job.engine
    add_module(
        engine,
        job.name,
        get_method(recipe.method),
        recipe.shape,
        head=job.task.head,
        labels=job.labels,
        choices=job.task.choices,
        head_dropout=recipe.head_dropout,
    )
    state = PartialState()
    lengths = np.asarray(job.train_features["length"])
    plan = BatchPlan(
        lengths,
        batch_tokens=recipe.batch_tokens,
        batch_examples=recipe.batch_examples,
        epochs=recipe.epochs,
        seed=job.seed,
        rank=state.process_index,
        world=state.num_processes,
    )
    steps = -(-len(plan) // recipe.accumulate)
    pace = Pace(
        evaluations=min(recipe.evaluations, steps),
        patience=recipe.patience,
        save_seconds=SAVE_SECONDS,
    )
    tokens = [sum(padded_length(int(lengths[row])) for row in batch) for batch in plan.batches]
    per_step = [
        sum(tokens[start : start + recipe.accumulate])
        for start in range(0, len(tokens), recipe.accumulate)
    ]
    bar = Progress(per_step, metric=job.task.metric)
    stop = StopOnSignal()
    callbacks = [pace, stop] if quiet else [pace, stop, bar]
    if recipe.unfreeze == "top-down":
        unfreeze_steps = round(recipe.unfreeze_fraction * steps)
        callbacks.append(GradualUnfreezing(engine, job.name, unfreeze_steps))
    with _quiet_libraries():
        trainer = ModuleTrainer(
            engine,
            job.name,
            _arguments(job, work, report_to),
            features=job.train_features,
            plan=plan,
            score=lambda: _dev_scores(job),
            callbacks=callbacks,
            on_scores=bar.evaluated,
        )
        checkpoint = latest_checkpoint(work)
        with stop:
            trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    if stop.caught and trainer.state.global_step < trainer.state.max_steps:
        raise InterruptedTrainingError(
            f"stopped at step {trainer.state.global_step} of {trainer.state.max_steps}; "
            f"saved in {work}: add --resume to the same command to go on"
        )
    return trainer, pace


def _arguments(job: _Job, work: Path, report_to: str) -> TrainingArguments:
    recipe = job.recipe
    return TrainingArguments(
        output_dir=str(work),
        per_device_train_batch_size=1,
        gradient_accumulation_steps=recipe.accumulate,
        num_train_epochs=1,  # the batch plan holds all epochs
        learning_rate=recipe.lr,
        lr_scheduler_type="linear",
        warmup_ratio=recipe.warmup,
        weight_decay=recipe.weight_decay,
        max_grad_norm=recipe.max_grad_norm,
        bf16=job.engine.dtype == torch.bfloat16,
        use_cpu=job.engine.device.type == "cpu",
        eval_strategy="steps",
        eval_steps=10**9,  # `Pace` decides
        save_strategy="steps",
        save_steps=10**9,
        logging_steps=10,
        logging_nan_inf_filter=False,
        load_best_model_at_end=True,
        metric_for_best_model=f"eval_{primary(job.task.metric)}",
        greater_is_better=True,
        disable_tqdm=True,
        report_to=report_to,
        seed=job.seed,
        remove_unused_columns=False,
        ddp_find_unused_parameters=recipe.unfreeze != "none",
        dataloader_num_workers=0 if job.engine.device.type == "cpu" else 2,
    )


@contextlib.contextmanager
def _quiet_libraries() -> Iterator[None]:
    """Keeps the libraries' notes out of the progress bar; errors still show."""
    before = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity_error()
    try:
        yield
    finally:
        transformers.logging.set_verbosity(before)


def _dev_scores(job: _Job) -> dict[str, float]:
    state = PartialState()
    predictions = predict_features(
        job.engine,
        job.dev_features,
        job.dev.examples,
        job.task.head,
        tags=job.tags,
        batch_tokens=2 * job.recipe.batch_tokens,
        rank=state.process_index,
        world=state.num_processes,
    )
    return score_predictions(job.task, predictions, job.dev.examples)


def _finish(
    job: _Job, trainer: ModuleTrainer, pace: Pace, folder: Path, work: Path
) -> ModuleRecord:
    state = trainer.state
    key = f"eval_{primary(job.task.metric)}"
    logs = [entry for entry in state.log_history if key in entry]
    best = max(logs, key=lambda entry: entry[key])
    scores = {
        name.removeprefix("eval_"): value
        for name, value in best.items()
        if name.startswith("eval_")
    }
    threshold = scores.pop("best_f1_threshold", None)
    record = ModuleRecord(
        name=job.name,
        run=job.run,
        task=job.task.name,
        head=job.task.head,
        method=job.recipe.method,
        composition=job.name,
        backbone={
            "name": job.engine.backbone.name,
            "revision": job.engine.backbone.revision,
            "model_type": str(job.engine.model.config.model_type),
            "fingerprint": job.engine.fingerprint,
        },
        recipe={**dataclasses.asdict(job.recipe), "seed": job.seed},
        data={
            "train": _data_entry(job.train),
            "dev": _data_entry(job.dev),
            "labels": len(job.labels),
        },
        scores=scores,
        parameters=sum(p.numel() for p in module_parameters(job.engine, job.name).values()),
        steps=state.global_step,
        best_step=int(best["step"]),
        seconds=float(pace.state()["attributes"]["seconds"]),
        peak_memory_mb=peak_memory_mb(),
        versions=versions(),
        machine=machine(),
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        no_answer_threshold=threshold,
    )
    if PartialState().is_main_process:
        record = save_module(job.engine, record, job.task.head, folder)
        shutil.rmtree(work, ignore_errors=True)
    PartialState().wait_for_everyone()
    return record


def _data_entry(part: ExampleSet) -> dict[str, Any]:
    return {
        "origin": part.origin,
        "fingerprint": part.fingerprint,
        "examples": len(part.examples),
        "parts": list(part.parts),
    }


__all__ = ["InterruptedTrainingError", "Trained", "train_adapter"]
