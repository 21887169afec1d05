"""What is asked of a training, in the words of transformers."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from transformers import TrainingArguments

from adapter_stilts.training.job import Job
from adapter_stilts.training.unfinished import unfinished


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
