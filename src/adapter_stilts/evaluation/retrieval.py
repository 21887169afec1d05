"""Retrieval: translations by nearest neighbour and by mining, ranked candidates, pairs of texts."""

from __future__ import annotations

import inspect
import json
import logging
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from filelock import FileLock

from adapter_stilts.data.load import ExampleSet, load_examples
from adapter_stilts.engine.engine import Engine
from adapter_stilts.errors import UserError
from adapter_stilts.evaluation.data import candidate_sets, check_lengths, has_gold, has_labels
from adapter_stilts.evaluation.files import LanguageResult
from adapter_stilts.evaluation.items import gold_pairs, mined_pairs
from adapter_stilts.features import build_features, features_key
from adapter_stilts.hashing import file_sha256, json_digest, text_digest
from adapter_stilts.heads import PLAIN
from adapter_stilts.heads.base import Encoding
from adapter_stilts.inference import vectors as making
from adapter_stilts.inference.predictions import rank_pairs
from adapter_stilts.inference.search import Indices, nearest, rank
from adapter_stilts.inference.vectors import Half, check_choice, sentence_vectors
from adapter_stilts.metrics import get_metric
from adapter_stilts.metrics.retrieval import K, Pair, above, best_threshold
from adapter_stilts.paths import atomic_folder, cache_dir
from adapter_stilts.safety import read_json
from adapter_stilts.tasks.spec import Split, TargetSpec
from adapter_stilts.zoo.local import Composed, activate

logger = logging.getLogger(__name__)

# As imported: the files may be edited while a process runs the old code.
_SOURCE = inspect.getsource(making)
_FILE, _RECORD = "vectors.npy", "vectors.json"


def evaluate_retrieval(
    engine: Engine,
    composed: Composed,
    target: TargetSpec,
    languages: Sequence[str],
    split: Split,
    where: str | None,
    *,
    layer: int,
    pooling: str = "mean",
    limit: int | None = None,
    batch_tokens: int = 8192,
) -> Iterator[tuple[str, LanguageResult]]:
    """Searches by sentence vectors in one language after the other.

    Vectors have length 1 and half precision, and are kept in the cache: what several languages or
    calls share is computed once. Refuses a layer or pooling that there is not, and data that is not
    there or malformed.

    Args:
        composed: the composition that makes the vectors; it is activated.
        where: as in `load_examples`.
        layer: numbered as in `inference.vectors`.
        limit: search only so many queries of each language, drawn at random. The candidates
            stay all, so that a query is as hard to answer as without it.

    Yields:
        Each language with its result, as soon as it is there.
    """
    check_choice(engine, layer, pooling)
    length = trained_length(engine, composed, target)
    vectors = Vectors(engine, composed, layer, pooling, length, batch_tokens)
    searcher = Searcher(target, vectors, split, where, limit)
    for language in languages:
        began = time.monotonic()
        found = searcher.language(language)
        yield language, replace(found, seconds=time.monotonic() - began)


def trained_length(engine: Engine, composed: Composed, target: TargetSpec) -> int:
    """Tokens a text at most: as a dual encoder was trained, else the target's own."""
    if composed.record is not None and composed.record.head == PLAIN:
        return engine.backbone.sequence_length(int(composed.record.recipe["max_length"]))
    return engine.backbone.sequence_length(target.max_length)


