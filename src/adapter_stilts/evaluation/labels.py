"""Evaluates target tasks whose examples have labels, options, answers or tags."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import chain
from typing import Any

import datasets
import numpy as np

from adapter_stilts.data.load import ExampleSet, warn_of_unknown_tags
from adapter_stilts.engine.composition import module_names
from adapter_stilts.engine.engine import Engine, forward, layers_below, shared_prefix
from adapter_stilts.evaluation.candidates import Head, fit_head
from adapter_stilts.evaluation.files import LanguageResult
from adapter_stilts.features import build_features
from adapter_stilts.heads import get_head
from adapter_stilts.heads.base import Encoding
from adapter_stilts.inference.predictions import (
    Predictions,
    Scorer,
    batches,
    decode_outputs,
    windows_of,
)
from adapter_stilts.tasks.spec import HeadKind, TargetSpec
from adapter_stilts.zoo.local import Composed, activate

Found = tuple[str, int, LanguageResult]
"""A language, the number of the composition, and what it found there."""

Progress = Callable[[Sequence[str], int], None]
"""Called with the languages at work and the number of examples done since the last call."""


def evaluate_labels(
    engine: Engine,
    target: TargetSpec,
    compositions: Sequence[Composed],
    sets: Mapping[str, tuple[ExampleSet, bool]],
    *,
    max_length: int,
    stride: int,
    batch_tokens: int,
    on_examples: Progress | None = None,
) -> Iterator[Found]:
    """Predicts and scores every language with every composition.

    Rows go through the model in chunks that small languages share, so that batches are full and
    memory does not grow with the data; of a language only what was predicted is kept until its
    end. The layers below the lowest module are computed once for all compositions.

    Args:
        compositions: in the engine's memory, all with a head that fits.
        sets: by language, the examples and whether they have labels.
        max_length, stride: of the windows, as the compositions were trained.

    Yields:
        One result a language and composition, as soon as a language's last example is done.
    """
    heads = [fit_head(engine, target, composed) for composed in compositions]
    for language, (data, labelled) in sets.items():
        for head, composed in zip(heads, compositions, strict=True):
            if labelled and head.tags:
                warn_of_unknown_tags(f"{language}, {composed.expression}", data, head.tags)
    streams = {
        language: [Stream(target, language, head, labelled) for head in heads]
        for language, (_, labelled) in sets.items()
    }
    tokens = batch_tokens * CHUNK_BATCHES
    parts = pieces(
        engine,
        target.head,
        ((language, data) for language, (data, _) in sets.items()),
        max_length=max_length,
        stride=stride,
        tokens=tokens,
    )
    for chunk in group_pieces(parts, tokens):
        began = time.monotonic()
        outputs = _run(engine, target, compositions, chunk, batch_tokens, on_examples)
        _collect(target.head, chunk, outputs, streams)
        seconds = time.monotonic() - began
        yield from _finish(chunk, streams, seconds / sum(piece.tokens for piece in chunk))


def _collect(
    kind: HeadKind,
    chunk: Sequence[Piece],
    outputs: Sequence[list[Any]],
    streams: Mapping[str, Sequence[Stream]],
) -> None:
    """Hands every piece's outputs to the streams of its language."""
    first = 0
    for piece in chunk:
        end = first + len(piece.features)
        windows = windows_of(kind, piece.features)
        if "example" in windows:
            windows["example"] = [row - piece.first for row in windows["example"]]
        for stream, rows in zip(streams[piece.language], outputs, strict=True):
            stream.add(rows[first:end], windows, piece.examples)
        first = end


def _finish(
    chunk: Sequence[Piece], streams: dict[str, list[Stream]], seconds: float
) -> Iterator[Found]:
    """The results of the languages that end in a chunk that took so many seconds a token."""
    for piece in chunk:
        mine = streams[piece.language]
        for number, stream in enumerate(mine):
            stream.seconds += seconds * piece.tokens / len(mine)
            if piece.last:
                yield piece.language, number, stream.result()
        if piece.last:
            del streams[piece.language]


def _run(
    engine: Engine,
    target: TargetSpec,
    compositions: Sequence[Composed],
    chunk: Sequence[Piece],
    batch_tokens: int,
    on_examples: Progress | None,
) -> list[list[Any]]:
    """What every composition's head says of every feature row of a chunk, in their order."""
    engine.model.eval()
    activate(engine, compositions[0])
    columns = [name for name in _COLUMNS if name in chunk[0].features.column_names]
    features = datasets.concatenate_datasets(
        [piece.features.select_columns(columns) for piece in chunk]
    )
    outputs: list[list[Any]] = [[None] * len(features) for _ in compositions]
    modules = chain.from_iterable(module_names(each.inside) for each in compositions)
    below = layers_below(engine, modules) if len(compositions) > 1 else 0
    languages = list(dict.fromkeys(piece.language for piece in chunk))
    share = sum(len(piece.examples) for piece in chunk) / len(features)
    head, pad_id = get_head(target.head), engine.backbone.pad_id
    done = 0
    with shared_prefix(engine, below) if below else nullcontext() as prefix:
        for batch in batches(features, pad_id, batch_tokens=batch_tokens):
            if prefix is not None:
                prefix.forget()
            for composed, found in zip(compositions, outputs, strict=True):
                if len(compositions) > 1:
                    activate(engine, composed)
                rows = head.split(forward(engine, batch.tensors), batch.columns)
                for number, output in zip(batch.rows, rows, strict=True):
                    found[number] = output
            done += len(batch.rows)
            if on_examples is not None:
                on_examples(
                    languages, round(share * done) - round(share * (done - len(batch.rows)))
                )
    return outputs


_COLUMNS = ("input_ids", "length", "word_starts")


class Stream:
    """What one composition predicts in one language, collected piece by piece."""

    def __init__(self, target: TargetSpec, language: str, head: Head, labelled: bool) -> None:
        self._target = target
        self._head = head
        self._scorer = Scorer(target.at(language)) if labelled else None
        self._lines: list[str] = []
        self.seconds = 0.0

    def add(
        self, outputs: list[Any], windows: Mapping[str, list[Any]], examples: datasets.Dataset
    ) -> None:
        """Decodes the outputs for some examples; keeps what is written and what is scored."""
        kind = self._target.head
        found = decode_outputs(kind, outputs, windows, examples, self._head.tags)
        if get_head(kind).has_labels:
            found = Predictions(kind, self._head.translate(found.values))
        if self._scorer is not None:
            self._scorer.add(found, examples)
        self._lines += get_head(kind).written(self._target, found.values, examples)

    def result(self) -> LanguageResult:
        """The scores of all that was added."""
        scores = self._scorer.scores() if self._scorer is not None else {}
        return LanguageResult(scores, self._lines, self._scorer is not None, self.seconds)


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
    how = Encoding(engine.backbone.tokenizer, max_length, stride)
    for language, data in sets:
        features = build_features(kind, data.examples, data.fingerprint, how)
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


def group_pieces(parts: Iterable[Piece], tokens: int) -> Iterator[list[Piece]]:
    """Groups consecutive pieces, of one or several languages, up to so many tokens."""
    chunk: list[Piece] = []
    for piece in parts:
        if chunk and sum(each.tokens for each in chunk) + piece.tokens > tokens:
            yield chunk
            chunk = []
        chunk.append(piece)
    if chunk:
        yield chunk
