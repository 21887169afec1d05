"""The engine of a Ray cluster: every run is a task with cores, a part of a GPU, and memory."""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
from concurrent.futures import Future, wait
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from adapter_stilts.errors import FailureError, UserError, shown
from adapter_stilts.safety import first_line
from adapter_stilts.study.engine import (
    DEVICE,
    FAILED,
    INTERRUPTED,
    EngineOptions,
    Place,
    available_cpus,
    missing_library,
    note,
    refusal,
    threads_of_a_run,
    versions,
    visible_gpus,
)
from adapter_stilts.study.folder import StudyFolder

CAPACITY = 1000
"""So many runs wait in Ray's queue at most."""
LOST_WORKERS = 5
"""So often a run whose worker was lost is begun again, from its checkpoint."""


class RayEngine:
    """Tasks of a Ray cluster. They end when this process does; the folder has their state.

    `notes` is what a user is told before the first run.
    """

    def __init__(self, folder: StudyFolder, options: EngineOptions) -> None:
        """Connects, see `connect`. All machines see the study's folder at the same path.

        By default a run gets a core, and a GPU where the cluster has any; and as many are done at
        a time as there is room for.
        """
        self.capacity = options.max_parallel or CAPACITY
        self._folder, self._place = folder, Place.of(folder)
        self._ray = connect(options.address, options.device)
        self._running: dict[Future[int], Any] = {}
        self._task, self._environment = self._prepare(options)

    def submit(self, run: str) -> Future[int]:
        """See `Engine`."""
        made: Future[int] = Future()
        made.set_running_or_notify_cancel()
        task = self._task.options(name=f"adstilts {run}").remote(
            versions(), asdict(self._place), run, self._environment
        )
        self._running[made] = task
        task.future().add_done_callback(lambda ended: self._note_end(run, made, ended))
        return made

    def stop(self) -> None:
        """See `Engine`."""
        for made, task in list(self._running.items()):
            if not made.done():
                with suppress(Exception):  # it may have ended in this moment
                    self._ray.cancel(task)

    def close(self) -> None:
        """See `Engine`."""
        wait(list(self._running))
        self._ray.shutdown()

    def _prepare(self, needs: EngineOptions) -> tuple[Any, dict[str, str]]:
        """The task with its resources, and the environment of a run."""
        nodes = [each["Resources"] for each in self._ray.nodes() if each["Alive"]]
        cpus, gpus = needs.cpus or 1, needs.gpus
        if gpus is None:
            there = any(each.get("GPU") for each in nodes)
            gpus = 1.0 if needs.device == "cuda" or (there and needs.device == "auto") else 0.0
        asked = {"CPU": float(cpus), "GPU": gpus, "memory": (needs.memory or 0) * 1e9}
        self.notes: list[str] = []
        if not any(all(node.get(k, 0) >= v for k, v in asked.items()) for node in nodes):
            what = ", ".join(f"{v:g} {k}" for k, v in asked.items() if v)
            self.notes.append(f"no machine of the cluster has {what} now: runs wait for one")
        # What is done on a worker travels there as it is: it imports this package only after it
        # has seen that it is the same one there.
        for module in (do_run_on_worker.__module__, refusal.__module__):
            self._ray.cloudpickle.register_pickle_by_value(sys.modules[module])
        task = self._ray.remote(
            num_cpus=cpus,
            num_gpus=gpus,
            memory=int(asked["memory"]) or None,
            max_retries=LOST_WORKERS,
        )(do_run_on_worker)
        environment = self._place.environment | threads_of_a_run(cpus) | {DEVICE: needs.device}
        return task, environment if gpus else environment | {"CUDA_VISIBLE_DEVICES": ""}

    def _note_end(self, run: str, made: Future[int], ended: Any) -> None:
        """Turns what Ray says into an exit code."""
        error = ended.exception()
        if error is None:
            code, refused = ended.result()
            if refused:
                made.set_exception(UserError(refused))
            else:
                made.set_result(code)
        elif isinstance(error, self._ray.exceptions.TaskCancelledError):
            made.set_result(INTERRUPTED)
        else:
            # Its worker was lost too often.
            note(self._folder, run, f"Ray: {type(error).__name__}: {first_line(error)}")
            made.set_result(FAILED)


