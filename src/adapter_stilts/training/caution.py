"""A warning where a training is known to go wrong."""

from __future__ import annotations

import logging
from statistics import median

from accelerate import PartialState

from adapter_stilts.training.batching import epoch_batches
from adapter_stilts.training.job import Job
from adapter_stilts.training.planning import Schedule
from adapter_stilts.training.recipe import MOST_PASSES, Recipe

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

    Args:
        recipe: as it was asked for, before `planning.scheduled` completes it.
        schedule: what comes of it.
        sample: whether the data are the bundled samples, which suffice for a demonstration only.
    """
    _warn_of_steps(recipe, schedule, sample)
    usual = schedule.rate
    if recipe.lr and not usual / FAR <= recipe.lr <= usual * FAR:
        logger.warning(
            "learning rate %g is far from what works: %g to %g is usual for %s in %s steps",
            recipe.lr,
            usual / 10,
            usual * 10,
            recipe.method,
            f"{schedule.steps:,}",
        )
    if recipe.min_steps != Recipe.min_steps and schedule.steps < recipe.min_steps:
        winner = _deciding(recipe) if recipe.steps or recipe.epochs else f"{MOST_PASSES:g} passes"
        logger.warning(
            "%s wins over --min-steps %s: %s steps are made",
            winner,
            f"{recipe.min_steps:,}",
            f"{schedule.steps:,}",
        )


def _warn_of_steps(recipe: Recipe, schedule: Schedule, sample: bool) -> None:
    if schedule.steps < FEW_STEPS and not sample:
        logger.warning(
            "%d steps are few: scores may say more of the learning rate than of task or method; "
            "raise %s (%.3g passes over %s examples now)",
            schedule.steps,
            _deciding(recipe),
            schedule.passes,
            f"{schedule.examples:,}",
        )
    elif schedule.passes > MANY_PASSES:
        logger.warning(
            "%s steps are %s passes over %s examples; 2 to %g are usual: lower %s",
            f"{schedule.steps:,}",
            f"{schedule.passes:,.0f}",
            f"{schedule.examples:,}",
            MOST_PASSES,
            _deciding(recipe),
        )


def _deciding(recipe: Recipe) -> str:
    """The option that the number of steps comes from; steps win over passes."""
    return "--steps" if recipe.steps else "--epochs" if recipe.epochs else "--epochs or --steps"


def warn_of_small_batches(job: Job) -> None:
    """Says so where the steps of a fusion's training have too few examples."""
    recipe = job.recipe
    if recipe.method in ("fusion-uniform", "fusion-arrow"):  # nothing but the head learns
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
