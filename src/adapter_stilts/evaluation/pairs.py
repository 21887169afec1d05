"""A dual encoder on pairs of a query and its text: every query is searched in all texts."""

from __future__ import annotations

import time
from collections.abc import Sequence

import datasets
import numpy as np

from adapter_stilts.engine.engine import Engine
from adapter_stilts.errors import UserError
from adapter_stilts.evaluation.files import LanguageResult
from adapter_stilts.features.build import encoder
from adapter_stilts.inference.vectors import Half, sentence_vectors
from adapter_stilts.metrics import get_metric
from adapter_stilts.tasks.target_spec import TargetSpec
from adapter_stilts.zoo.local import Composed, activate

_FOUND = 20
"""So many of the nearest texts are written of every query, and scored."""


def evaluate_pairs(
    engine: Engine,
    target: TargetSpec,
    composed: Composed,
    examples: datasets.Dataset,
    *,
    max_length: int,
    batch_tokens: int,
) -> LanguageResult:
    """Scores in percent, and of every query the numbers of its nearest texts, the nearest first.

    As in training, vectors are means of the last layer, each different text stands once among
    the candidates, and what belongs to a query are the texts of all its pairs. A line of the
    predictions is the number of the first row with that query, a tab, and the numbers of rows.

    Raises:
        UserError: a row has no query, or no text.
    """
    began = time.monotonic()
    queries = list(examples["query"])
    texts = list(zip(examples["text"], examples["context"], strict=True))
    for number, (query, (text, _)) in enumerate(zip(queries, texts, strict=True)):
        if not (query.strip() and text.strip()):
            name = examples[number]["id"]
            raise UserError(f"{target.name}: row '{name}' has no query or no text to be found")
    activate(engine, composed)
    asked, pool = _first(queries), _first(texts)
    none = [""] * len(texts)
    sides = (
        {"query": [queries[row] for row in asked], "text": none, "context": none},
        {
            "query": none,
            "text": [texts[row][0] for row in pool],
            "context": [texts[row][1] for row in pool],
        },
    )
    wanted: dict[str, set[str]] = {}
    place = {texts[row]: str(row) for row in pool}
    for query, text in zip(queries, texts, strict=True):
        wanted.setdefault(query, set()).add(place[text])
    of_queries, of_texts = (
        _vectors(engine, target, side, count, max_length, batch_tokens)
        for side, count in zip(sides, (len(asked), len(pool)), strict=True)
    )
    nearest = np.argsort(-(of_queries @ of_texts.T), axis=1, kind="stable")[:, :_FOUND]
    ranked = [[str(pool[column]) for column in row] for row in nearest.tolist()]
    scores = get_metric(target.metric).compute(
        predictions=ranked, references=[sorted(wanted[queries[row]]) for row in asked]
    )
    return LanguageResult(
        scores,
        [f"{row}\t{' '.join(found)}" for row, found in zip(asked, ranked, strict=True)],
        labelled=True,
        seconds=time.monotonic() - began,
    )


def _first(values: Sequence[object]) -> list[int]:
    """The rows in which a value stands for the first time."""
    found: dict[object, int] = {}
    for row, value in enumerate(values):
        found.setdefault(value, row)
    return list(found.values())


def _vectors(
    engine: Engine,
    target: TargetSpec,
    side: dict[str, list[str]],
    count: int,
    max_length: int,
    batch_tokens: int,
) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """The vectors of one side of the pairs, (count, D), of length 1."""
    encode = encoder(target.head, engine.backbone.tokenizer, max_length=max_length, stride=0)
    rows = {name: values[:count] for name, values in side.items()}
    features = datasets.Dataset.from_dict(encode(rows))
    found: Half = sentence_vectors(engine, features, batch_tokens=batch_tokens)
    return found.astype(np.float32)
