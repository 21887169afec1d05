"""How well a dual encoder finds the texts that belong to queries, among all of a data set."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import datasets
import numpy as np
from accelerate.utils import gather_object

from adapter_stilts.engine.engine import Engine
from adapter_stilts.inference.vectors import Half, run_vectors
from adapter_stilts.metrics import get_metric, primary

_FOUND, _BLOCK = 20, 1024


def score_pairs(
    engine: Engine,
    features: datasets.Dataset,
    metric: str,
    *,
    batch_tokens: int = 8192,
    rank: int = 0,
    world: int = 1,
) -> dict[str, float]:
    """Scores of the active module's vectors (last layer, mean) on pairs of a query and a text.

    Every query is searched in the texts of all pairs, each text once; what belongs to a query
    are the texts of all pairs with that query. Several processes share the work.

    Args:
        features: rows with `query_ids` and `input_ids`.
        metric: its predictions are ranked ids, its references lists of ids.

    Returns:
        The metric's scores in percent, its primary one first.
    """
    queries, texts = (
        _vectors(engine, features, column, batch_tokens, rank, world)
        for column in ("query_ids", "input_ids")
    )
    asked, found = _groups(features["query_ids"][:]), _groups(features["input_ids"][:])
    _, pool = np.unique(found, return_index=True)
    _, first = np.unique(asked, return_index=True)
    wanted: dict[int, set[int]] = {}
    for query, text in zip(asked, found, strict=True):
        wanted.setdefault(query, set()).add(text)
    computed = get_metric(metric).compute(
        predictions=[[str(place) for place in row] for row in _best(queries[first], texts[pool])],
        references=[[str(text) for text in sorted(wanted[query])] for query in range(len(first))],
    )
    key = primary(metric)
    return {key: float(computed.pop(key)), **{name: float(v) for name, v in computed.items()}}


def _best(queries: Half, texts: Half) -> Iterator[list[int]]:
    """The rows of the nearest texts of every query; of equals, the first."""
    candidates = texts.astype(np.float32).T
    for start in range(0, len(queries), _BLOCK):
        scores = queries[start : start + _BLOCK].astype(np.float32) @ candidates
        yield from np.argsort(-scores, axis=1, kind="stable")[:, :_FOUND].tolist()


def _groups(sequences: Sequence[Sequence[int]]) -> list[int]:
    """A number for each distinct sequence, from 0 in order of first occurrence."""
    numbers: dict[tuple[int, ...], int] = {}
    return [numbers.setdefault(tuple(ids), len(numbers)) for ids in sequences]


def _vectors(
    engine: Engine, features: datasets.Dataset, column: str, tokens: int, rank: int, world: int
) -> Half:
    """Vectors of all rows in all processes, whoever computed them."""
    last = [engine.layers]
    parts = run_vectors(
        engine, features, last, column=column, batch_tokens=tokens, rank=rank, world=world
    )
    found = [(rows, vectors[0]) for rows, vectors in parts]
    if world > 1:
        found = gather_object(found)
    vectors = np.empty((len(features), int(engine.model.config.hidden_size)), dtype=np.float16)
    for rows, values in found:
        vectors[rows] = values
    return vectors
