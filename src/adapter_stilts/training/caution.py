"""A warning where a training is known to go wrong."""

from __future__ import annotations

import logging
from statistics import median

from accelerate import PartialState

from adapter_stilts.training.batching import epoch_batches
from adapter_stilts.training.job import Job
from adapter_stilts.training.planning import Schedule

logger = logging.getLogger(__name__)

LEAST_BATCH = 16
"""Under so many examples a step fusion diverges (adapters#597)."""


FEW_STEPS = 200
"""Under so many optimizer steps the learning rate decides, more than task or method."""


def warn_of_few_steps(schedule: Schedule) -> None:
    """Says what to change where a training is short."""
    if schedule.steps < FEW_STEPS:
        logger.warning(
            "%d steps are few: scores may say more of the learning rate than of task or method; "
            "raise --epochs (now %.3g) or --min-steps, or give more than %s examples",
            schedule.steps,
            schedule.passes,
            f"{schedule.examples:,}",
        )


def warn_of_small_batches(job: Job) -> None:
    """Says so where the steps of a fusion's training have too few examples."""
    recipe = job.recipe
    if recipe.method == "fusion-uniform":  # nothing but the head learns
        return
    batches = epoch_batches(
        job.sources[0].lengths,
        batch_tokens=recipe.batch_tokens,
        batch_examples=recipe.batch_examples,
        seed=job.seed,
        epoch=0,
    )
    size = median(map(len, batches)) * recipe.accumulate * PartialState().num_processes
    if size < LEAST_BATCH:
        logger.warning(
            "%d examples a step: fusion is known to diverge under %d; raise --batch-tokens (now "
            "%d) or --accumulate (now %d)",
            size,
            LEAST_BATCH,
            recipe.batch_tokens,
            recipe.accumulate,
        )