@dataclass(frozen=True)
class Searcher:
    """A retrieval task with one way of making vectors; what languages share is kept."""

    target: TargetSpec
    vectors: Vectors
    split: Split
    where: str | None
    limit: int | None = None

    def language(self, language: str) -> LanguageResult:
        """Searches in one language; refuses data that is not there or malformed."""
        assert self.target.retrieval
        kinds = {"nearest": self._nearest, "mining": self._mining, "ranking": self._ranking}
        return kinds[self.target.retrieval.search](language)

    def _nearest(self, language: str) -> LanguageResult:
        """Tatoeba: each line names the candidate that translates a query, counted from 0."""
        task = self.target.at(language)
        queries = load_examples(task, self.split, self.where)
        aligned = has_labels(task, self.split, self.where, queries)
        candidates = load_examples(self.target.candidates(language), self.split, self.where)
        check_lengths(self.target.name, language, queries, candidates)
        drawn, rows = draw_examples(queries, self.limit)
        found = nearest(self.vectors.of(drawn), self.vectors.of(candidates)).tolist()
        scores = self._scores(found, rows.tolist()) if aligned else {}
        return self._result(scores, [str(place) for place in found])

    def _mining(self, language: str) -> LanguageResult:
        """BUCC: pairs of ids with a margin score from a threshold on that is fitted on dev."""
        queries, scored = self._mine(language, "dev")
        gold = gold_pairs(load_examples(self.target.gold(language), "dev", self.where), queries)
        threshold = best_threshold(scored, gold)
        right: set[Pair] | None = gold
        if self.split != "dev":
            queries, scored = self._mine(language, self.split)
            right = self._gold(language, queries)
        pairs = above(scored, threshold)
        scores = {} if right is None else self._scores(pairs, sorted(right))
        return self._result(scores, ["\t".join(pair) for pair in pairs], threshold=threshold)

    def _mine(self, language: str, split: Split) -> tuple[ExampleSet, dict[Pair, float]]:
        """The queries of a split, and the pairs mined with them."""
        queries = load_examples(self.target.at(language), split, self.where)
        candidates = load_examples(self.target.candidates(language), split, self.where)
        drawn, _ = draw_examples(queries, self.limit)
        sides = (self.vectors.of(drawn), self.vectors.of(candidates))
        return drawn, mined_pairs(drawn, candidates, *sides)

    def _gold(self, language: str, queries: ExampleSet) -> set[Pair] | None:
        """The listed pairs of these queries; None where the split was published without."""
        if not has_gold(self.target, language, self.split, self.where):
            return None
        listed = load_examples(self.target.gold(language), self.split, self.where)
        return gold_pairs(listed, queries)

    def _ranking(self, language: str) -> LanguageResult:
        """LAReQA, Mewsli-X: the best candidates of every query, as members of a JSON object."""
        task = self.target.at(language)
        queries = load_examples(task, self.split, self.where)
        labelled = has_labels(task, self.split, self.where, queries)
        drawn, _ = draw_examples(queries, self.limit)
        pool = self._pool(language)
        ranked = rank(self.vectors.of(drawn), pool.vectors, K)
        found = pool.ids(ranked.indices)
        scores = {}
        if labelled:
            scores = self._scores(found, pool.relevant(drawn.examples["gold"][:]))
        members = zip(drawn.examples["id"][:], found, strict=True)
        lines = [f"{_json(name)}: {_json(ids)}" for name, ids in members]
        lacking = {"no_candidates_in": list(pool.lacking)} if pool.lacking else {}
        return self._result(scores, lines, candidates=len(pool.vectors), **lacking)

    def _pool(self, language: str) -> Pool:
        """What the queries of a language are ranked against."""
        shared = has_shared_pool(self.target, language)
        return self._shared_pool if shared else self._read_pool(language)

    @cached_property
    def _shared_pool(self) -> Pool:
        return self._read_pool(self.target.languages[0])

    def _read_pool(self, language: str) -> Pool:
        sets, lacking = _candidates(self.target, language, self.split, self.where)
        if lacking:
            what = "%s: no candidates in %s: fewer to tell apart than officially"
            logger.warning(what, self.target.name, ", ".join(lacking))
        parts = [self.vectors.of(data) for data in sets]
        return Pool(sets, parts[0] if len(parts) == 1 else np.concatenate(parts), lacking)

    def _scores(self, predictions: Sequence[Any], references: Sequence[Any]) -> dict[str, float]:
        metric = get_metric(self.target.metric)
        return metric.compute(predictions=predictions, references=references)

    def _result(self, scores: dict[str, float], lines: list[str], **details: Any) -> LanguageResult:
        made = {"layer": self.vectors.layer, "pooling": self.vectors.pooling}
        return LanguageResult(scores, lines, bool(scores), details={**made, **details})


