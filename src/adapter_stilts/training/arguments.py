"""What is asked of a training, checked and written out in full."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from transformers import TrainingArguments
from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK

from adapter_stilts.backbones import Backbone
from adapter_stilts.errors import UserError, unknown
from adapter_stilts.features.batch import padded_length
from adapter_stilts.modules.methods import get_method
from adapter_stilts.training.folders import unfinished
from adapter_stilts.training.job import Job, Lesson
from adapter_stilts.training.recipe import Recipe

SHORTEST = 16
"""Tokens a sequence must hold at least: special tokens and a few of each text."""


def check_numbers(*, seed: int, limit: int | None, dev_limit: int | None) -> None:
    """Refuses a seed or a number of examples that cannot be.

    Raises:
        UserError: names it.
    """
    if not 0 <= seed < 2**32:
        raise UserError(f"seed must lie between 0 and 4294967295, not {seed}")
    for name, value in (("limit", limit), ("dev-limit", dev_limit)):
        if value is not None and value < 1:
            raise UserError(f"{name} must be above 0, not {value}")


def check_tracker(name: str) -> None:
    """Refuses an experiment tracker that transformers lacks or that is not installed.

    Raises:
        UserError: says which.
    """
    if name in ("none", "all"):
        return
    if name not in INTEGRATION_TO_CALLBACK:
        raise unknown("tracker", name, ["none", "all", *INTEGRATION_TO_CALLBACK])
    try:
        INTEGRATION_TO_CALLBACK[name]()
    except (RuntimeError, ImportError) as error:
        raise UserError(f"report-to {name}: {' '.join(str(error).split())}") from error


def completed(recipe: Recipe, lesson: Lesson, backbone: Backbone) -> Recipe:
    """The recipe with the defaults of task, method and backbone written out.

    Several tasks keep their own lengths, where none is given. The batches of a dual encoder hold
    `batch_examples` examples, however long: what else is in its batch is all that a query is told
    apart from.

    Raises:
        UserError: sequences too short, or longer than the backbone has positions for; or nothing
            to train.
    """
    tasks = lesson.tasks
    length = recipe.max_length or min(tasks[0].max_length, backbone.max_length)
    if length < SHORTEST:
        raise UserError(f"max-length must be at least {SHORTEST} tokens, not {length}")
    if length > backbone.max_length:
        raise UserError(
            f"max-length {length} is over the {backbone.max_length} tokens that backbone "
            f"'{backbone.name}' has positions for"
        )
    method, tokens = get_method(recipe.method).name, recipe.batch_tokens
    if tasks[0].head == "embedding":
        if method == "head":
            raise UserError(f"task {tasks[0].name} has no head to train: choose another --method")
        tokens = max(tokens, recipe.batch_examples * 2 * padded_length(length))
    if len(tasks) > 1:
        length = recipe.max_length
    rate = recipe.lr or lesson.usual_rate(method)
    return recipe.replace(method=method, max_length=length, lr=rate, batch_tokens=tokens)


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
        eval_steps=10**9,  # `Pace` decides
        save_strategy="steps",
        save_steps=10**9,
        logging_steps=10,
        logging_nan_inf_filter=False,
        load_best_model_at_end=True,
        metric_for_best_model=f"eval_{job.metric}",
        greater_is_better=True,
        disable_tqdm=True,
        report_to=report_to,
        seed=job.seed,
        remove_unused_columns=False,
        ddp_find_unused_parameters=recipe.unfreeze != "none" or len(job.sources) > 1,
        dataloader_num_workers=0 if job.engine.device.type == "cpu" else 2,
    )
