"""Everything one training needs: the data of its tasks, its steps and batches."""

from __future__ import annotations

import dataclasses
import json
import logging
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import datasets
import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc
from accelerate import PartialState
from accelerate.utils import gather_object

from adapter_stilts.backbones import Backbone
from adapter_stilts.data.load import ExampleSet, warn_of_unknown_tags
from adapter_stilts.engine.engine import Engine, forward
from adapter_stilts.engine.native import head_name
from adapter_stilts.errors import UserError
from adapter_stilts.features import build_features, collate, encoding_identity
from adapter_stilts.hashing import text_digest
from adapter_stilts.heads import get_head
from adapter_stilts.heads.base import Encoding, Head
from adapter_stilts.heads.tagging import IGNORED
from adapter_stilts.inference.predictions import (
    batches,
    predict_features,
    score_pairs,
    score_predictions,
)
from adapter_stilts.metrics import primary
from adapter_stilts.tasks.spec import TaskSpec
from adapter_stilts.training.batching import (
    CAP,
    BatchPlan,
    BatchSource,
    Drawing,
    Ids,
    Masking,
    count_batches,
    language_shares,
    mixed_batches,
    planned_batches,
    task_shares,
)
from adapter_stilts.training.callbacks import RULES
from adapter_stilts.training.recipe import MOST_PASSES, PASSES, Recipe, usual_rate
from adapter_stilts.training.spec import Text, TrainingSpec

logger = logging.getLogger(__name__)

LONGEST = 256
"""Tokens a sequence at most, where nothing is said."""


@dataclass(frozen=True)
class TaskData:
    """A task with all that is read of it.

    `head` is what its head is called in the engine. `tags` are the tags of the training data, most
    frequent first, where the task is tagging.
    """

    task: TaskSpec
    head: str
    train: ExampleSet
    dev: ExampleSet
    tags: list[str]
    max_length: int
    train_features: datasets.Dataset
    dev_features: datasets.Dataset

    @property
    def kind(self) -> Head:
        """The kind of its head."""
        return get_head(self.task.head)

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of labels or tags by number; empty where the head has none."""
        return self.task.labels or tuple(self.tags)

    @property
    def metric(self) -> str:
        """The score that counts."""
        return primary(self.task.metric)

    def source(self, *, normalise: bool) -> BatchSource:
        """Its training data as batches are drawn from it."""
        head = self.head if self.kind.has_weights else ""
        classes = self.kind.loss_classes(len(self.labels), self.task.choices) if normalise else None
        return BatchSource(head, self.train_features, len(self.train.examples), classes)

    def dev_scores(self, engine: Engine, *, batch_tokens: int) -> dict[str, float]:
        """Scores of the module as it is now; several processes share the work."""
        if not self.kind.has_weights:
            pairs, metric = self.dev.examples, self.task.metric
            return score_pairs(engine, self.dev_features, pairs, metric, **_share())
        engine.model.active_head = self.head
        predictions = predict_features(
            engine,
            self.dev_features,
            self.dev.examples,
            self.task.head,
            tags=self.tags,
            batch_tokens=batch_tokens,
            **_share(),
        )
        return score_predictions(self.task, predictions, self.dev.examples)


def _share() -> dict[str, int]:
    """Which of a training's processes this is, and how many share the work."""
    state = PartialState()
    return {"rank": state.process_index, "world": state.num_processes}


def make_task_data(
    task: TaskSpec, head: str, train: ExampleSet, dev: ExampleSet, recipe: Recipe, engine: Engine
) -> TaskData:
    """Turns a task's examples into features."""
    tags: list[str] = []
    if get_head(task.head).has_tags:
        counts = Counter(tag for row in train.examples["tags"] for tag in row)
        tags = sorted(counts, key=lambda tag: (-counts[tag], tag))
        warn_of_unknown_tags(f"{task.name}, dev", dev, counts)
    if train.fingerprint == dev.fingerprint:
        what = "%s: the dev data is the training data, so dev scores say nothing of other data"
        logger.warning(what, task.name)
    length = engine.backbone.sequence_length(recipe.max_length or task.max_length)
    how = Encoding(engine.backbone.tokenizer, length, recipe.stride, tags)
    train_features, dev_features = (
        build_features(task.head, part.examples, part.fingerprint, how) for part in (train, dev)
    )
    return TaskData(task, head, train, dev, tags, length, train_features, dev_features)


