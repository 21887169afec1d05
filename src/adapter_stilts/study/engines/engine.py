"""What every engine offers, and the resources that it gives to a run."""

from __future__ import annotations

import os
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from adapter_stilts.errors import UserError
from adapter_stilts.plugins import VARIABLE, included
from adapter_stilts.study.folder import StudyFolder

Device = Literal["auto", "cpu", "cuda"]
DEVICE = "ADSTILTS_STUDY_DEVICE"
"""Where it is "cuda", a run is never done on the CPU."""
INTERRUPTED = 130


class Engine(Protocol):
    """Does runs; their state is in the study's folder alone."""

    capacity: int
    """How many runs are worth submitting at a time."""

    def submit(self, run: str) -> Future[int]:
        """Begins a run by its id.

        The future has the exit code of `study.work.finish`, or raises a `UserError` where no run
        of the study can be done there, such as on a worker with another version of this package.
        """

    def stop(self) -> None:
        """Asks all runs to end after writing a checkpoint; a second time, to end at once."""

    def close(self) -> None:
        """Waits for all, and leaves nothing behind."""


@dataclass(frozen=True)
class Needs:
    """What one run is given. `gpus` may be a fraction: 0.25 puts four runs on one GPU.

    None leaves the choice to the engine.
    """

    cpus: int | None = None
    gpus: float | None = None
    memory_gb: float | None = None
    device: Device = "auto"


def available_cpus() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def threads_of_a_run(cpus: int) -> dict[str, str]:
    """The environment in which a run uses no more cores than it was given.

    PyTorch, NumPy and Arrow read the first variable, the tokenizers the second.
    """
    return {"OMP_NUM_THREADS": str(cpus), "RAYON_NUM_THREADS": str(cpus)}


def visible_gpus() -> list[str]:
    """The GPUs that this process may use; asking claims no memory on them."""
    import torch

    count = torch.cuda.device_count()
    named = [each for each in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if each]
    return named[:count] or [str(number) for number in range(count)]


@dataclass(frozen=True)
class Place:
    """Where a run finds what its study names: the same on every machine that works on it."""

    study: str
    """The study's folder."""
    directory: str
    """The folder that paths in the study file are relative to."""
    environment: dict[str, str]
    """Variables of this package and of the Hub's client, such as where data and modules lie."""

    @classmethod
    def of(cls, folder: StudyFolder) -> Place:
        """As this process has it."""
        shared = {
            name: value
            for name, value in os.environ.items()
            if name.startswith(("ADSTILTS_", "HF_")) and "TOKEN" not in name
        }
        if files := included():
            shared[VARIABLE] = os.pathsep.join(files)
        return cls(str(folder.path.absolute()), str(Path.cwd()), shared)


def missing_library(extra: str, library: str) -> UserError:
    """The error where the library of an engine is not installed."""
    return UserError(
        f"--engine {extra} needs the library '{library}': pip install 'adapter-stilts[{extra}]'"
    )
