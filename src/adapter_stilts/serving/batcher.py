"""Where requests wait, and the one thread that answers them, a slice of each at a time."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from adapter_stilts.errors import FailureError, NotFiniteError, UserError
from adapter_stilts.inference.predictions import default_batch_tokens
from adapter_stilts.safety import first_line, printable
from adapter_stilts.serving.limits import Limits
from adapter_stilts.serving.pool import ModuleError, ModulePool
from adapter_stilts.zoo import together
from adapter_stilts.zoo.module import Module
from adapter_stilts.zoo.together import Prepared

logger = logging.getLogger(__name__)

Answers = list[dict[str, Any]]


class BatcherFullError(Exception):
    """More inputs wait than may."""


class ModuleFailedError(ModuleError):
    """A module cannot answer."""


class TooLargeError(Exception):
    """A request is more work than one request may be."""


@dataclass
class Order:
    """One request: module names and inputs; whoever cancels `answers` is passed over from then on.

    `prepared` are its inputs as the model reads them, `left` the windows of these that nobody has
    computed yet.
    """

    inputs: Sequence[tuple[str, Mapping[str, Any]]]
    answers: Future[Answers] = field(default_factory=Future)
    waits: bool = True
    prepared: list[Prepared] = field(default_factory=list)
    left: deque[tuple[Prepared, int]] = field(default_factory=deque)

    def take(self, tokens: int) -> list[tuple[Prepared, int]]:
        """The next windows, one at least, of about so many tokens."""
        taken: list[tuple[Prepared, int]] = []
        while self.left and (not taken or self.left[0][0].sizes[self.left[0][1]] <= tokens):
            piece = self.left.popleft()
            taken.append(piece)
            tokens -= piece[0].sizes[piece[1]]
        return taken

    def fail(self, error: Exception) -> None:
        """Ends it with an error."""
        if self.answers.set_running_or_notify_cancel():
            self.answers.set_exception(error)


Slice = tuple[Order, list[tuple[Prepared, int]]]


class Batcher:
    """Gathers what arrives within a few milliseconds and answers it together.

    Requests stand in a circle. Each batch takes a slice of every request in turn, until it is full,
    so that a long request delays others by its slices and not by its length. All that touches the
    model and the tokenizer runs in one thread of its own.
    """

    def __init__(
        self,
        pool: ModulePool,
        limits: Limits,
        *,
        gather: float = 0.005,
        batch_tokens: int | None = None,
    ) -> None:
        """Gathers for so many seconds, or until there are as many inputs as one request may have.

        Args:
            batch_tokens: tokens a batch; None: what suits the device.
        """
        self._pool, self._limits, self._gather = pool, limits, gather
        self._batch = batch_tokens or default_batch_tokens(pool.engine.device)
        self._slice = max(1, self._batch // 4)
        self._queue: queue.SimpleQueue[Order | None] = queue.SimpleQueue()
        self._circle: deque[Order] = deque()
        self._open = True
        self._lock = threading.Lock()
        self._waiting = 0
        self._thread = threading.Thread(target=self._work, name="batcher")

    @property
    def waiting(self) -> int:
        """Inputs of requests that nobody has looked at yet."""
        return self._waiting

    def start(self) -> None:
        """Begins to answer."""
        self._thread.start()

    def stop(self) -> None:
        """Answers what waits, then ends."""
        self._queue.put(None)
        self._thread.join()

    def submit(self, order: Order) -> None:
        """Puts a request in the queue, unless too many inputs wait (BatcherFullError)."""
        with self._lock:
            most = self._limits.max_waiting
            if self._waiting and self._waiting + len(order.inputs) > most:
                raise BatcherFullError(
                    f"{self._waiting} inputs wait already and {most} may: try again"
                )
            self._waiting += len(order.inputs)
        self._queue.put(order)

    def _work(self) -> None:
        while self._receive():
            slices = self._next_batch()
            if slices:
                self._run(slices)

    def _receive(self) -> bool:
        """Takes in what has come; waits for it where there is nothing to do. False at the end."""
        if not self._circle:
            if not self._open:
                return False
            self._take_in(self._queue.get())
        most = self._limits.max_items
        until = time.monotonic() + (self._gather if len(self._circle) == 1 else 0.0)
        while self._open:
            gathering = sum(len(each.inputs) for each in self._circle) < most
            wait = until - time.monotonic() if gathering else 0.0
            try:
                self._take_in(self._queue.get(timeout=wait) if wait > 0 else self._queue.get(False))
            except queue.Empty:
                break
        return True

    def _take_in(self, order: Order | None) -> None:
        if order is None:
            self._open = False
        else:
            self._circle.append(order)

    def _next_batch(self) -> list[Slice]:
        """A slice of each request in turn; those that are gone or wrong leave the circle."""
        slices: list[Slice] = []
        room = self._batch
        for _ in range(len(self._circle)):
            if room <= 0:
                break
            order = self._circle.popleft()
            if not self._is_ready(order):
                continue
            pieces = order.take(min(self._slice, room) if slices else self._slice)
            room -= sum(each.sizes[number] for each, number in pieces)
            slices.append((order, pieces))
            if order.left:
                self._circle.append(order)
        return slices

    def _is_ready(self, order: Order) -> bool:
        """Looks at a request whose turn it is: whether there is work to do for it."""
        if order.waits:
            order.waits = False
            with self._lock:
                self._waiting -= len(order.inputs)
        if order.answers.cancelled():
            return False
        if order.prepared:
            return True
        try:
            self._prepare(order)
        except Exception as error:
            if not isinstance(error, ModuleError | TooLargeError):
                logger.exception("a request could not be read")
            order.fail(error)
            return False
        return True

    def _prepare(self, order: Order) -> None:
        inputs = [(self._module(name), row) for name, row in order.inputs]
        tokens, windows = self._limits.max_tokens, self._limits.max_windows
        if together.exceeds(inputs, tokens):
            raise TooLargeError(f"the request has more than {tokens:,} tokens, which is the limit")
        order.prepared = together.prepare(inputs)
        order.left = deque(
            (each, number) for each in order.prepared for number in range(len(each.sizes))
        )
        if len(order.left) > windows:
            raise TooLargeError(
                f"the request makes {len(order.left):,} windows, and {windows:,} may be"
            )

    def _module(self, name: str) -> Module:
        try:
            return self._pool.module(name)
        except (UserError, FailureError) as error:
            logger.warning("module %s cannot be loaded: %s", printable(name), first_line(error))
            raise ModuleFailedError(name, str(error)) from error

    def _run(self, slices: Sequence[Slice]) -> None:
        try:
            together.run(
                [piece for _, pieces in slices for piece in pieces], batch_tokens=self._batch
            )
            done = [order for order, _ in slices if not order.left]
            answers = together.finish([each for order in done for each in order.prepared])
        except Exception as error:
            if len(slices) > 1:  # one may spoil it for the others
                for each in slices:
                    self._run([each])
                return
            order = slices[0][0]
            order.left.clear()
            order.fail(self._blame(error))
            self._circle = deque(each for each in self._circle if each is not order)
            return
        first = 0
        for order in done:
            count = len(order.prepared)
            if order.answers.set_running_or_notify_cancel():
                order.answers.set_result(answers[first : first + count])
            first += count

    def _blame(self, error: Exception) -> Exception:
        """The error, with the module at fault where it is known; it is logged."""
        inside = error.module if isinstance(error, NotFiniteError) else ""
        name = self._pool.offer_name(inside) if inside else None
        if name is None:
            logger.error("a request failed", exc_info=error)
            return error
        why = str(error).replace(f"module '{inside}'", f"module '{name}'", 1)
        logger.warning("%s", printable(why))
        return ModuleFailedError(name, why)
