"""Nearest neighbours among sentence vectors: retrieval, bitext mining, ranking of large pools.

Vectors may be of any float type, in memory or mapped from a file; products are summed in
32 bits. Nothing given is changed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Float32 = NDArray[np.float32]
Indices = NDArray[np.int64]


class Ranked(NamedTuple):
    """The best candidates of every query, best first."""

    indices: Indices
    """Rows of the candidates, [queries, k]."""
    scores: Float32
    """Their inner products with the query, [queries, k]."""


class Mined(NamedTuple):
    """Sentence pairs, best first."""

    source: Indices
    target: Indices
    scores: NDArray[np.float64]


class Distinct(NamedTuple):
    """The distinct texts among many, in the order in which they first occur."""

    rows: Indices
    """Where each stands; of equal texts, where the last one does."""
    once: NDArray[np.bool_]
    """Whether it stands once only, white space around it aside."""


def unit(vectors: Floats) -> Float32:
    """The vectors, (rows, width), at length 1, in 32 bits; a zero vector stays zero."""
    rows = np.array(vectors, dtype=np.float32)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    rows /= np.where(lengths > 0, lengths, 1)
    return rows


def nearest(queries: Floats, candidates: Floats) -> Indices:
    """The row of the candidate with the highest cosine, for every query: (queries,).

    `queries` and `candidates` are (rows, width).

    Of equally near candidates it is the first. XTREME retrieves Tatoeba's sentences so: with
    English sentences as queries, in the other language's.
    """
    return rank(unit(queries), unit(candidates), k=1).indices[:, 0]


def rank(
    queries: Floats, candidates: Floats, k: int = 20, *, block: int = 8192, batch: int = 1024
) -> Ranked:
    """The k candidates with the highest inner product for every query, whatever their number.

    Of equal scores the lower row comes first, so the result does not depend on the block sizes
    (up to rounding, in which matrix products of different shape may differ). Every candidate is
    read once, in order. With n queries of d dimensions, memory beyond what is given and
    returned stays below

        12 block batch + 4 d (block + batch) + 32 n k bytes

    (a few MB more where numpy's product needs room): 150 MB for 15,000 queries of 1,024 dimensions,
    against 2 GB that hold a million candidates in half precision. Shapes that do not fit, no
    candidates, or a product that is not a number are a `ValueError`.

    Args:
        queries: [queries, dimensions].
        candidates: [candidates, dimensions]; a memory map will do.
        k: how many to keep, or all candidates where there are fewer.
        block: candidates taken at a time.
        batch: queries taken at a time.
    """
    _check(queries, candidates, k)
    rows, scores = np.empty((len(queries), 0), np.int64), np.empty((len(queries), 0), np.float32)
    for start in range(0, len(candidates), block):
        pool = np.asarray(candidates[start : start + block], dtype=np.float32)
        found = np.empty((len(queries), min(k, len(pool))), np.int64)
        values = np.empty(found.shape, np.float32)
        for first in range(0, len(queries), batch):
            at = slice(first, first + batch)
            products = np.asarray(queries[at], dtype=np.float32) @ pool.T
            found[at] = columns = _first_best(products, k)
            values[at] = np.take_along_axis(products, columns, 1)
        # Lower rows stand before higher ones, so that they stay first among equals.
        rows, scores = np.hstack([rows, found + start]), np.hstack([scores, values])
        kept = _first_best(scores, k)
        rows, scores = np.take_along_axis(rows, kept, 1), np.take_along_axis(scores, kept, 1)
    return Ranked(rows, scores)


def _first_best(scores: Float32, k: int) -> Indices:
    """The columns of the k largest of every row, largest first, of equals the first; (rows, k)."""
    if np.isnan(scores).any():
        raise ValueError("queries or candidates hold values that are not numbers")
    k = min(k, scores.shape[1])
    least = np.partition(scores, -k, axis=1)[:, [-k]]  # a view would keep them all in memory
    best = np.empty((len(scores), k), np.int64)
    for place, (row, bound) in enumerate(zip(scores, least, strict=True)):
        columns = np.flatnonzero(row >= bound)
        best[place] = columns[np.argsort(-row[columns], kind="stable")[:k]]
    return best


def _check(queries: Floats, candidates: Floats, k: int) -> None:
    if queries.ndim != 2 or candidates.ndim != 2 or queries.shape[1] != candidates.shape[1]:
        raise ValueError(
            f"vectors must be rows of one length, got {queries.shape} and {candidates.shape}"
        )
    if not len(candidates) or k < 1:
        raise ValueError(f"cannot take {k} of {len(candidates)} candidates")


def distinct(texts: Sequence[str]) -> Distinct:
    """The distinct texts of a corpus, among which BUCC's sentences are mined.

    XTREME mines among distinct sentences, each with the vector of its last occurrence, and then
    drops every pair with a sentence that is not `once`, whose id would be ambiguous.
    """
    last = {text: row for row, text in enumerate(texts)}  # in the order of first occurrences
    counts = Counter(text.strip() for text in texts)
    rows = np.fromiter(last.values(), dtype=np.int64, count=len(last))
    once = np.fromiter((counts[text.strip()] == 1 for text in last), dtype=np.bool_)
    return Distinct(rows, once)


def mine(source: Floats, target: Floats, k: int = 4) -> Mined:
    """Pairs of sentences that are each other's translation, by margin scores above 0.

    A pair scores its cosine over the mean cosine of both sentences to their k nearest neighbours.
    Every source sentence proposes the best-scoring of its k nearest targets and every target
    likewise. From the best proposal down, one is taken unless a pair taken before holds one of its
    sentences.

    Source: Artetxe & Schwenk 2019, Margin-based Parallel Corpus Mining with Multilingual Sentence
    Embeddings, ACL, as XTREME uses it for BUCC (`mine_bitext` of utils_retrieve.py). Memory beyond
    what is given: both corpora in 32 bits, and the larger one once more. Shapes that do not fit and
    an empty corpus are a `ValueError`.

    Args:
        source, target: [sentences, dimensions].
    """
    _check(source, target, k)
    _check(target, source, k)
    x, y = unit(source), unit(target)
    forward, targets = _neighbours(x, y, k)
    backward, sources = _neighbours(y, x, k)
    means = forward.mean(axis=1), backward.mean(axis=1)
    forward = _score_margins(forward, means[0][:, None], means[1][targets])
    backward = _score_margins(backward, means[1][:, None], means[0][sources])
    rows, columns = np.arange(len(x)), np.arange(len(y))
    pairs = np.stack(
        [
            np.concatenate([rows, sources[columns, backward.argmax(axis=1)]]),
            np.concatenate([targets[rows, forward.argmax(axis=1)], columns]),
        ]
    )
    scores = np.concatenate([forward.max(axis=1), backward.max(axis=1)]).astype(np.float64)
    order = np.argsort(-scores, kind="stable")
    kept = order[_unused_pairs(pairs[:, order])]
    kept = kept[scores[kept] > 0]
    return Mined(pairs[0, kept], pairs[1, kept], scores[kept])


def _score_margins(similarity: Float32, mean: Float32, other_mean: Float32) -> Float32:
    """Margin scores of candidates from the means of both sides' neighbours."""
    with np.errstate(divide="ignore", invalid="ignore"):  # where all neighbours are at 0
        return similarity / ((mean + other_mean) / np.float32(2))


def _neighbours(queries: Float32, candidates: Float32, k: int) -> tuple[Float32, Indices]:
    """Inner products and rows of the k nearest candidates."""
    import faiss  # half a second, and only mining needs it

    index = faiss.IndexFlatIP(candidates.shape[1])
    index.add(candidates)
    scores, rows = index.search(queries, min(k, len(candidates)))
    return scores, rows


def _unused_pairs(pairs: Indices) -> list[int]:
    """Which pairs, gone through in order, hold no sentence of one taken before."""
    seen_source: set[int] = set()
    seen_target: set[int] = set()
    taken = []
    for place, (source, target) in enumerate(pairs.T.tolist()):
        if source not in seen_source and target not in seen_target:
            seen_source.add(source)
            seen_target.add(target)
            taken.append(place)
    return taken
