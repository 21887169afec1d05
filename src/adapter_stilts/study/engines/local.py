"""The engine of processes on this machine."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from queue import SimpleQueue

from adapter_stilts.errors import UserError
from adapter_stilts.study.engines.engine import (
    DEVICE,
    Device,
    Place,
    available_cpus,
    threads_of_a_run,
    visible_gpus,
)
from adapter_stilts.study.engines.process import ForkServer
from adapter_stilts.study.folder import StudyFolder


class LocalEngine:
    """Processes on this machine, on its GPUs side by side. They end when this one does."""

    def __init__(
        self,
        folder: StudyFolder,
        *,
        processes: int = 1,
        device: Device = "auto",
        cpus: int | None = None,
    ) -> None:
        """Begins nothing yet.

        Args:
            folder: of the study.
            processes: how many runs are done at a time.
            device: "cuda" never falls back to the CPU.
            cpus: threads of a run; by default, the runs share the cores.

        Raises:
            UserError: the device is "cuda", and there is no GPU.
        """
        self.capacity = processes
        self._folder, place = folder, Place.of(folder)
        self._pool = ThreadPoolExecutor(processes)
        self._stops = 0
        self._gpus = _Gpus([] if device == "cpu" else visible_gpus())
        if device == "cuda" and not self._gpus.names:
            raise UserError("device cuda: no GPU is here that torch can use")
        threads = threads_of_a_run(cpus or max(1, available_cpus() // processes))
        environment = {**place.environment, DEVICE: device}
        # What the user has set holds, unless it is said for the runs.
        environment |= {k: v for k, v in threads.items() if cpus or k not in os.environ}
        self._servers: SimpleQueue[ForkServer] = SimpleQueue()
        for _ in range(processes):
            self._servers.put(ForkServer(place, environment))

    def submit(self, run: str) -> Future[int]:
        """See `Engine`."""
        return self._pool.submit(self._do, run)

    def stop(self) -> None:
        """See `Engine`."""
        self._stops += 1

    def close(self) -> None:
        """See `Engine`."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        while not self._servers.empty():
            self._servers.get().close()

    def _do(self, run: str) -> int:
        server = self._servers.get()
        try:
            with self._gpus.least_used() as gpu:
                environment = {"CUDA_VISIBLE_DEVICES": gpu}
                return server.do(self._folder, run, environment, lambda: self._stops)
        finally:
            self._servers.put(server)


class _Gpus:
    """Spreads runs evenly over GPUs."""

    def __init__(self, names: list[str]) -> None:
        self.names = names
        self._runs = Counter(dict.fromkeys(names, 0))
        self._lock = threading.Lock()

    @contextmanager
    def least_used(self) -> Iterator[str]:
        """The GPU with the fewest runs, which has one more inside the block; "" is none."""
        with self._lock:
            name = min(self.names, key=self._runs.__getitem__, default="")
            self._runs[name] += 1
        try:
            yield name
        finally:
            with self._lock:
                self._runs[name] -= 1
