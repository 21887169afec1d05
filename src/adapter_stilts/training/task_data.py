"""The data of a training: of one of its tasks with its head, or raw text."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import datasets
import numpy as np
import pyarrow.compute as pc
from accelerate import PartialState
from accelerate.utils import gather_object

from adapter_stilts.backbones import Backbone
from adapter_stilts.data.load import ExampleSet, warn_of_unknown_tags
from adapter_stilts.engine.engine import Engine, forward
from adapter_stilts.errors import UserError
from adapter_stilts.features import build_features, collate
from adapter_stilts.heads import get_head
from adapter_stilts.heads.base import Head
from adapter_stilts.heads.tagging import IGNORED
from adapter_stilts.inference.predictions import (
    batches,
    predict_features,
    score_pairs,
    score_predictions,
)
from adapter_stilts.metrics import primary
from adapter_stilts.tasks.spec import TaskSpec
from adapter_stilts.training.batching import BatchSource, Ids, Masking
from adapter_stilts.training.recipe import Recipe
from adapter_stilts.training.spec import Text

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
            return score_pairs(engine, self.dev_features, self.task.metric, **_share())
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
    train_features, dev_features = (
        build_features(
            task.head,
            part.examples,
            part.fingerprint,
            engine.backbone.tokenizer,
            max_length=length,
            stride=recipe.stride,
            tags=tags,
        )
        for part in (train, dev)
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
    """Turns lines into features.

    Raises:
        UserError: lines too short to hide a word of, or a tokenizer without a mask token.
    """
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
    """One source a language; all learn through one head.

    Raises:
        UserError: a file whose lines have no two tokens, or a backbone without a mask token.
    """
    masking = Masking.of(backbone.tokenizer, seed)
    length = backbone.sequence_length(max_length or LONGEST)
    classes = len(backbone.tokenizer) if normalise else None
    sources = []
    for file in text.files:
        features = build_features(
            "text",
            datasets.Dataset.from_dict({"text": list(file.lines)}),
            file.sha256,
            backbone.tokenizer,
            max_length=length,
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
