"""Everything one training needs, decided before it starts."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from accelerate import PartialState

from adapter_stilts.data.load import ExampleSet
from adapter_stilts.engine.engine import Engine
from adapter_stilts.engine.heads import head_name
from adapter_stilts.features.build import encoding_identity
from adapter_stilts.hashing import text_digest
from adapter_stilts.tasks.spec import TaskSpec
from adapter_stilts.training.batch_sources import BatchSource
from adapter_stilts.training.batching import Drawing
from adapter_stilts.training.recipe import Recipe
from adapter_stilts.training.schedule import RULES
from adapter_stilts.training.spec import TrainingSpec
from adapter_stilts.training.task_data import TaskData, make_task_data, make_text_data
from adapter_stilts.training.text import text_sources

Data = Sequence[tuple[ExampleSet, ExampleSet]]
"""Training and dev data of every task of a training."""


@dataclass(frozen=True)
class Job:
    """One training: what is learnt from what, on which trunk, and the hash of all that.

    `asked` is the recipe before `planning.scheduled` completed it.
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
    tasks = tuple(
        _task_data(spec, task, name, parts, recipe, seed, engine)
        for task, parts in zip(spec.tasks, data, strict=True)
    )
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
    return Job(spec, recipe, seed, name, engine, tasks, text)


def _task_data(
    spec: TrainingSpec,
    task: TaskSpec,
    name: str,
    parts: tuple[ExampleSet, ExampleSet],
    recipe: Recipe,
    seed: int,
    engine: Engine,
) -> TaskData:
    if spec.text:
        # Under a name of its own it is not written with the module: it is of use for this alone.
        return make_text_data(task, head_name(name, "text"), *parts, recipe, seed, engine)
    head = head_name(name, task.name) if spec.mixture else name
    return make_task_data(task, head, *parts, recipe, engine)
