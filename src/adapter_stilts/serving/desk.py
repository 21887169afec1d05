"""Where inputs of all requests wait, and the one thread that answers them in batches."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from adapter_stilts.errors import UserError
from adapter_stilts.serving.shelf import Shelf, ShelfFullError
from adapter_stilts.zoo import together

logger = logging.getLogger(__name__)

Answers = list[dict[str, Any]]


class DeskFullError(Exception):
    """More inputs wait than may."""


@dataclass
class Order:
    """One request: module names and inputs; whoever cancels `answers` in time is passed over."""

    inputs: Sequence[tuple[str, Mapping[str, Any]]]
    answers: Future[Answers] = field(default_factory=Future)


class Desk:
    """Gathers what arrives within a few milliseconds and answers it together.

    Everything that touches the model runs in one thread of its own.
    """

    def __init__(
        self, shelf: Shelf, *, max_waiting: int, gather: float = 0.005, most: int = 64
    ) -> None:
        """Of `most` inputs at a time; `gather` is in seconds."""
        self._shelf = shelf
        self._max_waiting, self._gather, self._most = max_waiting, gather, most
        self._queue: queue.SimpleQueue[Order | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._waiting = 0
        self._thread = threading.Thread(target=self._work, name="desk")

    @property
    def waiting(self) -> int:
        """Inputs that wait for their turn."""
        return self._waiting

    def start(self) -> None:
        """Begins to answer."""
        self._thread.start()

    def stop(self) -> None:
        """Answers what waits, then ends."""
        self._queue.put(None)
        self._thread.join()

    def submit(self, order: Order) -> None:
        """Puts a request in the queue.

        Raises:
            DeskFullError: too many inputs wait already.
        """
        with self._lock:
            if self._waiting and self._waiting + len(order.inputs) > self._max_waiting:
                raise DeskFullError(
                    f"{self._waiting} inputs wait already and {self._max_waiting} may: try again"
                )
            self._waiting += len(order.inputs)
        self._queue.put(order)

    def _work(self) -> None:
        while (orders := self._next()) is not None:
            live = [each for each in orders if each.answers.set_running_or_notify_cancel()]
            if live:
                self._answer(live)

    def _next(self) -> list[Order] | None:
        """What has come within the gathering time after the first; None at the end."""
        order = self._queue.get()
        if order is None:
            return None
        orders, count = [order], len(order.inputs)
        until = time.monotonic() + self._gather
        while count < self._most:
            try:
                more = self._queue.get(timeout=max(0.0, until - time.monotonic()))
            except queue.Empty:
                break
            if more is None:
                self._queue.put(None)
                break
            orders.append(more)
            count += len(more.inputs)
        with self._lock:
            self._waiting -= count
        return orders

    def _answer(self, orders: Sequence[Order]) -> None:
        ready: list[tuple[Order, list[Any]]] = []
        for order in orders:
            try:
                ready.append((order, [(self._shelf.module(n), row) for n, row in order.inputs]))
            except (UserError, ShelfFullError) as error:
                order.answers.set_exception(error)
            except Exception as error:
                logger.exception("a module could not be loaded")
                order.answers.set_exception(error)
        try:
            found = together.predict_together([pair for _, pairs in ready for pair in pairs])
        except Exception as error:
            if len(ready) > 1:  # one may spoil it for the others
                for order, _ in ready:
                    self._answer([order])
                return
            logger.exception("a request failed")
            for order, _ in ready:
                order.answers.set_exception(error)
            return
        first = 0
        for order, pairs in ready:
            order.answers.set_result(found[first : first + len(pairs)])
            first += len(pairs)
