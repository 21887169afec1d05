"""Requests are answered slice by slice, in turn; what nobody waits for is not computed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from adapter_stilts.serving.batcher import Batcher, Order, TooLargeError
from adapter_stilts.serving.limits import Limits
from adapter_stilts.serving.pool import ModulePool
from adapter_stilts.zoo import together
from together_kit import predict_together

ROW = {"question": "Who?", "context": "Ann went to Rome."}
LONG = {"question": "Who?", "context": "Ann went to Rome. " * 300}


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[list[str]]]:
    """The contexts' first words of what was computed together, batch by batch."""
    seen: list[list[str]] = []
    run = together.run

    def watched(pieces: Any, **options: Any) -> None:
        seen.append([each.row["question"] for each, _ in pieces])
        run(pieces, **options)

    monkeypatch.setattr(together, "run", watched)
    yield seen


def ask(question: str, **more: str) -> Order:
    return Order([("squad", {**ROW, "question": question, **more})])


def answered(batcher: Batcher, orders: list[Order]) -> None:
    for order in orders:
        batcher.submit(order)
    batcher.start()
    batcher.stop()


def test_cancelled_orders_are_passed_over(pool: ModulePool, batches: list[list[str]]) -> None:
    batcher = Batcher(pool, Limits(max_waiting=10))
    orders = [ask(text) for text in ("a", "b", "c")]
    for order in orders:
        batcher.submit(order)
    assert batcher.waiting == 3
    assert orders[1].answers.cancel()
    batcher.start()
    batcher.stop()
    assert batches == [["a", "c"]]
    assert all(orders[number].answers.result() for number in (0, 2))
    assert batcher.waiting == 0


def test_others_are_served_between_slices(pool: ModulePool, batches: list[list[str]]) -> None:
    batcher = Batcher(pool, Limits(max_waiting=99), batch_tokens=256)
    big = ask("big", context=LONG["context"])
    small = [ask(f"small {number}") for number in range(9)]
    done: list[str] = []
    for order in (big, *small):
        name = str(order.inputs[0][1]["question"])
        order.answers.add_done_callback(lambda _, name=name: done.append(name))  # type: ignore[misc]
    answered(batcher, [big, *small])
    assert done[-1] == "big" and len(done) == 10
    assert batches[0].count("big") == 1 and len(set(batches[0])) > 1
    assert sum(each.count("big") for each in batches) == len(big.prepared[0].sizes) > 10
    # The answer is that of the whole text.
    module = pool.module("squad")
    whole = predict_together([(module, big.inputs[0][1])])
    assert big.answers.result()[0]["start"] == whole[0]["start"]
    assert big.answers.result()[0]["score"] == pytest.approx(whole[0]["score"], abs=1e-3)


def test_work_is_dropped_between_slices(pool: ModulePool, monkeypatch: pytest.MonkeyPatch) -> None:
    big = ask("big", context=LONG["context"])
    run, count = together.run, []

    def leaving(pieces: Any, **options: Any) -> None:
        run(pieces, **options)
        count.append(len(pieces))
        if len(count) == 2:
            assert big.answers.cancel()

    monkeypatch.setattr(together, "run", leaving)
    answered(Batcher(pool, Limits(max_waiting=9), batch_tokens=256), [big])
    assert len(count) == 2 and sum(count) < len(big.prepared[0].sizes)


@pytest.mark.parametrize(
    ("limits", "words"), [({"max_tokens": 50}, "50 tokens"), ({"max_windows": 2}, "windows")]
)
def test_more_work_than_one_request_may_be(
    pool: ModulePool, batches: list[list[str]], limits: dict[str, int], words: str
) -> None:
    big, small = ask("big", context=LONG["context"]), ask("small")
    answered(Batcher(pool, Limits(max_waiting=9, **limits)), [big, small])
    with pytest.raises(TooLargeError, match=words):
        big.answers.result()
    assert small.answers.result()
    assert batches == [["small"]]


def test_words_without_tokens_count(pool: ModulePool, batches: list[list[str]]) -> None:
    for word in ("", " ", "\u200b"):
        many = Order([("pos", {"words": [word] * 1000})])
        answered(Batcher(pool, Limits(max_waiting=9, max_tokens=900)), [many])
        with pytest.raises(TooLargeError, match="900 tokens"):
            many.answers.result()
    assert batches == []


def test_one_that_fails_in_a_later_slice(pool: ModulePool, monkeypatch: pytest.MonkeyPatch) -> None:
    big, small = ask("big", context=LONG["context"]), ask("small", context=LONG["context"])
    run = together.run

    def failing(pieces: Any, **options: Any) -> None:
        if any(each.row["question"] == "big" and number > 3 for each, number in pieces):
            raise RuntimeError("poison")
        run(pieces, **options)

    monkeypatch.setattr(together, "run", failing)
    answered(Batcher(pool, Limits(max_waiting=9), batch_tokens=256), [big, small])
    with pytest.raises(RuntimeError, match="poison"):
        big.answers.result()
    assert small.answers.result()
