"""The batches of a whole training, laid out before it starts."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from accelerate import PartialState

from adapter_stilts.training.batching import BatchPlan, count_batches, planned_batches
from adapter_stilts.training.job import Job
from adapter_stilts.training.mixing import CAP, language_shares, mixed_batches, task_shares
from adapter_stilts.training.rates import usual_rate
from adapter_stilts.training.recipe import MOST_PASSES, PASSES


@dataclass(frozen=True)
class Schedule:
    """How long a training is.

    `steps` are optimizer steps; `passes` is how often that goes over the `examples`; `rate` is the
    usual learning rate of such a training.
    """

    steps: int
    passes: float
    examples: int
    rate: float


def make_schedule(job: Job) -> Schedule:
    """The number of optimizer steps that the recipe asks for (see `Recipe.epochs`)."""
    recipe = job.recipe
    at_once = recipe.accumulate * PartialState().num_processes
    once = _batches(job, 1.0) / at_once
    asked = recipe.epochs or max(PASSES, min(MOST_PASSES, recipe.min_steps / once))
    steps = recipe.steps or max(1, round(_batches(job, asked) / at_once))
    examples = sum(source.examples for source in job.sources[: len(job.tasks)])
    return Schedule(steps, steps / once, examples, _usual_rate(job, steps))


def _usual_rate(job: Job, steps: int) -> float:
    return usual_rate(
        job.recipe.method,
        steps,
        head=None if job.spec.mixture else job.spec.tasks[0].head,
        over_loras=job.spec.fuses_loras,
        layers=job.engine.layers,
        width=int(job.engine.model.config.hidden_size),
    )


def scheduled(job: Job) -> tuple[Job, Schedule]:
    """The job with the number of its steps written out, and the learning rate that suits it."""
    schedule = make_schedule(job)
    rate = job.recipe.lr or schedule.rate
    recipe = job.recipe.replace(steps=schedule.steps, lr=rate)
    return dataclasses.replace(job, recipe=recipe, asked=job.recipe), schedule


def make_plan(job: Job) -> tuple[BatchPlan, list[int]]:
    """The batches of this process, and the tokens of every optimizer step."""
    recipe, state = job.recipe, PartialState()
    total = recipe.steps * recipe.accumulate * state.num_processes
    size = {"batch_tokens": recipe.batch_tokens, "batch_examples": recipe.batch_examples}
    lengths = [source.lengths for source in job.sources]
    if job.spec.mixture:
        batches = mixed_batches(lengths, source_shares(job), total, **size, seed=job.seed)
    else:
        batches = planned_batches(lengths[0], total=total, **size, seed=job.seed)
    plan = BatchPlan(batches, rank=state.process_index, world=state.num_processes)
    tokens = [job.sources[batch.source].tokens(batch.rows) for batch in plan.batches]
    starts = range(0, len(tokens), recipe.accumulate)
    return plan, [sum(tokens[start : start + recipe.accumulate]) for start in starts]


def _batches(job: Job, epochs: float) -> float:
    """The batches of so many passes, of all processes.

    Of several tasks a pass is as many batches as one over each takes, each up to the cap. Text
    comes on top of that: with it, the tasks are learnt from as many batches as without.
    """
    recipe, mixture = job.recipe, job.spec.mixture
    size = {"batch_tokens": recipe.batch_tokens, "batch_examples": recipe.batch_examples}
    if mixture is None:
        return count_batches(job.sources[0].lengths, epochs=epochs, **size, seed=job.seed)
    once = sum(
        count_batches(task.lengths, epochs=1.0, **size, seed=job.seed)
        * min(1.0, CAP / task.examples)
        for task in job.sources[: len(job.tasks)]
    )
    return epochs * once / (1 - (mixture.text.share if mixture.text else 0.0))


def source_shares(job: Job) -> npt.NDArray[np.float64]:
    """The part of the batches that each source of a mixture gets: the tasks, then the languages."""
    mixture = job.spec.mixture
    assert mixture
    sizes = [task.examples for task in job.sources[: len(job.tasks)]]
    shares = task_shares(sizes, temperature=mixture.temperature)
    if mixture.text is None:
        return shares
    languages = language_shares([text.examples for text in job.text])
    share = mixture.text.share
    return np.concatenate([shares * (1 - share), languages * share])
