"""Where runs are done: engines, and the one of processes on this machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Literal, Protocol

from adapter_stilts.study.folder import StudyFolder
from adapter_stilts.study.work import LIFELINE

Device = Literal["auto", "cpu", "cuda"]
INTERRUPTED = 130


class Engine(Protocol):
    """Does runs; their state is in the study's folder alone."""

    capacity: int
    """How many runs are worth submitting at a time."""

    def submit(self, run: str) -> Future[int]:
        """Begins a run by its id; the future has the exit code of `study.work`."""

    def stop(self) -> None:
        """Asks all runs to end after writing a checkpoint."""

    def close(self) -> None:
        """Waits for all, and leaves nothing behind."""


class LocalEngine:
    """Processes on this machine. They end when this one does, however it ends."""

    def __init__(self, folder: StudyFolder, *, processes: int = 1, device: Device = "auto") -> None:
        self.capacity = processes
        self._folder = folder
        self._pool = ThreadPoolExecutor(processes)
        self._alive: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        self._stopped = False
        self._environment = {**os.environ, LIFELINE: "1"}
        if device == "cpu":
            self._environment["CUDA_VISIBLE_DEVICES"] = ""
        threads = max(1, (os.cpu_count() or 1) // processes)
        self._environment.setdefault("OMP_NUM_THREADS", str(threads))

    def submit(self, run: str) -> Future[int]:
        """See `Engine`."""
        return self._pool.submit(self._do, run)

    def stop(self) -> None:
        """See `Engine`."""
        with self._lock:
            self._stopped = True
            for process in self._alive:
                process.send_signal(signal.SIGINT)

    def close(self) -> None:
        """See `Engine`."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _do(self, run: str) -> int:
        log = self._folder.log(run)
        log.parent.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "adapter_stilts.study.work"]
        with log.open("ab") as printed:
            with self._lock:
                if self._stopped:
                    return INTERRUPTED
                process = subprocess.Popen(
                    [*command, str(self._folder.path), run],
                    stdin=subprocess.PIPE,
                    stdout=printed,
                    stderr=subprocess.STDOUT,
                    env=self._environment,
                    # Ctrl-C in the terminal reaches this process, which tells its own.
                    start_new_session=True,
                )
                self._alive.add(process)
            try:
                return process.wait()
            finally:
                with self._lock:
                    self._alive.discard(process)
                if process.stdin:
                    process.stdin.close()
