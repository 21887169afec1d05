"""Padding, and batches by a budget of tokens."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from adapter_stilts.features import collate, token_budget_batches
from adapter_stilts.heads.base import padded_length
from adapter_stilts.heads.tagging import IGNORED


def test_padded_length() -> None:
    assert [padded_length(n) for n in (1, 8, 9, 16)] == [8, 8, 16, 16]


def test_sequences_are_padded_and_masked() -> None:
    rows = [{"input_ids": [0, 5, 2], "labels": 1}, {"input_ids": [*range(9)], "labels": 0}]
    batch = collate(rows, pad_id=1)
    assert set(batch) == {"input_ids", "attention_mask", "labels"}
    assert batch["input_ids"].shape == (2, 16)
    assert batch["input_ids"][0].tolist() == [0, 5, 2] + [1] * 13
    assert batch["attention_mask"].tolist() == [[1] * 3 + [0] * 13, [1] * 9 + [0] * 7]
    assert batch["labels"].tolist() == [1, 0]
    assert {part.dtype for part in batch.values()} == {torch.int64}


def test_options_are_padded_alike() -> None:
    rows = [{"input_ids": [[0, 2], [0, 5, 2]]}, {"input_ids": [[0, 6, 7, 2], [0, 2]]}]
    batch = collate(rows, pad_id=1)
    assert batch["input_ids"].shape == batch["attention_mask"].shape == (2, 2, 8)
    assert batch["input_ids"][1, 0].tolist() == [0, 6, 7, 2, 1, 1, 1, 1]
    assert batch["attention_mask"].sum(-1).tolist() == [[2, 3], [4, 2]]


def test_tags_and_positions_are_labels_too() -> None:
    tags = collate(
        [
            {"input_ids": [0, 5, 2], "labels": [IGNORED, 4, IGNORED]},
            {"input_ids": [0], "labels": [7]},
        ],
        pad_id=1,
    )
    assert tags["labels"].tolist() == [[IGNORED, 4] + [IGNORED] * 6, [7] + [IGNORED] * 7]
    spans = collate(
        [{"input_ids": [0, 5], "start_positions": 1, "end_positions": 1, "offsets": [0, 1]}],
        pad_id=1,
    )
    assert set(spans) == {"input_ids", "attention_mask", "start_positions", "end_positions"}
    assert spans["start_positions"].tolist() == [1]


def test_batches_by_hand() -> None:
    lengths = np.array([8, 3, 9, 16, 40, 1])
    found = token_budget_batches(range(6), lengths, batch_tokens=32, batch_examples=9)
    # 8+8 fit; 2 needs 16: 3 x 16 > 32, so it begins anew; 40 alone is over the budget
    assert found == [[0, 1], [2, 3], [4], [5]]
    assert token_budget_batches([], lengths, batch_tokens=32, batch_examples=9) == []


@settings(deadline=None)
@given(
    lengths=st.lists(st.integers(1, 100), min_size=1, max_size=60),
    batch_tokens=st.integers(1, 400),
    batch_examples=st.integers(1, 10),
    seed=st.integers(0, 9),
)
@example([1, 100, 1], 100, 10, 0)
def test_budget_is_kept_and_every_row_comes_once_in_order(
    lengths: list[int], batch_tokens: int, batch_examples: int, seed: int
) -> None:
    order = np.random.default_rng(seed).permutation(len(lengths))
    batches = token_budget_batches(
        order, np.array(lengths), batch_tokens=batch_tokens, batch_examples=batch_examples
    )
    assert [row for batch in batches for row in batch] == order.tolist()

    def cost(rows: list[int]) -> int:
        return len(rows) * max(padded_length(lengths[row]) for row in rows)

    for batch in batches:
        assert 1 <= len(batch) <= batch_examples
        assert cost(batch) <= batch_tokens or len(batch) == 1
    # and none is smaller than it must be: the next row would not have fitted
    for batch, after in pairwise(batches):
        more = [*batch, after[0]]
        assert len(more) > batch_examples or cost(more) > batch_tokens
