"""Mixing: shares as the papers give them, and batches in these shares, none of them lost."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

from adapter_stilts.training.batching import (
    CAP,
    BatchSource,
    PlannedBatch,
    language_shares,
    mixed_batches,
    quotas,
    task_shares,
)

LENGTHS = [np.random.default_rng(k).integers(4, 60, size=n) for k, n in enumerate((300, 40, 90))]


def mix(seed: int = 0, total: int = 60) -> list[PlannedBatch]:
    shares = np.array([0.5, 0.3, 0.2])
    return mixed_batches(LENGTHS, shares, total, batch_tokens=256, batch_examples=8, seed=seed)


def test_tasks_are_mixed_by_the_root_of_their_capped_size() -> None:
    found = task_shares([100, 400, 10**6], temperature=2)
    expected = np.array([10, 20, np.sqrt(2**17)])
    assert found == pytest.approx(expected / expected.sum())
    assert task_shares([CAP, 10 * CAP], temperature=2) == pytest.approx([0.5, 0.5])
    assert task_shares([1, 3], temperature=1) == pytest.approx([0.25, 0.75])
    assert task_shares([1, 3], temperature=1e6) == pytest.approx([0.5, 0.5], abs=1e-5)
    assert language_shares([1, 9]) == pytest.approx([0.25, 0.75])


def test_quotas_add_up_and_leave_nobody_out() -> None:
    assert quotas(np.array([0.5, 0.3, 0.2]), 10).tolist() == [5, 3, 2]
    assert quotas(np.array([0.26, 0.37, 0.37]), 10).tolist() == [2, 4, 4]
    assert quotas(np.array([0.98, 0.01, 0.01]), 10).tolist() == [10, 1, 1]


def test_every_source_gets_its_share_in_random_order() -> None:
    sources = [batch.source for batch in mix()]
    assert np.bincount(sources).tolist() == [30, 18, 12]
    changes = sum(a != b for a, b in pairwise(sources))
    assert changes > 20
    assert mix(seed=0) == mix(seed=0) != mix(seed=1)


def test_a_source_is_gone_through_pass_after_pass() -> None:
    batches = [batch for batch in mix() if batch.source == 1]
    epochs = [batch.epoch for batch in batches]
    assert epochs == sorted(epochs) and epochs[-1] >= 1
    for epoch in range(epochs[-1]):  # the last one may be cut short
        rows = [row for batch in batches if batch.epoch == epoch for row in batch.rows]
        assert sorted(rows) == list(range(40))


@pytest.mark.parametrize(
    ("classes", "guess"),
    [
        (3, torch.log(torch.tensor(3.0))),
        (0, (torch.log(torch.tensor(4.0)) + torch.log(torch.tensor(2.0))) / 2),
    ],
)
def test_with_normalised_losses_a_guess_costs_one(classes: int, guess: torch.Tensor) -> None:
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])
    source = BatchSource("head", None, 1, classes)
    assert source.scale(guess, mask).item() == pytest.approx(1.0)
    assert BatchSource("head", None, 1).scale(guess, mask) is guess
