"""Vectors of data sets: as of one text at a time, in memory or in a file; and what they find."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import datasets
import numpy as np
import pytest
import torch

from adapter_stilts import load
from adapter_stilts.engine.engine import Engine
from adapter_stilts.errors import FailureError
from adapter_stilts.inference.predictions import rank_pairs, score_pairs
from adapter_stilts.inference.vectors import layer_vectors, pool, run_vectors, sentence_vectors
from features_kit import encode_as

TEXTS = [" ".join(["Ann", "saw", "a", "boat"] * (1 + (7 * n) % 9) + [str(n)]) for n in range(14)]


@pytest.fixture(scope="module")
def engine(folders: Mapping[str, Path]) -> Engine:
    """The tiny XLM-R with a module for vectors."""
    return load(folders["embedding"], precision="fp32").engine


def rows(engine: Engine, **sides: list[str]) -> datasets.Dataset:
    count = len(next(iter(sides.values())))
    empty = {"query": [""] * count, "text": [""] * count, "context": [""] * count}
    tokenizer = engine.backbone.tokenizer
    return datasets.Dataset.from_dict(
        encode_as("embedding")({**empty, **sides}, tokenizer, max_length=64)
    )


def one_by_one(engine: Engine, features: Any, layer: int, pooling: str) -> np.ndarray[Any, Any]:
    """Each row alone through the model, without padding, in float32."""
    found = []
    for ids in features["input_ids"]:
        tokens = torch.tensor([ids])
        with torch.inference_mode():
            output = engine.model(input_ids=tokens, output_hidden_states=True)
        (vector,) = pool(output.hidden_states[layer], torch.ones_like(tokens), pooling)
        found.append((vector / vector.norm()).numpy())
    return np.stack(found)


@pytest.mark.parametrize(("layer", "pooling"), [(3, "mean"), (1, "mean"), (2, "first"), (0, "max")])
def test_vectors_are_those_of_one_text_at_a_time(engine: Engine, layer: int, pooling: str) -> None:
    features = rows(engine, text=TEXTS)
    expected = one_by_one(engine, features, layer, pooling)
    for tokens in (1, 100, 4096):
        found = sentence_vectors(
            engine, features, layer=layer, pooling=pooling, batch_tokens=tokens
        )
        assert found.dtype == np.float16 and found.shape == (14, 32)
        np.testing.assert_allclose(found, expected, atol=1e-3)


def test_every_layer_in_one_pass_into_a_file(engine: Engine, tmp_path: Path) -> None:
    features = rows(engine, query=TEXTS)
    path = tmp_path / "vectors.npy"
    found = layer_vectors(engine, features, range(4), batch_tokens=100, path=path)
    assert isinstance(found, np.memmap)
    read = np.load(path, mmap_mode="r", allow_pickle=False)
    assert read.shape == (4, 14, 32) and read.dtype == np.float16
    for layer in range(4):
        single = sentence_vectors(engine, features, layer=layer, batch_tokens=100)
        np.testing.assert_allclose(read[layer], single, atol=1e-3)


def test_a_disk_without_the_space(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=2 * 14 * 32 - 1))
    with pytest.raises(FailureError, match=r"do not fit onto the disk at .*ADSTILTS_CACHE"):
        sentence_vectors(engine, rows(engine, text=TEXTS), path=tmp_path / "vectors.npy")
    assert not (tmp_path / "vectors.npy").exists()


def test_lengths_are_left_alone_on_demand(engine: Engine) -> None:
    features = rows(engine, text=TEXTS)
    found = sentence_vectors(engine, features, normalise=False).astype(float)
    norms = np.linalg.norm(found, axis=1, keepdims=True)
    assert abs(norms - 1).min() > 0.1
    np.testing.assert_allclose(found / norms, sentence_vectors(engine, features), atol=2e-3)


def test_rows_picked_from_a_larger_set(engine: Engine) -> None:
    features = rows(engine, text=TEXTS)
    picked = sentence_vectors(engine, features.select([5, 0, 9]))
    np.testing.assert_allclose(picked, sentence_vectors(engine, features)[[5, 0, 9]], atol=1e-3)


def test_processes_share_the_rows(engine: Engine) -> None:
    features = rows(engine, text=TEXTS, query=TEXTS[::-1])
    whole = sentence_vectors(engine, features, column="query_ids")
    seen: list[int] = []
    for rank in range(2):
        for places, vectors in run_vectors(
            engine, features, [3], column="query_ids", batch_tokens=64, rank=rank, world=2
        ):
            seen += places
            np.testing.assert_allclose(vectors[0], whole[places], atol=1e-3)
    assert sorted(seen) == list(range(14))


def test_pairs_are_scored_among_the_distinct_texts(engine: Engine) -> None:
    """By hand: one query has two texts, and one text answers two queries."""
    texts = ["alpha", "beta", "gamma", "beta", "delta"]
    queries = ["beta", "gamma", "gamma", "who", "alpha"]
    features = rows(engine, query=queries, text=texts)
    relevant = {"beta": {"alpha"}, "gamma": {"beta", "gamma"}, "who": {"beta"}, "alpha": {"delta"}}
    pool_texts = list(dict.fromkeys(texts))
    named = [*pool_texts, "who"]
    found_vectors = sentence_vectors(engine, rows(engine, text=named)).astype(float)
    vectors = dict(zip(named, found_vectors, strict=True))
    precisions = []
    for query, wanted in relevant.items():
        ranked = sorted(pool_texts, key=lambda text: -float(vectors[query] @ vectors[text]))
        places = [ranked.index(text) + 1 for text in wanted]
        hits = [(n + 1) / place for n, place in enumerate(sorted(places))]
        precisions.append(sum(hits) / len(wanted))
    pairs = {"query": queries, "text": texts, "context": [""] * len(texts)}
    found = score_pairs(engine, features, pairs, "map_at_20")
    assert found == {"map_at_20": pytest.approx(100 * np.mean(precisions))}


def test_texts_that_differ_behind_what_is_read_are_two(engine: Engine) -> None:
    """Else a query would have what belongs to another one, too, and would be right more often."""
    features = rows(engine, query=["beta", "gamma"], text=["alpha", "alpha"])
    pairs = {"query": ["beta", "gamma"], "text": ["alpha one", "alpha two"], "context": ["", ""]}
    _, ranked, relevant = rank_pairs(engine, features, pairs)
    assert ranked == [["0", "1"], ["0", "1"]]  # of equals the first
    assert relevant == [["0"], ["1"]]
