"""Everything one training needs, decided before it starts."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from accelerate import PartialState

from adapter_stilts.data.load import ExampleSet
from adapter_stilts.engine.engine import Engine
from adapter_stilts.engine.native import head_name
from adapter_stilts.features import encoding_identity
from adapter_stilts.hashing import text_digest
from adapter_stilts.training.batching import (
    CAP,
    BatchPlan,
    BatchSource,
    Drawing,
    count_batches,
    language_shares,
    mixed_batches,
    planned_batches,
    task_shares,
)
from adapter_stilts.training.callbacks import RULES
from adapter_stilts.training.recipe import MOST_PASSES, PASSES, Recipe, usual_rate
from adapter_stilts.training.spec import TrainingSpec
from adapter_stilts.training.task_data import TaskData, make_task_data, make_text_data, text_sources

Data = Sequence[tuple[ExampleSet, ExampleSet]]
"""Training and dev data of every task of a training."""


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


@dataclass(frozen=True)
class Job:
    """One training: what is learnt from what, on which trunk, and the hash of all that.

    `asked` is the recipe before `with_schedule` completed it.
    """

    spec: TrainingSpec
    recipe: Recipe
    seed: int
    name: str
    engine: Engine
    tasks: tuple[TaskData, ...]
    text: tuple[BatchSource, ...]
    asked: Recipe | None = None

    @cached_property
    def run(self) -> str:
        """A hash of everything that decides the module's weights."""
        recipe = dataclasses.asdict(self.recipe)
        del recipe["activations"]  # they cost memory or time, and change nothing
        decides = {
            **self.spec.decides(),
            "recipe": recipe,
            "dtype": str(self.engine.dtype),
            "seed": self.seed,
            "backbone": self.engine.fingerprint,
            "data": [part.fingerprint for each in self.tasks for part in (each.train, each.dev)],
            "encoding": encoding_identity(self.engine.backbone.tokenizer),
            "max_length": [task.max_length for task in self.spec.tasks],
            "selection": RULES,
            "world": PartialState().num_processes,
        }
        return text_digest(json.dumps(decides, sort_keys=True, allow_nan=False), 16)

    @property
    def metric(self) -> str:
        """The dev score that chooses the step to keep."""
        return "mean" if self.spec.mixture else self.tasks[0].metric

    @property
    def drawing(self) -> Drawing:
        """How batches are drawn from each source."""
        tokens, examples = self.recipe.batch_tokens, self.recipe.batch_examples
        return {"batch_tokens": tokens, "batch_examples": examples, "seed": self.seed}

    @cached_property
    def sources(self) -> tuple[BatchSource, ...]:
        """What batches are drawn from: the tasks, then the text of each language."""
        mixture = self.spec.mixture
        normalise = mixture is not None and mixture.normalise_losses
        return (*(each.source(normalise=normalise) for each in self.tasks), *self.text)

    def with_schedule(self) -> tuple[Job, Schedule]:
        """The job with its number of steps (see `Recipe.epochs`) and learning rate written out."""
        recipe = self.recipe
        at_once = recipe.accumulate * PartialState().num_processes
        once = self._batches(1.0) / at_once
        asked = recipe.epochs or max(PASSES, min(MOST_PASSES, recipe.min_steps / once))
        steps = recipe.steps or max(1, round(self._batches(asked) / at_once))
        rate = usual_rate(
            recipe.method,
            steps,
            head=None if self.spec.mixture else self.spec.tasks[0].head,
            over_loras=self.spec.fuses_loras,
            layers=self.engine.layers,
            width=int(self.engine.model.config.hidden_size),
        )
        schedule = Schedule(steps, steps / once, sum(self._sizes), rate)
        completed = recipe.replace(steps=steps, lr=recipe.lr or rate)
        return dataclasses.replace(self, recipe=completed, asked=recipe), schedule

    def _batches(self, epochs: float) -> float:
        """The batches of so many passes, of all processes.

        Of several tasks a pass is as many batches as one over each takes, each up to the cap. Text
        comes on top of that: with it, the tasks are learnt from as many batches as without.
        """
        if self.spec.mixture is None:
            return count_batches(self.sources[0].lengths, epochs=epochs, **self.drawing)
        once = sum(
            count_batches(source.lengths, epochs=1.0, **self.drawing) * min(1.0, CAP / size)
            for source, size in zip(self.sources, self._sizes, strict=False)
        )
        text = self.spec.mixture.text
        return epochs * once / (1 - (text.share if text else 0.0))

    @property
    def _sizes(self) -> list[int]:
        """The examples of every task."""
        return [source.examples for source in self.sources[: len(self.tasks)]]

    @property
    def shares(self) -> npt.NDArray[np.float64]:
        """The part of the batches that each source gets, (sources,): tasks, then languages."""
        mixture = self.spec.mixture
        assert mixture
        shares = task_shares(self._sizes, temperature=mixture.temperature)
        if mixture.text is None:
            return shares
        languages = language_shares([text.examples for text in self.text])
        share = mixture.text.share
        return np.concatenate([shares * (1 - share), languages * share])

    def plan(self) -> tuple[BatchPlan, list[int]]:
        """The batches of this process, and the tokens of every optimizer step."""
        recipe, state = self.recipe, PartialState()
        total = recipe.steps * recipe.accumulate * state.num_processes
        lengths = [source.lengths for source in self.sources]
        if self.spec.mixture:
            batches = mixed_batches(lengths, self.shares, total, **self.drawing)
        else:
            batches = planned_batches(lengths[0], total=total, **self.drawing)
        plan = BatchPlan(batches, rank=state.process_index, world=state.num_processes)
        tokens = [self.sources[batch.source].tokens(batch.rows) for batch in plan.batches]
        starts = range(0, len(tokens), recipe.accumulate)
        return plan, [sum(tokens[start : start + recipe.accumulate]) for start in starts]

    def dev_scores(self) -> dict[str, float]:
        """Scores of the module as it is now; of several tasks, the mean of what counts in each."""
        found = {
            data.task.name: data.dev_scores(self.engine, batch_tokens=2 * self.recipe.batch_tokens)
            for data in self.tasks
        }
        if self.spec.mixture is None:
            return found[self.tasks[0].task.name]
        counting = [found[data.task.name][data.metric] for data in self.tasks]
        named = {f"{task}.{key}": x for task, scores in found.items() for key, x in scores.items()}
        return {self.metric: sum(counting) / len(counting), **named}

    def headline(self, scores: dict[str, float]) -> dict[str, float]:
        """The scores worth a line: of several tasks, one each."""
        if self.spec.mixture is None:
            return scores
        shown = [self.metric, *(f"{each.task.name}.{each.metric}" for each in self.tasks)]
        return {name: scores[name] for name in shown if name in scores}


def prepare(
    spec: TrainingSpec, recipe: Recipe, seed: int, name: str, engine: Engine, data: Data
) -> Job:
    """Turns examples into features."""
    tasks: list[TaskData] = []
    for task, parts in zip(spec.tasks, data, strict=True):
        if spec.text:
            # Under a name of its own it is not written with the module: it is of use here alone.
            head = head_name(name, "text")
            tasks.append(make_text_data(task, head, *parts, recipe, seed, engine))
        else:
            head = head_name(name, task.name) if spec.mixture else name
            tasks.append(make_task_data(task, head, *parts, recipe, engine))
    text: tuple[BatchSource, ...] = ()
    if spec.mixture and spec.mixture.text:
        text = text_sources(
            spec.mixture.text,
            head_name(name, "text"),
            engine.backbone,
            max_length=recipe.max_length,
            seed=seed,
            normalise=spec.mixture.normalise_losses,
        )
    return Job(spec, recipe, seed, name, engine, tuple(tasks), text)
