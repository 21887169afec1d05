"""What every engine offers, what it gives to a run, and the engine that a user asks for."""

from __future__ import annotations

import os
import platform
import socket
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Protocol

from annotated_types import Ge

from adapter_stilts.errors import UserError, unknown
from adapter_stilts.plugins import VARIABLE, included_files
from adapter_stilts.study.folder import StudyFolder

DEVICE = "ADSTILTS_STUDY_DEVICE"
"""Where it is "cuda", a run is never done on the CPU."""
FAILED, INTERRUPTED = 1, 130
"""Exit codes of a run."""


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
        if files := included_files():
            shared[VARIABLE] = os.pathsep.join(files)
        return cls(str(folder.path.absolute()), str(Path.cwd()), shared)


SAME = ("adapter-stilts", "python", "torch")
"""What decides scores, and is the same on all machines of a study."""


def versions() -> dict[str, str]:
    """Those of `SAME` on this machine; of Python and torch the first two numbers."""
    try:
        from adapter_stilts import __version__ as own
    except ImportError:
        own = "none"
    try:
        torch = version("torch")
    except PackageNotFoundError:
        torch = "none"
    found = (own, _main(platform.python_version()), _main(torch))
    return dict(zip(SAME, found, strict=True))


def _main(number: str) -> str:
    return ".".join(number.split(".")[:2])


def refusal(expected: dict[str, str], study: str, directory: str, run: str) -> str:
    """Why this machine cannot do a run of the study; empty where it can."""
    here, host = versions(), socket.gethostname()
    for name, number in expected.items():
        if here[name] != number:
            return (
                f"worker {host} has {name} {here[name]}, and this machine has {number}: install "
                "the same version on every machine of the cluster"
            )
    for path in (Path(directory), Path(study, "runs", f"{run}.json")):
        if not path.exists():
            return (
                f"worker {host} does not see {path}: the study's folder, its data and the folder "
                "that you start it from must be shared by all machines, at the same path"
            )
    return ""


def note(folder: StudyFolder, run: str, line: str) -> None:
    """Adds a line to the log of a run that could not write one itself."""
    log = folder.log(run)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a", encoding="utf-8") as written:
        written.write(f"{line}\n")


def missing_library(extra: str, library: str) -> UserError:
    """The error where the library of an engine is not installed."""
    return UserError(
        f"--engine {extra} needs the library '{library}': pip install 'adapter-stilts[{extra}]'"
    )


ENGINES = ("local", "ray", "slurm")
DEVICES = ("auto", "cpu", "cuda")
_ONLY = {
    "address": ("ray",),
    "gpus": ("ray", "slurm"),
    "memory": ("ray", "slurm"),
    "hours": ("slurm",),
    "slurm": ("slurm",),
}
"""Options that belong to some engines only."""


@dataclass(frozen=True)
class EngineOptions:
    """Where and how the runs of a study are done; None is the engine's own choice.

    Attributes:
        engine: `local`: processes on this machine; `ray`; `slurm`.
        address: the address of a Ray cluster: auto, HOST:PORT or ray://HOST:PORT. Without it, one
            is started here.
        max_parallel: so many runs are done at a time at most; on this machine one, if you do not
            say.
        device: `auto`, `cpu` or `cuda`.
        cpus: the cores that a run gets.
        gpus: the GPUs that a run gets on Ray or Slurm; on Ray 0.25 puts four runs on one.
        memory: the GB of memory that a run gets on Ray or Slurm.
        hours: the hours of a Slurm job [4]; a longer run goes on in another job.
        slurm: an option of `sbatch` as NAME=VALUE, such as partition=gpu; it may be repeated.
    """

    engine: str = "local"
    address: str | None = None
    max_parallel: Annotated[int, Ge(1)] | None = None
    device: str = "auto"
    cpus: Annotated[int, Ge(1)] | None = None
    gpus: Annotated[float, Ge(0)] | None = None
    memory: Annotated[float, Ge(0.1)] | None = None
    hours: Annotated[float, Ge(0.1)] | None = None
    slurm: Sequence[str] | None = None

    def check(self) -> None:
        """Refuses options of which it is known before anything is started that they are wrong."""
        if self.engine not in ENGINES:
            raise unknown("engine", self.engine, ENGINES)
        if self.device not in DEVICES:
            raise unknown("device", self.device, DEVICES)
        for name, engines in _ONLY.items():
            if getattr(self, name) is not None and self.engine not in engines:
                raise UserError(
                    f"--{name} is an option of --engine {' and '.join(engines)}, not of "
                    f"{self.engine}: leave it out"
                )
        if self.device == "cpu" and self.gpus:
            raise UserError(f"--device cpu and --gpus {self.gpus:g} contradict: leave one out")
        if self.device == "cuda" and self.gpus == 0:
            raise UserError("--device cuda and --gpus 0 contradict: leave one out")
        if self.gpus and self.gpus != int(self.gpus) and (self.gpus > 1 or self.engine == "slurm"):
            kind = "a whole number" if self.engine == "slurm" else "a whole number or below 1"
            raise UserError(f"--gpus {self.gpus:g}: {kind} is needed on {self.engine}")
        _ = self.slurm_options

    @property
    def slurm_options(self) -> dict[str, str]:
        """By name, as submitit has them: with underscores; refuses one that is not NAME=VALUE."""
        found: dict[str, str] = {}
        for given in self.slurm or ():
            name, sign, value = given.partition("=")
            if not name.strip() or not sign or not value.strip():
                raise UserError(f"--slurm {given}: write NAME=VALUE, such as partition=gpu")
            found[name.strip().lstrip("-").replace("-", "_")] = value.strip()
        return found


def make_engine(folder: StudyFolder, options: EngineOptions, tell: Callable[[str], None]) -> Engine:
    """The engine, connected to its cluster; refuses one whose library or cluster is not there."""
    options.check()
    if options.engine == "ray":
        from adapter_stilts.study.engine_ray import RayEngine

        made = RayEngine(folder, options)
        for note in made.notes:
            tell(note)
        return made
    if options.engine == "slurm":
        from adapter_stilts.study.engine_slurm import SlurmEngine

        return SlurmEngine(folder, options)
    from adapter_stilts.study.engine_local import LocalEngine

    return LocalEngine(folder, options)
