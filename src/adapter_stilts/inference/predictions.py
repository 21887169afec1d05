"""From features to a head's outputs, to predictions, and to the official scores."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import datasets
import numpy as np
import torch
from accelerate.utils import gather_object

from adapter_stilts.engine.engine import Engine, forward
from adapter_stilts.errors import NotFiniteError
from adapter_stilts.features import collate, longest_first
from adapter_stilts.heads import get_head
from adapter_stilts.heads.base import Outputs
from adapter_stilts.inference import search
from adapter_stilts.inference.vectors import Half, run_vectors
from adapter_stilts.metrics import get_metric
from adapter_stilts.metrics.retrieval import K
from adapter_stilts.metrics.squad import MLQA_LANGUAGES
from adapter_stilts.tasks.spec import HeadKind, TaskSpec


@dataclass(frozen=True)
class Predictions:
    """One prediction an example, in the examples' order.

    `values` are label numbers, option numbers, lists of tags, or `heads.answers.Answer`s;
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


def windows_of(kind: HeadKind, features: datasets.Dataset) -> dict[str, list[Any]]:
    """The columns of the feature rows that say which part of which example each one is."""
    names = get_head(kind).windows
    columns: dict[str, list[Any]] = features.select_columns(list(names))[:] if names else {}
    return columns


def decode_outputs(
    kind: HeadKind,
    outputs: list[Any],
    windows: Mapping[str, Sequence[Any]],
    examples: datasets.Dataset,
    tags: Sequence[str] = (),
) -> Predictions:
    """The predictions that the head's outputs stand for, one a feature row, in the rows' order.

    Of the `windows` (see `windows_of`), `example` counts within `examples`.
    """
    decoded = get_head(kind).decode(Outputs(outputs, windows, examples, tags))
    return Predictions(kind, *decoded)


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
        head = get_head(self._task.head)
        found, gold = head.scored(self._task, predictions.values, examples)
        self._metric.add_batch(predictions=found, references=gold)

    def scores(self) -> dict[str, float]:
        """The official scores of everything added, in percent, the primary one first."""
        options: dict[str, Any] = {}
        if self._task.unanswerable and self._task.metric == "squad_v2":
            # A score is a difference of logits: above 0, no answer is the likelier one.
            options["no_answer_threshold"] = 0.0
        if self._task.metric == "mlqa":
            # Of a pair such as en-de, the first is the context's language: the answers'.
            language = self._task.language.split("-")[0]
            # Of articles in other languages it knows none, as of Hindi's, which has none.
            options["language"] = language if language in MLQA_LANGUAGES else "hi"
        scores = self._metric.compute(**options)
        if not all(map(math.isfinite, scores.values())):
            raise NotFiniteError(f"the scores of {self._task.name} are no finite numbers: {scores}")
        return scores


_INPUTS = ("input_ids", "word_starts")


def default_batch_tokens(device: torch.device) -> int:
    """Padded tokens a batch at most, where nothing is said.

    A GPU wants them many. On a CPU more than some thousand only add padding, and hidden states
    that no longer fit into its caches.
    """
    return 32_768 if device.type == "cuda" else 2048


class Batch(NamedTuple):
    """Feature rows that go through the model together: their numbers, columns and tensors."""

    rows: list[int]
    columns: dict[str, list[Any]]
    tensors: dict[str, torch.Tensor]


def batches(
    features: datasets.Dataset, pad_id: int, *, batch_tokens: int, rank: int = 0, world: int = 1
) -> Iterator[Batch]:
    """Every feature row once, in order of falling length, cut into batches of so many tokens.

    With several processes, each gets its share.
    """
    lengths = np.asarray(features["length"])
    inputs = features.select_columns([name for name in _INPUTS if name in features.column_names])
    for numbers in longest_first(lengths, batch_tokens)[rank::world]:
        columns = inputs[numbers]
        cells = [{"input_ids": ids} for ids in columns["input_ids"]]
        yield Batch(numbers, columns, collate(cells, pad_id))


def run_features(
    engine: Engine,
    features: datasets.Dataset,
    kind: HeadKind,
    *,
    batch_tokens: int = 8192,
    rank: int = 0,
    world: int = 1,
) -> Iterator[tuple[int, Any]]:
    """What the active module's head says of every feature row, in order of falling length.

    Yields:
        The row number and, by head kind: label logits (labels,) or option logits (choices,);
        `SpanLogits` of the row's own length; or the best tag number at each word start.
    """
    engine.model.eval()
    head, pad_id = get_head(kind), engine.backbone.pad_id
    for batch in batches(features, pad_id, batch_tokens=batch_tokens, rank=rank, world=world):
        output = forward(engine, batch.tensors)
        yield from zip(batch.rows, head.split(output, batch.columns), strict=True)


def rank_pairs(
    engine: Engine,
    features: datasets.Dataset,
    pairs: datasets.Dataset | Mapping[str, Sequence[str]],
    *,
    batch_tokens: int = 8192,
    rank: int = 0,
    world: int = 1,
) -> tuple[list[int], list[list[str]], list[list[str]]]:
    """Searches every query of pairs with a text by the active module's vectors (last layer, mean).

    Every query is searched in the texts of all pairs, each text once; what belongs to a query
    are the texts of all pairs with that query. Texts that differ only behind what the model reads
    are two. Several processes share the work.

    Args:
        features: `query_ids` and `input_ids` of every pair.
        pairs: its `query`, `text` and `context`.

    Returns:
        The row in which each query stands first, and for each the nearest texts, nearest first,
        and those that belong to it, as numbers of the rows in which they stand first.
    """
    asked = _first_rows(pairs["query"][:])
    found = _first_rows(zip(pairs["text"][:], pairs["context"][:], strict=True))
    wanted: dict[int, set[int]] = {}
    for query, text in zip(asked, found, strict=True):
        wanted.setdefault(query, set()).add(text)
    first, pool = list(wanted), np.unique(found)
    queries, texts = (
        _vectors(engine, features.select(rows), column, batch_tokens, rank, world)
        for rows, column in ((first, "query_ids"), (pool, "input_ids"))
    )
    nearest = pool[search.rank(queries, texts, K).indices].tolist()
    ranked, relevant = (
        [list(map(str, rows)) for rows in each] for each in (nearest, map(sorted, wanted.values()))
    )
    return first, ranked, relevant


def score_pairs(
    engine: Engine,
    features: datasets.Dataset,
    pairs: datasets.Dataset | Mapping[str, Sequence[str]],
    metric: str,
    **options: int,
) -> dict[str, float]:
    """Scores, in percent, of what `rank_pairs` finds; the metric takes lists of ids."""
    _, found, wanted = rank_pairs(engine, features, pairs, **options)
    return get_metric(metric).compute(predictions=found, references=wanted)


def _first_rows(values: Iterable[Hashable]) -> list[int]:
    """For each value the row in which an equal one stands first."""
    first: dict[Hashable, int] = {}
    return [first.setdefault(value, row) for row, value in enumerate(values)]


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
