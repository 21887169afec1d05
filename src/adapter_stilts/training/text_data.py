"""Raw text of a language as what a training is about: telling its masked words."""

from __future__ import annotations

from dataclasses import dataclass

import datasets
import numpy as np
import pyarrow.compute as pc
from accelerate import PartialState

from adapter_stilts.data.load import ExampleSet
from adapter_stilts.engine.engine import Engine
from adapter_stilts.errors import UserError
from adapter_stilts.features.build import build_features
from adapter_stilts.inference.masked_words import score_masked_words
from adapter_stilts.tasks.spec import TaskSpec
from adapter_stilts.training.batch_sources import BatchSource
from adapter_stilts.training.masking import Ids, Masking
from adapter_stilts.training.recipe import Recipe
from adapter_stilts.training.task_data import TaskData


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
        state = PartialState()
        engine.model.active_head = self.head
        return score_masked_words(
            engine,
            self.dev_features,
            lambda ids, row: self.dev_masking(ids, 0, row),
            batch_tokens=batch_tokens,
            rank=state.process_index,
            world=state.num_processes,
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
    tokenizer = engine.backbone.tokenizer
    length = engine.backbone.sequence_length(recipe.max_length or task.max_length)
    train_features, dev_features = (
        build_features(
            "text", part.examples, part.fingerprint, tokenizer, max_length=length
        )
        for part in (train, dev)
    )  # fmt: skip
    for features, what in ((train_features, "to train on"), (dev_features, "that is held out")):
        if not len(features):
            raise UserError(f"{train.origin}: no line {what} has two tokens")
    among = np.union1d(_pieces(train_features), _pieces(dev_features))
    masking = Masking.of(tokenizer, seed, among=among)
    held_out = Masking.of(tokenizer, 0, among=among)
    return TextData(
        task, head, train, dev, [], length, train_features, dev_features, masking, held_out
    )


def _pieces(features: datasets.Dataset) -> Ids:
    """The ids that occur, in rising order, read a bounded number of rows at a time."""
    found: Ids = np.empty(0, dtype=np.int64)
    for table in features.select_columns(["input_ids"]).with_format("arrow").iter(batch_size=4096):
        found = np.union1d(found, pc.list_flatten(table.column("input_ids")).to_numpy())
    return found