def draw_examples(data: ExampleSet, limit: int | None) -> tuple[ExampleSet, npt.NDArray[np.int64]]:
    """At most `limit` examples drawn at random, in their order; None is all of them.

    With their places among all examples, (drawn,).
    """
    count = len(data.examples)
    if limit is None or limit >= count:
        return data, np.arange(count)
    rows = np.sort(np.random.default_rng(0).choice(count, size=limit, replace=False))
    fingerprint = json_digest([data.fingerprint, "drawn", limit])[:32]
    drawn = data.examples.select(rows.tolist())
    return replace(data, examples=drawn, fingerprint=fingerprint), rows


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


@dataclass(frozen=True)
class Pool:
    """Candidates with their vectors. Only the vectors of a single set stay on disk."""

    sets: tuple[ExampleSet, ...]
    vectors: Half
    lacking: tuple[str, ...] = ()

    def ids(self, rows: Indices) -> list[list[str]]:
        """The candidates' ids for row numbers of the pool, in the same shape."""
        flat: list[str] = self._ids.take(pa.array(rows.ravel())).to_pylist()
        width = rows.shape[1]
        return [flat[start : start + width] for start in range(0, len(flat), width)]

    def relevant(self, gold: Sequence[Sequence[str]]) -> list[list[str]]:
        """For each query, the ids of the candidates with one of its gold keys.

        A query whose keys no candidate has gets the keys themselves, which nothing retrieved
        equals: it counts as not found.
        """
        keys = pa.array(sorted({key for listed in gold for key in listed}), pa.string())
        holders: dict[str, list[int]] = {}
        for row, key in self._with_keys(keys):
            holders.setdefault(key, []).append(row)
        rows = [sorted({r for key in listed for r in holders.get(key, [])}) for listed in gold]
        named = self._ids.take(pa.array([r for each in rows for r in each], pa.int64())).to_pylist()
        ends = np.cumsum([0, *map(len, rows)])
        return [
            named[ends[query] : ends[query + 1]] or list(listed)
            for query, listed in enumerate(gold)
        ]

    def _with_keys(self, keys: pa.Array) -> Iterator[tuple[int, str]]:
        """Rows of the pool with the keys among these that they have."""
        first = 0
        for chunk in self._column("gold"):
            values = pc.list_flatten(chunk)
            wanted = pc.is_in(values, value_set=keys)
            rows = pc.filter(pc.list_parent_indices(chunk), wanted).to_pylist()
            for row, key in zip(rows, pc.filter(values, wanted).to_pylist(), strict=True):
                yield first + row, key
            first += len(chunk)

    @cached_property
    def _ids(self) -> pa.ChunkedArray:
        return pa.chunked_array(list(self._column("id")), pa.string())

    def _column(self, name: str) -> Iterator[pa.Array]:
        for data in self.sets:
            table = data.examples.select_columns([name]).with_format("arrow")[:]
            yield from table.column(name).chunks


def has_shared_pool(target: TargetSpec, language: str) -> bool:
    """Whether a language's queries are ranked against the same candidates as those of others."""
    assert target.retrieval
    pooled = target.retrieval.pooled and language in target.languages
    return pooled or target.retrieval.shared


def relevant_ids(
    target: TargetSpec,
    language: str,
    split: Split,
    where: str | None,
    gold: Sequence[Sequence[str]],
) -> list[list[str]]:
    """For each query, given by its gold keys, the ids of the relevant candidates."""
    whose = target.languages[0] if has_shared_pool(target, language) else language
    sets, _ = _candidates(target, whose, split, where)
    return Pool(sets, np.empty((0, 0), np.float16)).relevant(gold)


def _candidates(
    target: TargetSpec, language: str, split: Split, where: str | None
) -> tuple[tuple[ExampleSet, ...], tuple[str, ...]]:
    """The sets that queries are ranked against, and the languages that lack one."""
    tasks, lacking = candidate_sets(target, language, split, where)
    return tuple(load_examples(task, split, where) for task in tasks), tuple(lacking)


