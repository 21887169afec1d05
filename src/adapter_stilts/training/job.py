"""Everything one training needs, decided before it starts."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from accelerate import PartialState

from adapter_stilts.data.load import ExampleSet
from adapter_stilts.features.build import encoding_identity
from adapter_stilts.modules.engine import Engine
from adapter_stilts.modules.heads import head_name
from adapter_stilts.modules.methods import DEFAULT_METHOD, LANGUAGE_METHOD, get_method
from adapter_stilts.tasks.spec import TaskSpec
from adapter_stilts.training.recipe import Recipe
from adapter_stilts.training.sources import Source
from adapter_stilts.training.subject import Subject, make_subject
from adapter_stilts.training.text import Text, text_sources
from adapter_stilts.training.text_subject import make_text_subject
from adapter_stilts.zoo.record import MULTITASK, ModuleRecord
from adapter_stilts.zoo.resolved import Resolved

Data = Sequence[tuple[ExampleSet, ExampleSet]]
"""Training and dev data of every task of a lesson."""


@dataclass(frozen=True)
class Mixture:
    """How several tasks are learnt at once, each with a head of its own.

    `temperature` is that of `mixing.task_shares`; with `normalise_losses`, a guess has the same
    loss in every task (`Source.scaled`); `text` is read for masked language modelling.
    """

    temperature: float = 2.0
    normalise_losses: bool = False
    text: Text | None = None

    def decides(self) -> dict[str, Any]:
        """What of it decides the weights."""
        text = {"text": self.text.decides()} if self.text else {}
        return {"temperature": self.temperature, "normalise": self.normalise_losses, **text}


@dataclass(frozen=True)
class Lesson:
    """What is learnt, and on top of what.

    There is one task, or with a `mixture` several. `on` is the composition below the new module;
    with `fuses`, the modules that it fuses. The head starts from that composition's (or the first
    of these modules'), where both are of one kind with the same labels, unless `fresh_head`.
    `start` is a module of an earlier stage, from whose weights this one goes on. `train_file`
    replaces the task's training data. With `text`, a file or folder, the task is to tell its masked
    words.
    """

    tasks: tuple[TaskSpec, ...]
    on: Resolved | None = None
    fresh_head: bool = False
    start: Path | None = None
    train_file: Path | None = None
    fuses: bool = False
    mixture: Mixture | None = None
    text: Path | None = None

    @property
    def usual_method(self) -> str:
        """The method of which a module's name says nothing."""
        return LANGUAGE_METHOD if self.text else DEFAULT_METHOD

    def usual_rate(self, method: str) -> float:
        """The peak learning rate where none is given."""
        learnt = get_method(method)
        below = self.on.methods.values() if self.on and self.fuses else ()
        if learnt.over_loras and any(get_method(each).family == "lora" for each in below):
            return learnt.over_loras
        return learnt.learning_rate

    @property
    def name(self) -> str:
        """What is learnt, in a word."""
        return MULTITASK if self.mixture else self.tasks[0].name

    def decides(self) -> dict[str, Any]:
        """What of it decides the weights, besides the data."""
        below = {
            "on": self.on.identity if self.on else "",
            "head_of_source": self.fuses and not self.fresh_head,
            "fresh_head": self.fresh_head,
            "start": ModuleRecord.read(self.start).run if self.start else "",
            "tasks": [task.name for task in self.tasks] if self.mixture else [],
            "mixture": self.mixture.decides() if self.mixture else {},
        }
        return {"task": self.name, **{key: value for key, value in below.items() if value}}


@dataclass(frozen=True)
class Job:
    """One training: what is learnt from what, on which trunk, and the hash of all that."""

    lesson: Lesson
    recipe: Recipe
    seed: int
    name: str
    engine: Engine
    subjects: tuple[Subject, ...]
    text: tuple[Source, ...]
    run: str

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
    """Turns examples into features and names the run."""
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
    run = run_id(lesson, recipe, seed, engine, data)
    return Job(lesson, recipe, seed, name, engine, subjects, text, run)


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


def run_id(lesson: Lesson, recipe: Recipe, seed: int, engine: Engine, data: Data) -> str:
    """A hash of everything that decides the module's weights."""
    decides = {
        **lesson.decides(),
        "recipe": dataclasses.asdict(recipe),
        "dtype": str(engine.dtype),
        "seed": seed,
        "backbone": engine.fingerprint,
        "data": [part.fingerprint for parts in data for part in parts],
        "encoding": encoding_identity(engine.backbone.tokenizer),
        "max_length": [task.max_length for task in lesson.tasks],
        "world": PartialState().num_processes,
    }
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:16]
