"""Runs in processes of their own, as every engine does them, and the engine of this machine.

Run as a module, with a study's folder, it does the runs that standard input names, each in a fork.
To import all that a training needs takes longer than a short training on a GPU: it is done once,
before the forks.
"""

from __future__ import annotations

import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from queue import SimpleQueue
from typing import IO, Any

from adapter_stilts.errors import UserError
from adapter_stilts.study.engine import (
    DEVICE,
    INTERRUPTED,
    EngineOptions,
    Place,
    available_cpus,
    threads_of_a_run,
    visible_gpus,
)
from adapter_stilts.study.folder import StudyFolder

POLL = 0.2


def do_run(
    folder: StudyFolder,
    run: str,
    place: Place,
    environment: Mapping[str, str],
    stops: Callable[[], int],
) -> int:
    """Does one run; see `ForkServer.do`."""
    with closing(ForkServer(place, environment)) as server:
        return server.do(folder, run, {}, stops)


class ForkServer:
    """Does runs one after the other, each in a process of its own.

    It and its run end when this process does, however that ends. It begins with its first run.
    """

    def __init__(self, place: Place, environment: Mapping[str, str]) -> None:
        """Begins nothing yet; it will have the `environment` besides this process's."""
        self._place, self._environment = place, environment
        self._process: subprocess.Popen[bytes] | None = None
        self._said: IO[bytes] | None = None

    def do(
        self,
        folder: StudyFolder,
        run: str,
        environment: Mapping[str, str],
        stops: Callable[[], int],
    ) -> int:
        """Does a run; its exit code, which is negative where a signal has ended it.

        The `environment` is of this run alone: PyTorch reads it when it first looks for a GPU.
        `stops` says how often the run was asked to end. The first time it writes a checkpoint
        before; the second time it ends at once.
        """
        if stops():
            return INTERRUPTED
        log = folder.log(run)
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as printed:
            now = datetime.now(UTC).isoformat(timespec="seconds")
            printed.write(f"begun on {socket.gethostname()} at {now}\n".encode())
        asked = {"run": run, "log": str(log.absolute()), "environment": dict(environment)}
        process = self._begun()
        assert process.stdin
        with suppress(BrokenPipeError):  # it has ended, which is seen next
            process.stdin.write(f"{json.dumps(asked, allow_nan=False)}\n".encode())
            process.stdin.flush()
        code = self._watch(process, stops)
        return self._lost(process, log) if code is None else code

    def close(self) -> None:
        """Ends it, with its run if there is one."""
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin and process.stdout and self._said
        with suppress(BrokenPipeError):  # it has ended before it read what it was asked
            process.stdin.close()
        process.wait()
        process.stdout.close()
        self._said.close()

    def _begun(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is None:
            return self._process
        self.close()
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 (closed with it)
        # `-P`: a file such as random.py where the user stands is not imported instead of the
        # library.
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "adapter_stilts.study.engine_local", self._place.study],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            cwd=self._place.directory,
            env={**os.environ, **self._environment},
            # Ctrl-C in the terminal reaches the study's process, which tells its own.
            start_new_session=True,
        )
        return self._process

    def _watch(self, process: subprocess.Popen[bytes], stops: Callable[[], int]) -> int | None:
        """What the run ended with; None where the server has ended before it said so."""
        assert process.stdout
        run, told = 0, 0
        while True:
            if not run or told >= stops():
                if not select.select([process.stdout], [], [], POLL)[0]:
                    continue
                line = process.stdout.readline()
                if not line:
                    return None
                if run:
                    return int(line)
                run = int(line)
            else:
                with suppress(ProcessLookupError):
                    os.kill(run, signal.SIGINT)
                told += 1

    def _lost(self, process: subprocess.Popen[bytes], log: Path) -> int:
        """Ends what is left of a server that has ended, and says in the log what it has said."""
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        code = process.wait()
        assert self._said
        self._said.seek(0)
        with log.open("ab") as printed:
            printed.write(self._said.read())
        return code or 1


class LocalEngine:
    """Processes on this machine, on its GPUs side by side. They end when this one does."""

    def __init__(self, folder: StudyFolder, options: EngineOptions) -> None:
        """Begins nothing yet. By default one run is done at a time, and runs share the cores.

        The device "cuda" is refused where there is no GPU.
        """
        self.capacity = processes = options.max_parallel or 1
        self._folder, place = folder, Place.of(folder)
        self._pool = ThreadPoolExecutor(processes)
        self._stops = 0
        self._gpus = _Gpus([] if options.device == "cpu" else visible_gpus())
        if options.device == "cuda" and not self._gpus.names:
            raise UserError("device cuda: no GPU is here that torch can use")
        threads = threads_of_a_run(options.cpus or max(1, available_cpus() // processes))
        environment = {**place.environment, DEVICE: options.device}
        # What the user has set holds, unless it is said for the runs.
        environment |= {k: v for k, v in threads.items() if options.cpus or k not in os.environ}
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


def main() -> None:
    """Does runs in forks: a line of standard input has the `run`, its `log`, its `environment`.

    Of each it says the number of its process when it begins, and its exit code at its end.
    """
    # The signal is for the runs alone; one that comes before a run can handle it waits.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    # Slurm sends these to every process of a job. Only the job's own knows what they mean: it
    # asks the run for a checkpoint, and this process ends when its input does.
    for each in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)
    folder = StudyFolder(Path(sys.argv[1]))
    _prepare()
    for line in sys.stdin.buffer:
        asked = json.loads(line)
        run = os.fork()
        if run == 0:
            os._exit(_run(folder, asked))
        _say(run)
        _, status = os.waitpid(run, 0)
        _say(os.waitstatus_to_exitcode(status))


def _say(number: int) -> None:
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


def _prepare() -> None:
    """Imports what trainings and evaluations need, and does not look for a GPU.

    A process that has looked for one cannot be forked. To look for garbage meanwhile takes a sixth
    of the time; and what is left out of later looks stays one memory with that of all forks.
    """
    gc.disable()
    import adapter_stilts.evaluation.run
    import adapter_stilts.study.work
    import adapter_stilts.training.execute
    import adapter_stilts.training.run
    import adapter_stilts.training.target  # noqa: F401

    gc.freeze()
    gc.enable()


def _run(folder: StudyFolder, asked: dict[str, Any]) -> int:
    with Path(asked["log"]).open("ab") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    os.environ.update(asked["environment"])
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # a training writes a checkpoint when it comes
    threading.Thread(target=_end_with_engine, daemon=True).start()
    from adapter_stilts.study.work import finish

    code = finish(folder, asked["run"])
    sys.stdout.flush()
    sys.stderr.flush()
    return code


def _end_with_engine() -> None:
    """Ends this process when the engine is gone, however that ended."""
    with suppress(OSError):
        while os.read(0, 1):
            pass
    os._exit(1)


if __name__ == "__main__":
    main()
