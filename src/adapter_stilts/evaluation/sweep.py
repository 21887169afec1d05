"""Every layer tried on dev data: sentences and their translations."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import NamedTuple

from adapter_stilts.data.load import ExampleSet, load_examples
from adapter_stilts.engine.engine import Engine
from adapter_stilts.errors import UserError
from adapter_stilts.evaluation.bitext import gold_pairs, mined_pairs
from adapter_stilts.evaluation.search import nearest
from adapter_stilts.evaluation.sides import data_sets, lacks
from adapter_stilts.evaluation.vector_cache import features_of
from adapter_stilts.inference.vectors import Half, layer_vectors
from adapter_stilts.metrics import get_metric, primary
from adapter_stilts.metrics.bitext_f1 import above, best_threshold
from adapter_stilts.paths import cache_dir
from adapter_stilts.tasks.target_spec import TargetSpec
from adapter_stilts.zoo.composed import Composed, activate


def has_translations(target: TargetSpec) -> bool:
    """Whether a task's dev data are sentences and their translations."""
    there = all(source.has("dev") for source in target.sources)
    return target.retrieval is not None and target.retrieval.search != "ranking" and there


def dev_data(target: TargetSpec, languages: Sequence[str], where: str | None) -> list[str]:
    """Fingerprints of the dev data of some languages, as they lie there now.

    Raises:
        UserError: some are not there, or malformed.
    """
    sets = [each for lang in languages for each in data_sets(target, lang, "dev", where)]
    return [load_examples(task, split, where).fingerprint for task, split in sets]


class Swept(NamedTuple):
    """The best layer and pooling, the mean score of each, and the data's fingerprints."""

    layer: int
    pooling: str
    scores: dict[str, list[float]]
    data: list[str]


@dataclass(frozen=True)
class Sweep:
    """All layers of one composition on the dev data of a task with translations."""

    engine: Engine
    composed: Composed
    target: TargetSpec
    where: str | None
    max_length: int
    batch_tokens: int

    def is_there(self, language: str) -> bool:
        """Whether the data has the dev set of that language."""
        sets = data_sets(self.target, language, "dev", self.where)
        return all(lacks(task, split, self.where) is None for task, split in sets)

    def choose(self, languages: Sequence[str], poolings: Sequence[str]) -> Swept:
        """The best layer and pooling in the mean of the languages.

        Raises:
            UserError: no language is given, or its data is malformed.
        """
        if not languages:
            raise UserError(f"{self.target.name}: no dev data to choose a layer on")
        data: list[str] = []
        found: dict[str, list[list[float]]] = {pooling: [] for pooling in poolings}
        for language in languages:
            tasks = data_sets(self.target, language, "dev", self.where)
            sets = [load_examples(task, split, self.where) for task, split in tasks]
            data += [each.fingerprint for each in sets]
            for pooling in poolings:
                found[pooling].append(self._by_layer(sets, pooling))
        means = {
            pooling: [mean(column) for column in zip(*rows, strict=True)]
            for pooling, rows in found.items()
        }
        pooling, layer = max(
            ((pooling, layer) for pooling in poolings for layer in range(self.engine.layers + 1)),
            key=lambda place: means[place[0]][place[1]],
        )
        return Swept(layer, pooling, means, data)

    def _by_layer(self, sets: Sequence[ExampleSet], pooling: str) -> list[float]:
        """The dev score with each layer's vectors, which come from one pass over each side."""
        cache = cache_dir() / "vectors"
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".sweep-", dir=cache) as folder:
            queries, candidates = (
                self._vectors(data, pooling, Path(folder) / f"{number}.npy")
                for number, data in enumerate(sets[:2])
            )
            return [
                self._score(sets, queries[layer], candidates[layer])
                for layer in range(self.engine.layers + 1)
            ]

    def _vectors(self, data: ExampleSet, pooling: str, path: Path) -> Half:
        activate(self.engine, self.composed)
        return layer_vectors(
            self.engine,
            features_of(self.engine, data, self.max_length),
            range(self.engine.layers + 1),
            pooling=pooling,
            batch_tokens=self.batch_tokens,
            path=path,
        )

    def _score(self, sets: Sequence[ExampleSet], queries: Half, candidates: Half) -> float:
        metric = get_metric(self.target.metric)
        if len(sets) == 2:
            found = nearest(queries, candidates).tolist()
            scores = metric.compute(predictions=found, references=list(range(len(found))))
        else:
            pairs = mined_pairs(sets[0], sets[1], queries, candidates)
            gold = gold_pairs(sets[2], sets[0])
            kept = above(pairs, best_threshold(pairs, gold))
            scores = metric.compute(predictions=kept, references=sorted(gold))
        return float(scores[primary(self.target.metric)])
