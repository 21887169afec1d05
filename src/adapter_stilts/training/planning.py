"""A whole training, laid out before it starts: its batches, and its usual learning rate."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
from accelerate import PartialState

from adapter_stilts.engine.methods import get_method
from adapter_stilts.tasks.spec import HeadKind
from adapter_stilts.training.batching import (
    CAP,
    BatchPlan,
    count_batches,
    language_shares,
    mixed_batches,
    planned_batches,
    task_shares,
)
from adapter_stilts.training.job import Job
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

    @property
    def in_passes(self) -> str:
        """The number of passes in words."""
        return f"{self.passes:.3g} {'pass' if self.passes == 1 else 'passes'}"


def make_schedule(job: Job) -> Schedule:
    """The number of optimizer steps that the recipe asks for (see `Recipe.epochs`)."""
    recipe = job.recipe
    at_once = recipe.accumulate * PartialState().num_processes
    once = _batches(job, 1.0) / at_once
    asked = recipe.epochs or max(PASSES, min(MOST_PASSES, recipe.min_steps / once))
    steps = recipe.steps or max(1, round(_batches(job, asked) / at_once))
    examples = sum(source.examples for source in job.sources[: len(job.tasks)])
    rate = usual_rate(
        recipe.method,
        steps,
        head=None if job.spec.mixture else job.spec.tasks[0].head,
        over_loras=job.spec.fuses_loras,
        layers=job.engine.layers,
        width=int(job.engine.model.config.hidden_size),
    )
    return Schedule(steps, steps / once, examples, rate)


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
    lengths = [source.lengths for source in job.sources]
    if job.spec.mixture:
        batches = mixed_batches(lengths, source_shares(job), total, **job.drawing)
    else:
        batches = planned_batches(lengths[0], total=total, **job.drawing)
    plan = BatchPlan(batches, rank=state.process_index, world=state.num_processes)
    tokens = [job.sources[batch.source].tokens(batch.rows) for batch in plan.batches]
    starts = range(0, len(tokens), recipe.accumulate)
    return plan, [sum(tokens[start : start + recipe.accumulate]) for start in starts]


def _batches(job: Job, epochs: float) -> float:
    """The batches of so many passes, of all processes.

    Of several tasks a pass is as many batches as one over each takes, each up to the cap. Text
    comes on top of that: with it, the tasks are learnt from as many batches as without.
    """
    mixture = job.spec.mixture
    if mixture is None:
        return count_batches(job.sources[0].lengths, epochs=epochs, **job.drawing)
    once = sum(
        count_batches(task.lengths, epochs=1.0, **job.drawing) * min(1.0, CAP / task.examples)
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


LAYERS, WIDTH = 12, 384
"""The shape of the backbone that the sweep was made on."""

Steps = tuple[tuple[int, float], ...]
"""Peak rates, each up to a number of optimizer steps."""

ANY = 10**9

_RATES: Mapping[str, Steps] = MappingProxyType(
    {
        "bottleneck": ((2000, 3e-3), (ANY, 1e-3)),
        "bottleneck, tagging": ((300, 1e-2), (2000, 3e-3), (ANY, 1e-3)),
        # At 3e-3, in 300 steps, XNLI loses 11 to 25 points over five of nine modules.
        "bottleneck, classification": ((100, 3e-3), (ANY, 1e-3)),
        # 3e-3 did well in seven trainings of 500 to 1,700 steps and lost all in two, of qqp and
        # cosmos-qa (docs/results/zoo.md), so longer ones begin lower.
        "lora": ((300, 3e-3), (ANY, 1e-3)),
        "lora, tagging": ((300, 1e-2), (2000, 3e-3), (ANY, 1e-3)),
        "head": ((300, 1e-1), (ANY, 3e-2)),
        "fusion-full": ((200, 3e-3), (2000, 1e-3), (ANY, 3e-4)),
        "fusion-lean": ((100, 1e-1), (300, 3e-2), (ANY, 1e-2)),
        "fusion-lean, LoRAs": ((100, 1e-1), (ANY, 3e-2)),
        # Not in the sweep: adapters that begin inside the embeddings, and scalings (Liu et al.
        # 2022 take 3e-3 for models of 3 and 11 billion parameters).
        "invertible": ((ANY, 5e-4),),
        "ia3": ((ANY, 1e-2),),
    }
)
_LIKE = MappingProxyType(
    {
        "double-bottleneck": "bottleneck",
        "parallel-bottleneck": "bottleneck",
        "double-invertible": "invertible",
        "lora-all": "lora",
        "dora": "lora",
        "fusion-uniform": "head",
        "fusion-arrow": "head",
        "fusion-shared": "fusion-lean",
    }
)
"""Methods that the sweep lacks, and the one of which they are a kind."""


def usual_rate(
    method: str,
    steps: int,
    *,
    head: HeadKind | None = None,
    over_loras: bool = False,
    layers: int = LAYERS,
    width: int = WIDTH,
) -> float:
    """The peak learning rate of AdamW for a training of so many optimizer steps.

    In a wider or deeper backbone than the sweep's it falls as 1/width (Yang et al. 2022, arXiv
    2203.03466) and as 1/sqrt(layers) (Yang et al. 2023, arXiv 2310.02244). That is argued, not
    measured; for XLM-R Large it gives bottleneck adapters 8e-4 in up to 2,000 steps and 2.7e-4
    in more, within what is published for them on XLM-R Base (1e-4 to 8e-4).

    Args:
        method: as `get_method` takes it.
        steps: optimizer steps of the whole training.
        head: kind of the one head that learns with it; None where there are several.
        over_loras: whether it fuses LoRAs, whose keys are small: attention over them moves slowly.
        layers, width: shape of the backbone.

    Raises:
        UserError: there is no such method.

    >>> usual_rate("bottleneck", 500)
    0.003
    """
    found = get_method(method)
    kind = found.rates_of or _LIKE.get(found.name, found.name)
    kind = _LIKE.get(kind, kind)
    special = f"{kind}, LoRAs" if over_loras else f"{kind}, {head}"
    rates = _RATES.get(special, _RATES[kind])
    rate = next((rate for most, rate in rates if steps <= most), rates[-1][1])
    shape = min(1.0, WIDTH / width) * min(1.0, LAYERS / layers) ** 0.5
    return float(f"{rate * shape:.2g}")
