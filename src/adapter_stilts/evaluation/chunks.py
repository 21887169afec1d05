"""Streams the feature rows of many languages through the model, a bounded number at a time."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import datasets
import numpy as np

from adapter_stilts.data.load import ExampleSet
from adapter_stilts.engine.engine import Engine
from adapter_stilts.features.build import build_features
from adapter_stilts.tasks.spec import HeadKind

CHUNK_BATCHES = 32
"""Batches a chunk has about: enough to sort by length, few enough to lose when interrupted."""


@dataclass(frozen=True)
class Piece:
    """Consecutive examples of one language with all their feature rows; `last` ends the set."""

    language: str
    examples: datasets.Dataset
    features: datasets.Dataset
    first: int
    tokens: int
    last: bool


def pieces(
    engine: Engine,
    kind: HeadKind,
    sets: Iterable[tuple[str, ExampleSet]],
    *,
    max_length: int,
    stride: int,
    tokens: int,
) -> Iterator[Piece]:
    """Cuts every language's examples, in order, into pieces of about so many tokens at most.

    Features are made (or found in the cache) when a language's turn comes.
    """
    for language, data in sets:
        features = build_features(
            kind,
            data.examples,
            data.fingerprint,
            engine.backbone.tokenizer,
            max_length=max_length,
            stride=stride,
        )
        lengths = np.asarray(features["length"])
        # Row numbers at which an example begins, and one past the last.
        starts = np.searchsorted(np.asarray(features["example"]), np.arange(len(data.examples) + 1))
        costs = np.add.reduceat(lengths, starts[:-1])
        bounds = _cuts(costs, tokens)
        for first, end in itertools.pairwise(bounds):
            yield Piece(
                language=language,
                examples=data.examples.select(range(first, end)),
                features=features.select(range(starts[first], starts[end])),
                first=first,
                tokens=int(costs[first:end].sum()),
                last=end == len(data.examples),
            )


def _cuts(costs: np.ndarray[tuple[int], np.dtype[np.int64]], most: int) -> list[int]:
    """Bounds of consecutive runs whose costs add up to at most `most`, single ones aside."""
    bounds, total = [0], 0
    for number, cost in enumerate(costs.tolist()):
        if total and total + cost > most:
            bounds.append(number)
            total = 0
        total += cost
    return [*bounds, len(costs)]


def chunked(parts: Iterable[Piece], tokens: int) -> Iterator[list[Piece]]:
    """Groups consecutive pieces, of one or several languages, up to so many tokens."""
    chunk: list[Piece] = []
    for piece in parts:
        if chunk and sum(each.tokens for each in chunk) + piece.tokens > tokens:
            yield chunk
            chunk = []
        chunk.append(piece)
    if chunk:
        yield chunk
