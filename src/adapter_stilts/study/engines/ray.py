"""The engine of a Ray cluster: every run is a task with cores, a part of a GPU, and memory."""

from __future__ import annotations

from concurrent.futures import Future, wait
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from adapter_stilts.errors import UserError
from adapter_stilts.study.engines import ray_worker
from adapter_stilts.study.engines.engine import DEVICE, INTERRUPTED, Needs, Place, threads_of_a_run
from adapter_stilts.study.engines.ray_cluster import connect
from adapter_stilts.study.folder import StudyFolder

CAPACITY = 1000
"""So many runs wait in Ray's queue at most."""
LOST_WORKERS = 5
"""So often a run whose worker was lost is begun again, from its checkpoint."""
FAILED = 1


class RayEngine:
    """Tasks of a Ray cluster. They end when this process does; the folder has their state."""

    def __init__(
        self,
        folder: StudyFolder,
        *,
        address: str | None = None,
        needs: Needs | None = None,
        processes: int | None = None,
    ) -> None:
        """Connects.

        Args:
            folder: of the study, which all machines see at the same path.
            address: of a cluster; None starts one on this machine.
            needs: what each run is given; else a core, and a GPU where the cluster has any.
            processes: runs at a time at most; else as many as there is room for.

        Raises:
            UserError, FailureError: ray is not installed, or the cluster does not answer.
        """
        needs = needs or Needs()
        self.capacity = processes or CAPACITY
        self._folder, self._place = folder, Place.of(folder)
        self._ray = connect(address, needs.device)
        self._running: dict[Future[int], Any] = {}
        self._task, self._environment = self._prepare(needs)

    @property
    def notes(self) -> list[str]:
        """What a user is told before the first run."""
        return self._notes

    def submit(self, run: str) -> Future[int]:
        """See `Engine`."""
        made: Future[int] = Future()
        made.set_running_or_notify_cancel()
        task = self._task.options(name=f"adstilts {run}").remote(
            ray_worker.versions(), asdict(self._place), run, self._environment
        )
        self._running[made] = task
        task.future().add_done_callback(lambda ended: self._ended(run, made, ended))
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

    def _prepare(self, needs: Needs) -> tuple[Any, dict[str, str]]:
        """The task with its resources, and the environment of a run."""
        nodes = [each["Resources"] for each in self._ray.nodes() if each["Alive"]]
        cpus, gpus = needs.cpus or 1, needs.gpus
        if gpus is None:
            there = any(each.get("GPU") for each in nodes)
            gpus = 1.0 if needs.device == "cuda" or (there and needs.device == "auto") else 0.0
        asked = {"CPU": float(cpus), "GPU": gpus, "memory": (needs.memory_gb or 0) * 1e9}
        self._notes = []
        if not any(all(node.get(k, 0) >= v for k, v in asked.items()) for node in nodes):
            what = ", ".join(f"{v:g} {k}" for k, v in asked.items() if v)
            self._notes.append(f"no machine of the cluster has {what} now: runs wait for one")
        self._ray.cloudpickle.register_pickle_by_value(ray_worker)
        task = self._ray.remote(
            num_cpus=cpus,
            num_gpus=gpus,
            memory=int(asked["memory"]) or None,
            max_retries=LOST_WORKERS,
        )(ray_worker.do_run_on_worker)
        environment = self._place.environment | threads_of_a_run(cpus) | {DEVICE: needs.device}
        return task, environment if gpus else environment | {"CUDA_VISIBLE_DEVICES": ""}

    def _ended(self, run: str, made: Future[int], ended: Any) -> None:
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
            self._log(run, error)
            made.set_result(FAILED)

    def _log(self, run: str, error: BaseException) -> None:
        """The last line of a run whose worker was lost too often."""
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        log = self._folder.log(run)
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("a", encoding="utf-8") as written:
            written.write(f"Ray: {type(error).__name__}: {lines[0][:500] if lines else ''}\n")
