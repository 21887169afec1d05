"""Runs, each named by all that decides it, and the order in which they can be done."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from adapter_stilts.errors import UserError
from adapter_stilts.hashing import text_digest
from adapter_stilts.study.results import Stage
from adapter_stilts.study.spec import StudySpec

RULES = 2
"""Raised when this code comes to make other results of the same words."""


@dataclass(frozen=True)
class Run:
    """One run.

    `does` and `inputs` are all that decides it besides the runs it `needs`: what is done, and the
    fingerprints of the backbone and of the data that it reads, which lie at `place`. `on` are runs
    or folders of the modules that it stands on, in order, and `contents` what stands for these in
    its identity. English dev chooses the learning rate among the runs `rates`; and where a run
    adds a seed to the best singles, it ranks the runs `among`.
    """

    stage: Stage
    arm: str
    method: str
    does: dict[str, Any]
    target: str = ""
    intermediate: tuple[str, ...] = ()
    seed_intermediate: int | None = None
    seed_target: int | None = None
    on: tuple[str, ...] = ()
    rates: tuple[str, ...] = ()
    unequal: bool = False
    contents: tuple[str, ...] = ()
    among: tuple[str, ...] = ()
    inputs: dict[str, str] = field(default_factory=dict)
    place: dict[str, Any] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """A hash of all that decides it."""
        where = self.contents or self.on
        parts: list[Any] = [RULES, self.stage, self.method, self.target, self.does, where]
        parts += [self.rates, self.among, self.inputs]
        parts += [self.seed_intermediate, self.seed_target, self.arm]
        return text_digest(json.dumps(parts, sort_keys=True, allow_nan=False), 16)

    @property
    def needs(self) -> tuple[str, ...]:
        """The runs that must be done before."""
        return (*(each for each in self.on if "/" not in each), *self.rates, *self.among)


@dataclass
class Plan:
    """All runs in the order in which they are done: those that others need first.

    `absent` says of data and backbones that are not here why they are not; the runs that read
    them can be planned, and not be done.
    """

    study: StudySpec
    runs: dict[str, Run] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)

    def add(self, run: Run) -> str:
        """Adds a run, once; its id. A run before those that it needs is refused."""
        for need in run.needs:
            if need not in self.runs:
                raise UserError(f"run {run.id} needs {need}, which is not before it: a cycle")
        return self.runs.setdefault(run.id, run).id

    @property
    def from_zoo(self) -> dict[Path, str]:
        """The folders of modules that runs stand on and the study does not train, and contents."""
        return {
            Path(place): content
            for run in self.runs.values()
            for place, content in zip(run.on, run.contents, strict=False)
            if "/" in place
        }

    def count_uses(self) -> dict[str, int]:
        """How many runs need each."""
        counts = dict.fromkeys(self.runs, 0)
        for run in self.runs.values():
            for need in run.needs:
                counts[need] += 1
        return counts
