"""From logits to predictions, and from predictions to the official scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import datasets
import numpy as np
from accelerate.utils import gather_object

from adapter_stilts.features import span, tagging
from adapter_stilts.inference.run import run_features
from adapter_stilts.metrics import get_metric, primary
from adapter_stilts.modules.engine import Engine
from adapter_stilts.tasks.spec import HeadKind, TaskSpec


@dataclass(frozen=True)
class Predictions:
    """One prediction an example, in the examples' order.

    `values` are label numbers, option numbers, lists of tags, or `features.span.Answer`s;
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
    if kind == "span":
        return Predictions(kind, span.decode(outputs, features[:], len(examples)))
    if kind == "tagging":
        counts = [len(words) for words in examples["words"]]
        return Predictions(kind, tagging.decode(outputs, features[:], tags, counts))
    logits = np.stack(outputs)
    exponents = np.exp(logits - logits.max(-1, keepdims=True))
    probabilities = exponents / exponents.sum(-1, keepdims=True)
    return Predictions(kind, logits.argmax(-1).tolist(), probabilities.tolist())


def score_predictions(
    task: TaskSpec, predictions: Predictions, examples: datasets.Dataset
) -> dict[str, float]:
    """The task's official scores, in percent, the one that selects models first."""
    metric = get_metric(task.metric)
    if task.head == "span":
        found, gold = _span_pairs(task, predictions, examples)
    elif task.head == "tagging":
        found, gold = predictions.values, list(examples["tags"])
    else:
        found, gold = predictions.values, list(examples["label"])
    # A no-answer score is a difference of logits: above 0, no answer is the likelier one.
    options = {"no_answer_threshold": 0.0} if task.unanswerable else {}
    computed = metric.compute(predictions=found, references=gold, **options)
    scores = {key: float(value) for key, value in computed.items()}
    first = primary(task.metric)
    return {first: scores.pop(first), **scores}


def _span_pairs(
    task: TaskSpec, predictions: Predictions, examples: datasets.Dataset
) -> tuple[list[Any], list[Any]]:
    found, gold = [], []
    for answer, row in zip(predictions.values, examples, strict=True):
        text = span.answer_text(row["context"], answer.spans[0]) if answer.spans else ""
        entry: dict[str, Any] = {"id": row["id"], "prediction_text": text}
        if task.unanswerable:
            entry["no_answer_score"] = answer.no_answer
        found.append(entry)
        answers = {"text": row["answers"], "answer_start": row["answer_starts"]}
        gold.append({"id": row["id"], "answers": answers})
    return found, gold
