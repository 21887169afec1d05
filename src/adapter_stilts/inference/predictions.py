"""From logits to predictions, and from predictions to the official scores."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import datasets
import numpy as np
from accelerate.utils import gather_object

from adapter_stilts.errors import NotFiniteError
from adapter_stilts.features import answers, tagging
from adapter_stilts.inference.run import run_features
from adapter_stilts.metrics import get_metric, primary
from adapter_stilts.metrics.mlqa import LANGUAGES
from adapter_stilts.modules.engine import Engine
from adapter_stilts.tasks.spec import HeadKind, TaskSpec


@dataclass(frozen=True)
class Predictions:
    """One prediction an example, in the examples' order.

    `values` are label numbers, option numbers, lists of tags, or `features.answers.Answer`s;
    `scores` are the label's or option's probabilities where the head gives them.
    """

    kind: HeadKind
    values: list[Any]
    scores: list[list[float]] | None = None


def predict_features(
    engine: Engine,
    features: datasets.Dataset,
    examples: datasets.Dataset,
    kind: HeadKind,
    *,
    tags: Sequence[str] = (),
    batch_tokens: int = 8192,
    rank: int = 0,
    world: int = 1,
) -> Predictions:
    """Predictions of the active module for all examples; several processes share the work."""
    found = list(
        run_features(engine, features, kind, batch_tokens=batch_tokens, rank=rank, world=world)
    )
    if world > 1:
        found = gather_object(found)
    outputs = [output for _, output in sorted(found, key=lambda pair: pair[0])]
    return decode_outputs(kind, outputs, windows_of(kind, features), examples, tags)


_WINDOWS: Mapping[HeadKind, tuple[str, ...]] = {
    "span": ("example", "context_start", "offsets"),
    "tagging": ("example", "first_word"),
}


def windows_of(kind: HeadKind, features: datasets.Dataset) -> dict[str, list[Any]]:
    """The columns of the feature rows that say which part of which example each one is."""
    names = _WINDOWS.get(kind)
    columns: dict[str, list[Any]] = features.select_columns(list(names))[:] if names else {}
    return columns


def decode_outputs(
    kind: HeadKind,
    outputs: list[Any],
    windows: Mapping[str, Sequence[Any]],
    examples: datasets.Dataset,
    tags: Sequence[str] = (),
) -> Predictions:
    """The predictions that the head's outputs, one a feature row, stand for.

    Args:
        outputs: as `run_features` yields them, in the rows' order.
        windows: as `windows_of` gives them; `example` counts within `examples`.
    """
    if kind == "span":
        return Predictions(kind, answers.decode(outputs, windows, len(examples)))
    if kind == "tagging":
        counts = [len(words) for words in examples["words"]]
        return Predictions(kind, tagging.decode(outputs, windows, tags, counts))
    logits = np.stack(outputs)
    exponents = np.exp(logits - logits.max(-1, keepdims=True))
    probabilities = exponents / exponents.sum(-1, keepdims=True)
    return Predictions(kind, logits.argmax(-1).tolist(), probabilities.tolist())


def score_predictions(
    task: TaskSpec, predictions: Predictions, examples: datasets.Dataset
) -> dict[str, float]:
    """The task's official scores, in percent, the one that selects models first."""
    scorer = Scorer(task)
    scorer.add(predictions, examples)
    return scorer.scores()


class Scorer:
    """Collects predictions piece by piece and scores them all; only what is compared is kept."""

    def __init__(self, task: TaskSpec) -> None:
        self._task = task
        self._metric = get_metric(task.metric)

    def add(self, predictions: Predictions, examples: datasets.Dataset) -> None:
        """Adds the predictions for some examples."""
        if self._task.head == "span":
            found, gold = _span_pairs(self._task, predictions, examples)
        elif self._task.head == "tagging":
            found, gold = predictions.values, list(examples["tags"])
        else:
            found, gold = predictions.values, list(examples["label"])
        self._metric.add_batch(predictions=found, references=gold)

    def scores(self) -> dict[str, float]:
        """The official scores of everything added, in percent, the primary one first."""
        options: dict[str, Any] = {}
        if self._task.unanswerable:
            # A score is a difference of logits: above 0, no answer is the likelier one.
            options["no_answer_threshold"] = 0.0
        if self._task.metric == "mlqa":
            # Of a pair such as en-de, the first is the context's language: the answers'.
            language = self._task.language.split("-")[0]
            # Of articles in other languages it knows none, as of Hindi's, which has none.
            options["language"] = language if language in LANGUAGES else "hi"
        computed = self._metric.compute(**options)
        scores = {key: float(value) for key, value in computed.items()}
        if not all(map(math.isfinite, scores.values())):
            raise NotFiniteError(f"the scores of {self._task.name} are no finite numbers: {scores}")
        first = primary(self._task.metric)
        return {first: scores.pop(first), **scores}


def predicted_text(answer: answers.Answer, context: str) -> str:
    """The text of the best span; empty where there is none."""
    return answers.answer_text(context, answer.spans[0]) if answer.spans else ""


def _span_pairs(
    task: TaskSpec, predictions: Predictions, examples: datasets.Dataset
) -> tuple[list[Any], list[Any]]:
    found, gold = [], []
    for answer, row in zip(predictions.values, examples, strict=True):
        text = predicted_text(answer, row["context"])
        entry: dict[str, Any] = {"id": row["id"], "prediction_text": text}
        if task.unanswerable:
            entry["no_answer_score"] = answer.no_answer
        found.append(entry)
        golds = {"text": row["answers"], "answer_start": row["answer_starts"]}
        gold.append({"id": row["id"], "answers": golds})
    return found, gold