@dataclass(frozen=True)
class TextData(TaskData):
    """Text with what is hidden of it in training and, always the same, in dev.

    The head chooses among the pieces that stand in the text: all 250,000 of the vocabulary would
    take most of the time of a step, and nearly all belong to other languages.
    """

    masking: Masking
    dev_masking: Masking

    @property
    def words(self) -> list[int]:
        """The ids of the pieces that the head chooses among."""
        assert self.masking.words is not None
        found: list[int] = self.masking.words.tolist()
        return found

    def source(self, *, normalise: bool) -> BatchSource:
        """The text as batches are drawn from it."""
        rows = len(self.train_features)
        return BatchSource(self.head, self.train_features, rows, masking=self.masking)

    def dev_scores(self, engine: Engine, *, batch_tokens: int) -> dict[str, float]:
        """Accuracy, in percent, and perplexity over the masked words of the held-out lines."""
        engine.model.active_head = self.head
        return score_masked_words(
            engine,
            self.dev_features,
            lambda ids, row: self.dev_masking(ids, 0, row),
            batch_tokens=batch_tokens,
            **_share(),
        )


def make_text_data(
    task: TaskSpec,
    head: str,
    train: ExampleSet,
    dev: ExampleSet,
    recipe: Recipe,
    seed: int,
    engine: Engine,
) -> TextData:
    """Turns lines into features; refuses lines too short to hide a word of, and no mask token."""
    plain = make_task_data(task, head, train, dev, recipe, engine)
    there = {"to train on": plain.train_features, "that is held out": plain.dev_features}
    for what, features in there.items():
        if not len(features):
            raise UserError(f"{train.origin}: no line {what} has two tokens")
    among = np.union1d(*map(_pieces, there.values()))
    masking, dev_masking = (
        Masking.of(engine.backbone.tokenizer, each, among=among) for each in (seed, 0)
    )
    return TextData(**vars(plain), masking=masking, dev_masking=dev_masking)


def text_sources(
    text: Text, head: str, backbone: Backbone, *, max_length: int, seed: int, normalise: bool
) -> tuple[BatchSource, ...]:
    """A source a language; all learn through one head. Refuses lines without two tokens."""
    masking = Masking.of(backbone.tokenizer, seed)
    length = backbone.sequence_length(max_length or LONGEST)
    classes = len(backbone.tokenizer) if normalise else None
    sources = []
    for file in text.files:
        features = build_features(
            "text",
            datasets.Dataset.from_dict({"text": list(file.lines)}),
            file.sha256,
            Encoding(backbone.tokenizer, length),
        )
        if not len(features):
            raise UserError(f"{text.folder / file.language}.txt: no line has two tokens")
        sources.append(BatchSource(head, features, len(features), classes, masking))
    return tuple(sources)


def _pieces(features: datasets.Dataset) -> Ids:
    """The ids that occur, in rising order, read a bounded number of rows at a time."""
    found: Ids = np.empty(0, dtype=np.int64)
    for table in features.select_columns(["input_ids"]).with_format("arrow").iter(batch_size=4096):
        found = np.union1d(found, pc.list_flatten(table.column("input_ids")).to_numpy())
    return found


Hide = Callable[[Sequence[int], int], dict[str, list[int]]]
"""From a row's ids and its number to what is read (`input_ids`) and to be told (`labels`)."""


def score_masked_words(
    engine: Engine,
    features: datasets.Dataset,
    hide: Hide,
    *,
    batch_tokens: int = 8192,
    rank: int = 0,
    world: int = 1,
) -> dict[str, float]:
    """Accuracy (in percent) and perplexity of the active head for masked words.

    Several processes share the work.
    """
    engine.model.eval()
    pad_id = engine.backbone.pad_id
    sums: list[Any] = []
    for batch in batches(features, pad_id, batch_tokens=batch_tokens, rank=rank, world=world):
        rows = zip(batch.rows, batch.columns["input_ids"], strict=True)
        tensors = collate([hide(ids, number) for number, ids in rows], pad_id)
        output = forward(engine, tensors)
        labels = tensors["labels"][tensors["labels"] != IGNORED]
        hits = int((output.logits.argmax(-1).cpu() == labels).sum())
        sums.append((hits, len(labels), float(output.loss) * len(labels)))
    if world > 1:
        sums = gather_object(sums)
    hits, count, loss = (sum(column) for column in zip(*sums, strict=True))
    # Beyond that exponent floats end; a record holds finite numbers.
    return {"accuracy": 100.0 * hits / count, "perplexity": math.exp(min(700.0, loss / count))}


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
