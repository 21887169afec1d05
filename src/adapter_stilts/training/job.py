"""Everything one training needs, decided before it starts."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from accelerate import PartialState

from adapter_stilts.data.load import ExampleSet
from adapter_stilts.features.build import encoding_identity
from adapter_stilts.modules.engine import Engine
from adapter_stilts.modules.heads import head_name
from adapter_stilts.tasks.spec import TaskSpec
from adapter_stilts.training.lesson import Lesson
from adapter_stilts.training.recipe import Recipe
from adapter_stilts.training.selection import RULES
from adapter_stilts.training.sources import Source
from adapter_stilts.training.subject import Subject, make_subject
from adapter_stilts.training.text import text_sources
from adapter_stilts.training.text_subject import make_text_subject

Data = Sequence[tuple[ExampleSet, ExampleSet]]
"""Training and dev data of every task of a lesson."""


@dataclass(frozen=True)
class Job:
    """One training: what is learnt from what, on which trunk, and the hash of all that.

    `asked` is the recipe before `planning.scheduled` completed it.
    """

    lesson: Lesson
    recipe: Recipe
    seed: int
    name: str
    engine: Engine
    subjects: tuple[Subject, ...]
    text: tuple[Source, ...]
    asked: Recipe | None = None

    @cached_property
    def run(self) -> str:
        """A hash of everything that decides the module's weights."""
        recipe = dataclasses.asdict(self.recipe)
        del recipe["activations"]  # they cost memory or time, and change nothing
        decides = {
            **self.lesson.decides(),
            "recipe": recipe,
            "dtype": str(self.engine.dtype),
            "seed": self.seed,
            "backbone": self.engine.fingerprint,
            "data": [part.fingerprint for each in self.subjects for part in (each.train, each.dev)],
            "encoding": encoding_identity(self.engine.backbone.tokenizer),
            "max_length": [task.max_length for task in self.lesson.tasks],
            "selection": RULES,
            "world": PartialState().num_processes,
        }
        return hashlib.sha256(
            json.dumps(decides, sort_keys=True, allow_nan=False).encode()
        ).hexdigest()[:16]

    @property
    def metric(self) -> str:
        """The dev score that chooses the step to keep."""
        return "mean" if self.lesson.mixture else self.subjects[0].metric

    @cached_property
    def sources(self) -> tuple[Source, ...]:
        """What batches are drawn from: the tasks, then the text of each language."""
        mixture = self.lesson.mixture
        normalise = mixture is not None and mixture.normalise_losses
        return (*(each.source(normalise=normalise) for each in self.subjects), *self.text)

    def dev_scores(self) -> dict[str, float]:
        """Scores of the module as it is now; of several tasks, the mean of what counts in each."""
        found = {
            subject.task.name: subject.dev_scores(
                self.engine, batch_tokens=2 * self.recipe.batch_tokens
            )
            for subject in self.subjects
        }
        if self.lesson.mixture is None:
            return found[self.subjects[0].task.name]
        counting = [found[subject.task.name][subject.metric] for subject in self.subjects]
        named = {f"{task}.{key}": x for task, scores in found.items() for key, x in scores.items()}
        return {self.metric: sum(counting) / len(counting), **named}

    def headline(self, scores: dict[str, float]) -> dict[str, float]:
        """The scores worth a line: of several tasks, one each."""
        if self.lesson.mixture is None:
            return scores
        shown = [self.metric, *(f"{each.task.name}.{each.metric}" for each in self.subjects)]
        return {name: scores[name] for name in shown if name in scores}


def prepare(
    lesson: Lesson, recipe: Recipe, seed: int, name: str, engine: Engine, data: Data
) -> Job:
    """Turns examples into features."""
    subjects = tuple(
        _subject(lesson, task, name, parts, recipe, seed, engine)
        for task, parts in zip(lesson.tasks, data, strict=True)
    )
    text: tuple[Source, ...] = ()
    if lesson.mixture and lesson.mixture.text:
        text = text_sources(
            lesson.mixture.text,
            head_name(name, "text"),
            engine.backbone,
            max_length=recipe.max_length,
            seed=seed,
            normalise=lesson.mixture.normalise_losses,
        )
    return Job(lesson, recipe, seed, name, engine, subjects, text)


def _subject(
    lesson: Lesson,
    task: TaskSpec,
    name: str,
    parts: tuple[ExampleSet, ExampleSet],
    recipe: Recipe,
    seed: int,
    engine: Engine,
) -> Subject:
    if lesson.text:
        # Under a name of its own it is not written with the module: it is of use for this alone.
        return make_text_subject(task, head_name(name, "text"), *parts, recipe, seed, engine)
    head = head_name(name, task.name) if lesson.mixture else name
    return make_subject(task, head, *parts, recipe, engine)
