"""The engine of Slurm: runs are jobs of arrays, which go on in new ones when their time is over."""

from __future__ import annotations

import json
import logging
import shutil
import subprocess
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from adapter_stilts.errors import FailureError, UserError
from adapter_stilts.paths import write_whole
from adapter_stilts.study.engine import (
    DEVICE,
    FAILED,
    INTERRUPTED,
    EngineOptions,
    Place,
    missing_library,
    note,
    refusal,
    threads_of_a_run,
    versions,
)
from adapter_stilts.study.engine_local import do_run
from adapter_stilts.study.folder import StudyFolder

JOB_POLL = 0.2
"""Seconds between looks of a job at its run."""


@dataclass
class SlurmJob:
    """Does a run and writes how it ended beside it; `submitit` calls it, and `checkpoint`."""

    place: Place
    run: str
    expected: dict[str, str]
    environment: dict[str, str]
    _stops: int = field(default=0, init=False)
    _code: int | None = field(default=None, init=False)

    def __call__(self) -> None:
        """Does the run, in a thread: signals are handled in the main one, between its steps."""
        why = refusal(self.expected, self.place.study, self.place.directory, self.run)
        if why:
            self._say({"code": 2, "refused": why})
            return
        thread = threading.Thread(target=self._do, daemon=True)
        thread.start()
        while self._code is None and thread.is_alive():
            time.sleep(JOB_POLL)
        self._say({"code": 1 if self._code is None else self._code, "refused": ""})

    def checkpoint(self) -> Any:
        """Called before the time is over, or for another's job: saves, and asks to go on anew."""
        from submitit.helpers import DelayedSubmission

        self._stops += 1
        while self._code is None:
            time.sleep(JOB_POLL)
        return DelayedSubmission(SlurmJob(self.place, self.run, self.expected, self.environment))

    def _do(self) -> None:
        folder = StudyFolder(Path(self.place.study))
        self._code = do_run(
            folder,
            self.run,
            self.place,
            self.environment,
            lambda: self._stops + folder.stop_file.exists(),
        )

    def _say(self, said: dict[str, Any]) -> None:
        write_whole(ended_file(Path(self.place.study), self.run), json.dumps(said, allow_nan=False))

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"_stops": 0, "_code": None}


def ended_file(study: Path, run: str) -> Path:
    """Where a job writes how its run ended."""
    return study / "state" / f"ended-{run}.json"


HOURS = 4.0
SIGNAL_SECONDS = 120
"""So long before the end of a job its run is asked for a checkpoint."""
TIMEOUTS = 1000
"""So often a run goes on in a new job: each brings it further."""
ENDED = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "OUT_OF_MEMORY", "NODE_FAIL")


