"""The engine of Slurm: runs are jobs of arrays, which go on in new ones when their time is over."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Any

from adapter_stilts.errors import FailureError, UserError
from adapter_stilts.paths import write_whole
from adapter_stilts.study.engines.engine import DEVICE, INTERRUPTED, Needs, Place, threads_of_a_run
from adapter_stilts.study.engines.ray_worker import versions
from adapter_stilts.study.engines.slurm_job import SlurmJob, ended_file
from adapter_stilts.study.engines.slurm_queue import Cluster, SlurmQueue
from adapter_stilts.study.folder import StudyFolder

ARRAY = 200
"""Jobs of an array at most; clusters allow a thousand or so."""
TICK = 0.5
POLL = {"slurm": 10.0, "local": 0.5}
"""Seconds between looks at the queue."""
GRACE = {"slurm": 60.0, "local": 1.0}
"""Seconds after which what a job wrote before it left the queue is seen here as well."""
FAILED = 1


class SlurmEngine:
    """Jobs of Slurm. They outlast this process: the same command finds them again."""

    def __init__(
        self,
        folder: StudyFolder,
        *,
        needs: Needs | None = None,
        processes: int | None = None,
        hours: float | None = None,
        options: Mapping[str, Any] | None = None,
        cluster: Cluster = "slurm",
    ) -> None:
        """Begins nothing yet.

        Args:
            folder: of the study, which all machines see at the same path.
            needs: what each run is given; else a core.
            processes: jobs at a time at most; else as Slurm has room.
            hours: of a job. A run that takes longer goes on in another.
            options: others of `sbatch`, such as partition, account or qos.
            cluster: "local" does jobs on this machine, for trying it out.

        Raises:
            UserError: there is no Slurm here, or it does not know an option.
        """
        needs = needs or Needs()
        self.capacity = processes or 5 * ARRAY
        self._folder, self._place = folder, Place.of(folder)
        self._queue = SlurmQueue(
            (folder.path / "slurm" / "%j").absolute(),
            needs,
            processes=processes,
            hours=hours,
            options=options or {},
            cluster=cluster,
        )
        cpus = threads_of_a_run(needs.cpus or 1)
        self._environment = self._place.environment | cpus | {DEVICE: needs.device}
        self._cluster = cluster
        self._lock = threading.Lock()
        self._new: dict[str, Future[int]] = {}
        self._jobs: dict[str, tuple[str, Future[int]]] = {}
        self._gone: dict[str, float] = {}
        self._looked = float("-inf")
        self._stops = self._cancelled = 0
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def submit(self, run: str) -> Future[int]:
        """See `Engine`."""
        made: Future[int] = Future()
        made.set_running_or_notify_cancel()
        with self._lock:
            self._new[run] = made
        return made

    def stop(self) -> None:
        """See `Engine`."""
        self._stops += 1
        with suppress(OSError):
            self._folder.stop_file.touch()

    def close(self) -> None:
        """See `Engine`."""
        self._closed.set()
        self._thread.join()

    def _work(self) -> None:
        """Submits what has come, and looks what has ended, until closed and nothing is left."""
        try:
            while not self._closed.is_set() or self._jobs or self._new:
                self._tick()
                time.sleep(TICK)
        except Exception as error:
            for made in [*self._new.values(), *(made for _, made in self._jobs.values())]:
                made.set_exception(UserError(str(error)))
            if not isinstance(error, FailureError):
                raise

    def _tick(self) -> None:
        if self._stops:
            with self._lock:
                for run in list(self._new):
                    self._new.pop(run).set_result(INTERRUPTED)
        elif self._new:
            self._begin(list(self._new))
        if self._cancelled < self._stops and self._jobs:
            self._cancelled += 1
            jobs = [job for job, _ in self._jobs.values()]
            self._queue.cancel(jobs, pending=self._cancelled == 1)
        if self._jobs and time.monotonic() - self._looked >= POLL[self._cluster]:
            self._looked = time.monotonic()
            self._look()

    def _begin(self, runs: list[str]) -> None:
        """Finds the jobs that an earlier process left in the queue, and submits the others."""
        known = {run: self._known_job(run) for run in runs}
        there = self._queue.states() if any(known.values()) else {}
        for run, job in known.items():
            if job in there:
                self._take(run, job)
        waiting, expected = [run for run in runs if run in self._new], versions()
        for begin in range(0, len(waiting), ARRAY):
            chunk = waiting[begin : begin + ARRAY]
            for run in chunk:
                ended_file(self._folder.path, run).unlink(missing_ok=True)
            jobs = [SlurmJob(self._place, run, expected, self._environment) for run in chunk]
            for run, job in zip(chunk, self._queue.submit(jobs), strict=True):
                write_whole(self._job_file(run), json.dumps({"job": job}, allow_nan=False))
                self._take(run, job)

    def _take(self, run: str, job: str) -> None:
        with self._lock:
            self._jobs[run] = job, self._new.pop(run)

    def _look(self) -> None:
        there = {job: "" for job, _ in self._jobs.values()}
        with suppress(FailureError):  # Slurm may be busy: what has ended is in files as well
            there = self._queue.states()
        for run, (job, made) in list(self._jobs.items()):
            said = self._said(run)
            if said is None and job in there:
                self._gone.pop(run, None)
                continue
            since = self._gone.setdefault(run, time.monotonic())
            if said is None and time.monotonic() - since < GRACE[self._cluster]:
                continue
            del self._jobs[run], self._gone[run]
            self._job_file(run).unlink(missing_ok=True)
            if said is None:
                self._log(run, f"its job {job} left the queue without a word")
                made.set_result(INTERRUPTED if self._stops else FAILED)
            elif said["refused"]:
                made.set_exception(UserError(said["refused"]))
            else:
                made.set_result(int(said["code"]))

    def _said(self, run: str) -> dict[str, Any] | None:
        with suppress(OSError, ValueError):
            said = json.loads(ended_file(self._folder.path, run).read_text(encoding="utf-8"))
            return {"code": said["code"], "refused": str(said["refused"])}
        return None

    def _job_file(self, run: str) -> Path:
        return self._folder.path / "state" / f"slurm-{run}.json"

    def _known_job(self, run: str) -> str:
        with suppress(OSError, ValueError, KeyError, TypeError):
            return str(json.loads(self._job_file(run).read_text(encoding="utf-8"))["job"])
        return ""

    def _log(self, run: str, line: str) -> None:
        log = self._folder.log(run)
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("a", encoding="utf-8") as written:
            written.write(f"Slurm: {line}\n")