ANSWER_SECONDS = 5.0
CONNECT_SECONDS = 40.0
OBJECTS = 100_000_000
"""Bytes for Ray's object store: runs hand nothing over, as their state is in files."""
FORMS = "auto, HOST:PORT or ray://HOST:PORT"

_TRY = """
import sys, ray
ray.init(sys.argv[1], log_to_driver=False, logging_level="ERROR")
ray.shutdown()
"""


def connect(address: str | None, device: str) -> Any:
    """The module `ray`, connected; refuses an address that is none.

    No address starts a cluster on this machine, which ends with this process; the device "cpu"
    offers no GPU of it. It fails where nothing answers, or not in a way that Ray understands.
    """
    # Nothing is reported to anybody, and nothing of Ray's is printed among our lines.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", ".")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
    except ImportError as error:
        raise missing_library("ray", "ray") from error
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is None:
        options |= {
            "address": "local",
            "num_cpus": available_cpus(),
            "num_gpus": 0 if device == "cpu" else len(visible_gpus()),
            "object_store_memory": OBJECTS,
            "include_dashboard": False,
        }
    else:
        _check_answers(address)
        options["address"] = address
    try:
        ray.init(**options)
    except Exception as error:  # of any kind, such as a bare one where a machine is overloaded
        raise _no_answer(address or "local", " ".join(str(error).split())) from error
    return ray


def _check_answers(address: str) -> None:
    """Tries the address in a process of its own: Ray itself would try for minutes, and say so."""
    if address != "auto":
        host, port = _split(address)
        try:
            socket.create_connection((host, port), ANSWER_SECONDS).close()
        except OSError as error:
            raise _no_answer(address, str(error)) from error
    try:
        asked = subprocess.run(
            [sys.executable, "-P", "-c", _TRY, address],
            capture_output=True,
            text=True,
            timeout=CONNECT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        why = f"no Ray cluster answers within {CONNECT_SECONDS:.0f} seconds"
        raise _no_answer(address, why) from error
    if asked.returncode:
        lines = [line for line in asked.stderr.splitlines() if line.strip()] or ["it ended"]
        raise _no_answer(address, lines[-1])


def _split(address: str) -> tuple[str, int]:
    host, _, port = address.removeprefix("ray://").rpartition(":")
    is_port = port.isdecimal() and len(port) <= 5 and 0 < int(port) < 1 << 16
    if not host or not is_port or "/" in host:
        raise UserError(f"--address {shown(address)}: it is none of {FORMS}")
    return host.strip("[]"), int(port)


def _no_answer(address: str, why: str) -> FailureError:
    return FailureError(
        f"Ray at address {address} cannot be used ({why[:300]}): is it running (`ray status`)?"
    )


def do_run_on_worker(
    expected: dict[str, str], place: dict[str, Any], run: str, environment: dict[str, str]
) -> tuple[int, str]:
    """The exit code of a run, and why it was refused, if it was."""
    if why := refusal(expected, place["study"], place["directory"], run):
        return 2, why
    from adapter_stilts.study.engine import Place
    from adapter_stilts.study.engine_local import do_run
    from adapter_stilts.study.folder import StudyFolder

    asked: list[int] = []
    # Ray cancels a task by this signal, which it raises in the worker.
    before = signal.signal(signal.SIGINT, lambda number, frame: asked.append(number))
    try:
        folder = StudyFolder(Path(place["study"]))
        return do_run(folder, run, Place(**place), environment, lambda: len(asked)), ""
    finally:
        signal.signal(signal.SIGINT, before)
