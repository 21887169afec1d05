"""The engine that a user asks for, with options that fit it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, cast

from annotated_types import Ge

from adapter_stilts.errors import UserError, unknown

if TYPE_CHECKING:
    from adapter_stilts.study.engines.engine import Device, Engine, Needs
    from adapter_stilts.study.folder import StudyFolder

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
        """Checks what can be known before anything is started.

        Raises:
            UserError: names the option.
        """
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
        """By name, as submitit has them: with underscores.

        Raises:
            UserError: one is not NAME=VALUE.
        """
        found: dict[str, str] = {}
        for given in self.slurm or ():
            name, sign, value = given.partition("=")
            if not name.strip() or not sign or not value.strip():
                raise UserError(f"--slurm {given}: write NAME=VALUE, such as partition=gpu")
            found[name.strip().lstrip("-").replace("-", "_")] = value.strip()
        return found

    @property
    def needs(self) -> Needs:
        """What one run is given."""
        from adapter_stilts.study.engines.engine import Needs

        return Needs(self.cpus, self.gpus, self.memory, cast("Device", self.device))


def make_engine(folder: StudyFolder, options: EngineOptions, tell: Callable[[str], None]) -> Engine:
    """The engine, connected to its cluster.

    Raises:
        UserError, FailureError: its library is not installed, or its cluster is not there.
    """
    options.check()
    if options.engine == "ray":
        from adapter_stilts.study.engines.ray import RayEngine

        made = RayEngine(
            folder,
            address=options.address,
            needs=options.needs,
            processes=options.max_parallel,
        )
        for note in made.notes:
            tell(note)
        return made
    if options.engine == "slurm":
        from adapter_stilts.study.engines.slurm import SlurmEngine

        return SlurmEngine(
            folder,
            needs=options.needs,
            processes=options.max_parallel,
            hours=options.hours,
            options=options.slurm_options,
        )
    from adapter_stilts.study.engines.local import LocalEngine

    return LocalEngine(
        folder,
        processes=options.max_parallel or 1,
        device=options.needs.device,
        cpus=options.cpus,
    )
