"""Batches by token budget: every row, within the budget, the same again for the same seed."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from adapter_stilts.heads.base import padded_length
from adapter_stilts.training.batching import (
    BatchPlan,
    count_batches,
    epoch_batches,
    planned_batches,
)

LENGTHS = np.random.default_rng(0).integers(4, 120, size=500)


def plan(**changes: Any) -> list[list[int]]:
    settings: dict[str, Any] = {"batch_tokens": 512, "batch_examples": 16, "epochs": 1, "seed": 0}
    share = {name: changes.pop(name) for name in ("rank", "world") if name in changes}
    total = changes.pop("total", None)
    settings |= changes
    total = count_batches(LENGTHS, **settings) if total is None else total
    del settings["epochs"]
    batches = planned_batches(LENGTHS, **settings, total=total)
    return [batch.rows for batch in BatchPlan(batches, **share)]


def rows(batches: list[list[int]]) -> list[int]:
    return [row for batch in batches for row in batch]


@pytest.mark.parametrize("pool", [7, 64, 4096])
def test_every_row_comes_once_an_epoch(pool: int) -> None:
    batches = epoch_batches(
        LENGTHS, batch_tokens=512, batch_examples=16, seed=3, epoch=1, pool=pool
    )
    assert sorted(rows(batches)) == list(range(500))


@pytest.mark.parametrize(("tokens", "examples"), [(512, 16), (512, 3), (128, 32), (10_000, 8)])
def test_no_batch_exceeds_the_budget(tokens: int, examples: int) -> None:
    batches = plan(batch_tokens=tokens, batch_examples=examples)
    for batch in batches:
        assert len(batch) <= examples
        assert len(batch) * max(padded_length(int(LENGTHS[row])) for row in batch) <= tokens
    # and it is used: on the whole, two batches in a row would not fit in one
    assert len(batches) < 2 * max(sum(map(padded_length, LENGTHS)) / tokens, 500 / examples)


def test_a_row_longer_than_the_budget_is_a_batch_of_its_own() -> None:
    lengths = np.array([10, 300, 10, 10])
    batches = planned_batches(lengths, batch_tokens=64, batch_examples=8, total=2, seed=0)
    made = [batch.rows for batch in batches]
    assert [1] in made
    assert sorted(rows(made)) == [0, 1, 2, 3]


def test_rows_of_a_batch_are_of_similar_length() -> None:
    def padding(batches: list[list[int]]) -> float:
        padded = sum(len(batch) * max(LENGTHS[row] for row in batch) for batch in batches)
        return float(padded / LENGTHS.sum() - 1)

    shuffled = np.random.default_rng(0).permutation(500).reshape(-1, 10).tolist()
    assert padding(plan(batch_examples=10)) < 0.1 < padding(shuffled)


@pytest.mark.parametrize("total", [1, 7, 40, 200])
def test_a_given_number_of_batches_takes_as_many_passes_as_it_needs(total: int) -> None:
    batches = plan(total=total)
    assert len(batches) == total
    once = len(plan())
    whole = total // once
    counts = np.bincount(rows(batches), minlength=500)
    assert set(counts) <= {whole, whole + 1}
    assert batches[:once] == plan()[:total]


def test_the_order_is_that_of_the_seed() -> None:
    assert plan(seed=1) == plan(seed=1)
    assert plan(seed=1) != plan(seed=2)


def test_every_epoch_has_an_order_of_its_own_and_is_no_run_of_falling_lengths() -> None:
    first, second = (
        epoch_batches(LENGTHS, batch_tokens=512, batch_examples=16, seed=0, epoch=epoch)
        for epoch in (0, 1)
    )
    assert sorted(map(sorted, first)) != sorted(map(sorted, second))
    assert plan(epochs=2) == first + second
    longest = [max(LENGTHS[row] for row in batch) for batch in first]
    assert longest != sorted(longest, reverse=True)


def test_a_fraction_of_an_epoch_is_that_part_of_its_batches() -> None:
    whole = plan(epochs=2)
    one = len(plan(epochs=1))
    assert plan(epochs=0.5) == whole[: round(one / 2)]
    assert plan(epochs=1.25) == whole[: one + round((len(whole) - one) / 4)]
    assert len(plan(epochs=1e-9)) == 1


@pytest.mark.parametrize("world", [2, 3, 5])
def test_processes_share_the_batches_without_overlap(world: int) -> None:
    alone = plan(epochs=2)
    shares = [plan(epochs=2, rank=rank, world=world) for rank in range(world)]
    steps = len(alone) // world
    assert [len(share) for share in shares] == [steps] * world
    # step by step, the processes together take what one process would take in `world` steps
    together = [batch for step in zip(*shares, strict=True) for batch in step]
    assert together == alone[: steps * world]


def test_more_processes_than_batches_still_make_a_step() -> None:
    lengths: npt.NDArray[np.int64] = np.array([5, 6])
    batches = planned_batches(lengths, batch_tokens=64, batch_examples=8, total=2, seed=0)
    for rank in range(4):
        (made,) = BatchPlan(batches, rank=rank, world=4)
        assert sorted(made.rows) == [0, 1]
