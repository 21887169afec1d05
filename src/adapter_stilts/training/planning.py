"""The batches of a whole training, laid out before it starts."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from accelerate import PartialState

from adapter_stilts.training.batching import BatchPlan, Drawn, epoch_batches, planned_batches
from adapter_stilts.training.job import Job
from adapter_stilts.training.mixing import CAP, language_shares, mixed_batches, task_shares
from adapter_stilts.training.recipe import Recipe


def make_plan(job: Job) -> tuple[BatchPlan, list[int]]:
    """The batches of this process, and the tokens of every optimizer step."""
    recipe, state = job.recipe, PartialState()
    drawn = _mixed(job) if job.lesson.mixture else _of_one(job)
    plan = BatchPlan(drawn, rank=state.process_index, world=state.num_processes)
    tokens = [job.sources[batch.source].tokens(batch.rows) for batch in plan.batches]
    starts = range(0, len(tokens), recipe.accumulate)
    return plan, [sum(tokens[start : start + recipe.accumulate]) for start in starts]


def _of_one(job: Job) -> list[Drawn]:
    (source,) = job.sources
    return planned_batches(
        source.lengths,
        batch_tokens=job.recipe.batch_tokens,
        batch_examples=job.recipe.batch_examples,
        epochs=job.recipe.epochs,
        seed=job.seed,
        total=_total(job.recipe),
    )


def _total(recipe: Recipe) -> int:
    """The batches of all processes where a number of steps is given, else 0."""
    world: int = PartialState().num_processes
    return recipe.steps * recipe.accumulate * world


def _mixed(job: Job) -> list[Drawn]:
    """An epoch is as many batches as one pass over all tasks takes, each up to the cap.

    Text comes on top of that: with it, the tasks are learnt from as many batches as without.
    """
    recipe, mixture = job.recipe, job.lesson.mixture
    assert mixture
    share = mixture.text.share if mixture.text else 0.0
    size = {"batch_tokens": recipe.batch_tokens, "batch_examples": recipe.batch_examples}
    tasks = job.sources[: len(job.subjects)]
    once = sum(
        len(epoch_batches(task.lengths, **size, seed=job.seed, epoch=0))
        * min(1.0, CAP / task.examples)
        for task in tasks
    )
    total = _total(recipe) or max(1, round(recipe.epochs * once / (1 - share)))
    lengths = [source.lengths for source in job.sources]
    return mixed_batches(lengths, source_shares(job), total, **size, seed=job.seed)


def source_shares(job: Job) -> npt.NDArray[np.float64]:
    """The part of the batches that each source of a mixture gets: the tasks, then the languages."""
    mixture = job.lesson.mixture
    assert mixture
    sizes = [task.examples for task in job.sources[: len(job.subjects)]]
    shares = task_shares(sizes, temperature=mixture.temperature)
    if mixture.text is None:
        return shares
    languages = language_shares([text.examples for text in job.text])
    share = mixture.text.share
    return np.concatenate([shares * (1 - share), languages * share])
