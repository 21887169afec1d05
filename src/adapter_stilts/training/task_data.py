"""One of the tasks that a training is about: its data, its features, its head."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import datasets
from accelerate import PartialState

from adapter_stilts.data.load import ExampleSet
from adapter_stilts.engine.engine import Engine
from adapter_stilts.features.build import build_features
from adapter_stilts.heads import get_head
from adapter_stilts.heads.base import Head
from adapter_stilts.inference.pairs import score_pairs
from adapter_stilts.inference.predictions import predict_features, score_predictions
from adapter_stilts.metrics import primary
from adapter_stilts.tasks.spec import TaskSpec
from adapter_stilts.training.batch_sources import BatchSource
from adapter_stilts.training.recipe import Recipe


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
        state = PartialState()
        if not self.kind.has_weights:
            return score_pairs(
                engine,
                self.dev_features,
                self.task.metric,
                rank=state.process_index,
                world=state.num_processes,
            )
        engine.model.active_head = self.head
        predictions = predict_features(
            engine,
            self.dev_features,
            self.dev.examples,
            self.task.head,
            tags=self.tags,
            batch_tokens=batch_tokens,
            rank=state.process_index,
            world=state.num_processes,
        )
        return score_predictions(self.task, predictions, self.dev.examples)


def make_task_data(
    task: TaskSpec, head: str, train: ExampleSet, dev: ExampleSet, recipe: Recipe, engine: Engine
) -> TaskData:
    """Turns a task's examples into features."""
    tags: list[str] = []
    if get_head(task.head).has_tags:
        counts = Counter(tag for row in train.examples["tags"] for tag in row)
        tags = sorted(counts, key=lambda tag: (-counts[tag], tag))
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
