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
        candidates: [candidates, dimensions], at most 2^32; a memory map will do.
        k: how many to keep, or all candidates where there are fewer.
        block: candidates taken at a time.
        batch: queries taken at a time.
    """
    _check(queries, candidates, k)
    k = min(k, len(candidates))
    best = np.zeros((len(queries), k), dtype=np.uint64)
    for start in range(0, len(candidates), block):
        pool = np.asarray(candidates[start : start + block], dtype=np.float32)
        for first in range(0, len(queries), batch):
            rows = slice(first, first + batch)
            scores = np.asarray(queries[rows], dtype=np.float32) @ pool.T
            found = top(pack(scores, start), k)
            best[rows] = top(np.concatenate([best[rows], found], axis=1), k)
    best.sort(axis=1)
    return Ranked(*unpack(best[:, ::-1]))


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


_LOW = np.uint64(0xFFFFFFFF)
_SIGN = np.uint32(0x80000000)


def pack(scores: NDArray[np.float32], start: int) -> NDArray[np.uint64]:
    """One number for a score and its candidate: the larger, the better; all are different.

    The upper half is the score, with the bits of a float so changed that they sort as it does; the
    lower half is larger for lower rows. Changes `scores`. A score that is not a number is a
    `ValueError`.

    Args:
        scores: (queries, candidates).
        start: the row of the first of these candidates among all.

    Returns:
        Keys of the shape of `scores`.
    """
    if np.isnan(scores).any():
        raise ValueError("queries or candidates hold values that are not numbers")
    scores += 0.0  # -0.0 becomes 0.0: they are equal scores
    bits = scores.view(np.uint32)
    bits ^= (scores.view(np.int32) >> 31).view(np.uint32) | _SIGN
    keys = bits.astype(np.uint64)
    keys <<= np.uint64(32)
    keys |= _LOW - np.arange(start, start + scores.shape[1], dtype=np.uint64)
    return keys


def top(keys: NDArray[np.uint64], k: int) -> NDArray[np.uint64]:
    """The k largest keys of every row, in any order: (rows, k). Changes `keys`."""
    surplus = keys.shape[1] - k
    if surplus <= 0:
        return keys
    keys.partition(surplus, axis=1)
    return keys[:, surplus:].copy()  # a view would keep them all in memory


def unpack(keys: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The candidates' rows and scores that `pack` put together, in the shape of `keys`."""
    bits = (keys >> np.uint64(32)).astype(np.uint32)
    bits ^= np.where(bits & _SIGN, _SIGN, np.uint32(0xFFFFFFFF))
    return (_LOW - (keys & _LOW)).astype(np.int64), bits.view(np.float32)
