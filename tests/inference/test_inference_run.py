"""Batches and their order decide nothing: predictions are those of one example at a time."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest

from adapter_stilts import load
from adapter_stilts.heads import get_head
from adapter_stilts.heads.base import Encoding
from adapter_stilts.inference.predictions import predict_features, run_features
from adapter_stilts.zoo.module import Module
from made_modules import LABELS

HEADS = ("classification", "choice", "span", "tagging")


def text(words: int, seed: int) -> str:
    return " ".join(f"{'abcdefgh'[(seed + n) % 8]}{n % 7}" for n in range(words))


def columns(head: str) -> dict[str, list[Any]]:
    """Twelve inputs, short and long, in no order of length."""
    sizes = [(7 * n) % 23 + 1 for n in range(12)]
    if head == "classification":
        return {
            "text_a": [text(n, n) for n in sizes],
            "text_b": [text(n // 2, 1) for n in sizes],
        }
    if head == "choice":
        return {
            "prompt": [text(n, n) for n in sizes],
            "options": [[text(1 + (n + k) % 5, k) for k in range(4)] for n in sizes],
        }
    if head == "span":
        return {
            "question": [text(2, n) for n in sizes],
            "context": [text(5 * n, n) for n in sizes],
        }
    return {"words": [text(4 * n, n).split() for n in sizes]}


def prepared(module: Module, head: Any) -> tuple[datasets.Dataset, datasets.Dataset]:
    rows = columns(head)
    how = Encoding(module.engine.backbone.tokenizer, 64, 16)
    return datasets.Dataset.from_dict(get_head(head).encode(rows, how)), datasets.Dataset.from_dict(
        rows
    )


@pytest.fixture(params=HEADS)
def loaded(request: pytest.FixtureRequest, folders: Mapping[str, Path]) -> tuple[str, Module]:
    """Each head kind's module."""
    return request.param, load(folders[request.param], precision="fp32")


def flat(output: Any) -> np.ndarray[Any, Any]:
    return np.concatenate(
        [np.ravel(part) for part in output] if isinstance(output, tuple) else [output]
    )


def test_batches_give_what_single_rows_give(loaded: tuple[Any, Module]) -> None:
    head, module = loaded
    features, _ = prepared(module, head)
    if head in ("span", "tagging"):
        assert len(features) > 12  # some have several windows
    single = dict(run_features(module.engine, features, head, batch_tokens=1))
    together = dict(run_features(module.engine, features, head, batch_tokens=4096))
    assert sorted(single) == sorted(together) == list(range(len(features)))
    for row in single:
        np.testing.assert_allclose(flat(together[row]), flat(single[row]), atol=1e-5)


def test_rows_come_longest_first_so_that_memory_runs_out_at_once(
    loaded: tuple[Any, Module],
) -> None:
    head, module = loaded
    features, _ = prepared(module, head)
    rows = [row for row, _ in run_features(module.engine, features, head, batch_tokens=256)]
    lengths = [features["length"][row] for row in rows]
    assert lengths == sorted(lengths, reverse=True)


def test_order_of_the_examples_does_not_matter(loaded: tuple[Any, Module]) -> None:
    head, module = loaded
    features, examples = prepared(module, head)
    options: dict[str, Any] = {"tags": LABELS[head], "batch_tokens": 512}
    straight = predict_features(module.engine, features, examples, head, **options)
    order = list(reversed(range(len(examples))))
    turned = examples.select(order)
    how = Encoding(module.engine.backbone.tokenizer, 64, 16)
    back = predict_features(
        module.engine,
        datasets.Dataset.from_dict(get_head(head).encode(turned[:], how)),
        turned,
        head,
        **options,
    )
    assert len(straight.values) == len(examples)
    for place, value in zip(order, back.values, strict=True):
        if head == "span":
            mine = straight.values[place]
            assert value.spans[0][:2] == mine.spans[0][:2]
            assert value.null_score == pytest.approx(mine.null_score, abs=1e-4)
        else:
            assert value == straight.values[place]


def test_processes_share_the_rows(loaded: tuple[Any, Module]) -> None:
    head, module = loaded
    features, _ = prepared(module, head)
    parts = [
        [
            r
            for r, _ in run_features(
                module.engine, features, head, batch_tokens=256, rank=k, world=2
            )
        ]
        for k in range(2)
    ]
    assert all(parts)
    assert sorted(parts[0] + parts[1]) == list(range(len(features)))


def test_probabilities_are_the_softmax_of_the_logits(folders: Mapping[str, Path]) -> None:
    module = load(folders["classification"], precision="fp32")
    features, examples = prepared(module, "classification")
    logits = dict(run_features(module.engine, features, "classification", batch_tokens=4096))
    found = predict_features(module.engine, features, examples, "classification")
    assert found.scores is not None
    for row, scores in enumerate(found.scores):
        expected = np.exp(logits[row]) / np.exp(logits[row]).sum()
        np.testing.assert_allclose(scores, expected, atol=1e-6)
        assert found.values[row] == int(np.argmax(logits[row]))
