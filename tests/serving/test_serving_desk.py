"""What waits for a client that has left is not computed."""

from __future__ import annotations

from typing import Any

import pytest

from adapter_stilts.serving.desk import Desk, Order
from adapter_stilts.serving.shelf import Shelf
from adapter_stilts.zoo import together

ROW = {"question": "Who?", "context": "Ann went to Rome."}


def test_cancelled_orders_are_passed_over(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    computed: list[Any] = []
    predict = together.predict_together

    def seen(inputs: Any) -> Any:
        computed.append([row["question"] for _, row in inputs])
        return predict(inputs)

    monkeypatch.setattr(together, "predict_together", seen)
    desk = Desk(shelf, max_waiting=10)
    orders = [Order([("squad", {**ROW, "question": text})]) for text in ("a", "b", "c")]
    for order in orders:
        desk.submit(order)
    assert desk.waiting == 3
    assert orders[1].answers.cancel()
    desk.start()
    desk.stop()
    assert computed == [["a", "c"]]
    assert all(orders[number].answers.result() for number in (0, 2))
    assert desk.waiting == 0