class SlurmQueue:
    """Submits arrays of jobs, and says which are still there."""

    def __init__(self, folder: Path, options: EngineOptions) -> None:
        """Refuses to work without Slurm or submitit, and options that are none of Slurm's."""
        try:
            import submitit
        except ImportError as error:
            raise missing_library("slurm", "submitit") from error
        if not (shutil.which("sbatch") and shutil.which("srun")):
            raise UserError(
                "--engine slurm: there is no `sbatch` here: start it on a machine that Slurm takes "
                "jobs from, or use --engine local or ray"
            )
        logging.getLogger("submitit").setLevel(logging.ERROR)
        self._executor = submitit.AutoExecutor(folder, "slurm", slurm_max_num_timeout=TIMEOUTS)
        minutes = max(1, round(60 * (options.hours or HOURS)))
        given: dict[str, Any] = {
            "name": "adstilts",
            "timeout_min": minutes,
            "cpus_per_task": options.cpus or 1,
            "gpus_per_node": int(options.gpus or options.device == "cuda"),
            "mem_gb": options.memory,
            "slurm_signal_delay_s": min(SIGNAL_SECONDS, 30 * minutes),
            "slurm_array_parallelism": options.max_parallel,
            **{f"slurm_{name}": value for name, value in options.slurm_options.items()},
        }
        try:
            self._executor.update_parameters(**given)
        except (NameError, ValueError, AssertionError) as error:
            line = " ".join(str(error).split())
            raise UserError(f"an option of Slurm is not understood: {line[:300]}") from error

    def submit(self, jobs: Sequence[SlurmJob]) -> list[str]:
        """Puts jobs into the queue, several as one array; their ids. It fails as Slurm does."""
        try:
            with self._executor.batch():
                made = [self._executor.submit(job) for job in jobs]
            return [str(job.job_id) for job in made]
        except (RuntimeError, OSError, subprocess.SubprocessError) as error:
            lines = [line.strip() for line in str(error).splitlines() if line.strip()]
            raise FailureError(f"Slurm refuses the jobs: {(lines or ['?'])[-1][:300]}") from error

    def states(self) -> dict[str, str]:
        """The state of every job of the user's that has not ended, by id; fails without answer."""
        command = ["squeue", "--me", "--noheader", "--array", "--format=%i %T"]
        try:
            asked = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
        except (OSError, subprocess.SubprocessError) as error:
            raise FailureError(f"`squeue` does not answer ({error})") from error
        lines = [line.split() for line in asked.stdout.splitlines()]
        found = {line[0]: line[1] for line in lines if len(line) == 2}
        return {name: state for name, state in found.items() if state not in ENDED}

    def cancel(self, jobs: Sequence[str], *, pending: bool) -> None:
        """Takes jobs out of the queue: those alone that have not begun, or all."""
        only = ["--state=PENDING"] if pending else []
        subprocess.run(["scancel", *only, *jobs], capture_output=True, check=False, timeout=60)


ARRAY = 200
"""Jobs of an array at most; clusters allow a thousand or so."""
TICK = 0.5
POLL = 10.0
"""Seconds between looks at the queue."""
_DAMAGED = (OSError, ValueError, KeyError, TypeError, RecursionError)
GRACE = 60.0
"""Seconds after which what a job wrote before it left the queue is seen here as well."""


class SlurmEngine:
    """Jobs of Slurm. They outlast this process: the same command finds them again."""

    def __init__(self, folder: StudyFolder, options: EngineOptions) -> None:
        """Begins nothing yet. All machines see the study's folder at the same path.

        By default a run gets a core, and there are as many jobs as Slurm has room for.
        """
        self.capacity = options.max_parallel or 5 * ARRAY
        self._folder, self._place = folder, Place.of(folder)
        logs = (folder.path / "slurm" / "%j").absolute()
        self._queue = SlurmQueue(logs, options)
        cpus = threads_of_a_run(options.cpus or 1)
        self._environment = self._place.environment | cpus | {DEVICE: options.device}
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
        if self._jobs and time.monotonic() - self._looked >= POLL:
            self._looked = time.monotonic()
            self._look()

    def _begin(self, runs: list[str]) -> None:
        """Finds the jobs that an earlier process left in the queue, and submits the others."""
        known = {run: self._job_of(run) for run in runs}
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
            said = self._read_end(run)
            if said is None and job in there:
                self._gone.pop(run, None)
                continue
            since = self._gone.setdefault(run, time.monotonic())
            if said is None and time.monotonic() - since < GRACE:
                continue
            del self._jobs[run], self._gone[run]
            self._job_file(run).unlink(missing_ok=True)
            if said is None:
                note(self._folder, run, f"Slurm: its job {job} left the queue without a word")
                made.set_result(INTERRUPTED if self._stops else FAILED)
            elif said["refused"]:
                made.set_exception(UserError(said["refused"]))
            else:
                made.set_result(said["code"])

    def _read_end(self, run: str) -> dict[str, Any] | None:
        with suppress(*_DAMAGED):
            said = json.loads(ended_file(self._folder.path, run).read_text(encoding="utf-8"))
            return {"code": int(said["code"]), "refused": str(said["refused"])}
        return None

    def _job_file(self, run: str) -> Path:
        return self._folder.path / "state" / f"slurm-{run}.json"

    def _job_of(self, run: str) -> str:
        with suppress(*_DAMAGED):
            return str(json.loads(self._job_file(run).read_text(encoding="utf-8"))["job"])
        return ""