def evaluate_pairs(
    engine: Engine,
    target: TargetSpec,
    composed: Composed,
    data: ExampleSet,
    *,
    max_length: int,
    batch_tokens: int,
) -> LanguageResult:
    """Scores in percent, and of every query the numbers of its `K` nearest texts, nearest first.

    It is as in training, see `rank_pairs`. A line of the predictions is the number of the first row
    with that query, a tab, and the numbers of rows. Refuses a row without a query or a text.
    """
    began = time.monotonic()
    for row in data.examples.select_columns(["id", "query", "text"]):
        if not (row["query"].strip() and row["text"].strip()):
            what = f"row '{row['id']}' has no query or no text to be found"
            raise UserError(f"{target.name}: {what}")
    activate(engine, composed)
    features = features_of(engine, data, max_length)
    asked, ranked, wanted = rank_pairs(engine, features, data.examples, batch_tokens=batch_tokens)
    return LanguageResult(
        get_metric(target.metric).compute(predictions=ranked, references=wanted),
        [f"{row}\t{' '.join(found)}" for row, found in zip(asked, ranked, strict=True)],
        labelled=True,
        seconds=time.monotonic() - began,
    )


@dataclass(frozen=True)
class Vectors:
    """How texts become vectors of length 1: a composition, a layer and a pooling."""

    engine: Engine
    composed: Composed
    layer: int
    pooling: str
    max_length: int
    batch_tokens: int = 8192

    def of(self, data: ExampleSet) -> Half:
        """Vectors of a set's texts (or of its queries, where it has no texts): (examples, D).

        A memory map of a file in the cache; computed only where it is not there. With the
        composition, the backbone, the precision, the data or this code, the file changes. One that
        is not as it was written is made anew.
        """
        folder = cache_dir() / "vectors" / self._key(data)
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{folder}.lock"):
            shape = len(data.examples), int(self.engine.model.config.hidden_size)
            found = _read(folder, shape)
            if found is not None:
                return found
            features = features_of(self.engine, data, self.max_length)
            activate(self.engine, self.composed)
            with atomic_folder(folder) as work:
                sentence_vectors(
                    self.engine,
                    features,
                    layer=self.layer,
                    pooling=self.pooling,
                    batch_tokens=self.batch_tokens,
                    path=work / _FILE,
                )
                about = {"sha256": file_sha256(work / _FILE)}  # so that a damaged one is found
                (work / _RECORD).write_text(
                    json.dumps(about, allow_nan=False) + "\n", encoding="utf-8"
                )
            made = _read(folder, shape)
        assert made is not None
        return made

    def _key(self, data: ExampleSet) -> str:
        how = Encoding(self.engine.backbone.tokenizer, self.max_length)
        parts = [
            _SOURCE,
            features_key(PLAIN, data.fingerprint, how),
            self.composed.content,
            self.engine.fingerprint,
            json.dumps([str(self.engine.dtype), self.layer, self.pooling], allow_nan=False),
        ]
        return text_digest("\0".join(parts), 24)


def features_of(engine: Engine, data: ExampleSet, max_length: int) -> datasets.Dataset:
    """The token sequences of a set's texts or queries."""
    how = Encoding(engine.backbone.tokenizer, max_length)
    return build_features(PLAIN, data.examples, data.fingerprint, how)


def _read(folder: Path, shape: tuple[int, int]) -> Half | None:
    """The cached vectors; None where there are none or the file is damaged (then removed)."""
    if not folder.exists():
        return None
    path = folder / _FILE
    try:
        vectors = np.load(path, mmap_mode="r", allow_pickle=False)
        fits = (vectors.shape, vectors.dtype) == ((1, *shape), np.dtype(np.float16))
        if fits and read_json(folder / _RECORD) == {"sha256": file_sha256(path)}:
            found: Half = vectors[0]
            return found
    except (ValueError, OSError, EOFError, UserError):
        pass
    logger.warning("cached vectors in %s are damaged: made again", folder)
    shutil.rmtree(folder, ignore_errors=True)
    return None
