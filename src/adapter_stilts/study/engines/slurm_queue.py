"""Slurm's queue, through `submitit`; the same of processes on this machine, for trying it out."""

from __future__ import annotations

import logging
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from adapter_stilts.errors import FailureError, UserError
from adapter_stilts.study.engines.engine import Needs, missing_library
from adapter_stilts.study.engines.slurm_job import SlurmJob

Cluster = Literal["slurm", "local"]
HOURS = 4.0
SIGNAL_SECONDS = 120
"""So long before the end of a job its run is asked for a checkpoint."""
TIMEOUTS = 1000
"""So often a run goes on in a new job: each brings it further."""
ENDED = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "OUT_OF_MEMORY", "NODE_FAIL")


class SlurmQueue:
    """Submits arrays of jobs, and says which are still there."""

    def __init__(
        self,
        folder: Path,
        needs: Needs,
        *,
        processes: int | None,
        hours: float | None,
        options: Mapping[str, Any],
        cluster: Cluster = "slurm",
    ) -> None:
        """Checks that there is a Slurm.

        Raises:
            UserError: `sbatch` or submitit is not there, or an option is none of Slurm's.
        """
        try:
            import submitit
        except ImportError as error:
            raise missing_library("slurm", "submitit") from error
        if cluster == "slurm" and not (shutil.which("sbatch") and shutil.which("srun")):
            raise UserError(
                "--engine slurm: there is no `sbatch` here: start it on a machine that Slurm takes "
                "jobs from, or use --engine local or ray"
            )
        logging.getLogger("submitit").setLevel(logging.ERROR)
        self._cluster = cluster
        self._jobs: dict[str, Any] = {}
        self._executor = submitit.AutoExecutor(folder, cluster, slurm_max_num_timeout=TIMEOUTS)
        minutes = max(1, round(60 * (hours or HOURS)))
        given: dict[str, Any] = {
            "name": "adstilts",
            "timeout_min": minutes,
            "cpus_per_task": needs.cpus or 1,
            "gpus_per_node": int(needs.gpus or needs.device == "cuda"),
            "mem_gb": needs.memory_gb,
            "slurm_signal_delay_s": min(SIGNAL_SECONDS, 30 * minutes),
            "slurm_array_parallelism": processes,
            **{f"slurm_{name}": value for name, value in options.items()},
        }
        if cluster == "local":
            given = {k: v for k, v in given.items() if not k.startswith("slurm_")}
        try:
            self._executor.update_parameters(**given)
        except (NameError, ValueError, AssertionError) as error:
            line = " ".join(str(error).split())
            raise UserError(f"an option of Slurm is not understood: {line[:300]}") from error

    def submit(self, jobs: Sequence[SlurmJob]) -> list[str]:
        """Puts jobs into the queue, several as one array; their ids.

        Raises:
            FailureError: Slurm refuses them.
        """
        try:
            with self._executor.batch():
                made = [self._executor.submit(job) for job in jobs]
            names = [str(job.job_id) for job in made]
        except (RuntimeError, OSError, subprocess.SubprocessError) as error:
            lines = [line.strip() for line in str(error).splitlines() if line.strip()]
            raise FailureError(f"Slurm refuses the jobs: {(lines or ['?'])[-1][:300]}") from error
        self._jobs |= dict(zip(names, made, strict=True))
        return names

    def states(self) -> dict[str, str]:
        """The state of every job of the user's that has not ended, by id.

        Raises:
            FailureError: Slurm does not answer.
        """
        if self._cluster == "local":
            return {k: "RUNNING" for k, job in self._jobs.items() if not job.done()}
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
        if self._cluster == "local":
            for name in () if pending else jobs:
                self._jobs[name].cancel()
        elif jobs:
            only = ["--state=PENDING"] if pending else []
            subprocess.run(["scancel", *only, *jobs], capture_output=True, check=False, timeout=60)
