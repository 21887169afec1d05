"""From a study file to a graph of runs, each named by all that decides it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

from adapter_stilts.engine.methods import get_method
from adapter_stilts.errors import UserError
from adapter_stilts.heads import get_head
from adapter_stilts.study.results import Stage
from adapter_stilts.study.spec import ArmPart, StudySpec, TargetPart
from adapter_stilts.tasks.registry import get_target, get_task
from adapter_stilts.tasks.target_spec import TargetSpec
from adapter_stilts.zoo.record import ModuleRecord

RULES = 1
"""Raised when this code comes to make other results of the same words."""
FUSIONS = {"fusion-full": "full", "fusion-lean": "lean"}
MULTITASK = "multitask"


@dataclass(frozen=True)
class Run:
    """One run.

    `does` is all that decides it besides the runs it `needs`; `on` are runs or folders of the
    modules that it stands on, in order; `rates` the runs among which English dev chooses.
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

    @property
    def id(self) -> str:
        """A hash of all that decides it."""
        where = self.contents or self.on
        parts: list[Any] = [
            RULES,
            self.stage,
            self.method,
            self.target,
            self.does,
            where,
            self.rates,
        ]
        parts += [self.seed_intermediate, self.seed_target, self.arm]
        text = json.dumps(parts, sort_keys=True, allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def needs(self) -> tuple[str, ...]:
        """The runs that must be done before."""
        return (*(each for each in self.on if "/" not in each), *self.rates)

    def as_dict(self) -> dict[str, Any]:
        """As JSON has it, from which `Run.read` makes it again."""
        names = self.__dataclass_fields__
        return {name: getattr(self, name) for name in names}

    @classmethod
    def read(cls, fields: dict[str, Any]) -> Run:
        """The run that `as_dict` wrote."""
        lists = {key: tuple(value) for key, value in fields.items() if isinstance(value, list)}
        return cls(**{**fields, **lists})


@dataclass
class Plan:
    """All runs, those that others need first."""

    study: StudySpec
    runs: dict[str, Run] = field(default_factory=dict)

    def add(self, run: Run) -> str:
        """Adds a run, once; its id."""
        for need in run.needs:
            if need not in self.runs:
                raise UserError(f"run {run.id} needs {need}, which is not before it: a cycle")
        return self.runs.setdefault(run.id, run).id

    def shared(self) -> dict[str, int]:
        """How many runs need each."""
        counts = dict.fromkeys(self.runs, 0)
        for run in self.runs.values():
            for need in run.needs:
                counts[need] += 1
        return counts


def make_plan(study: StudySpec) -> Plan:
    """The graph of runs of a study.

    Raises:
        UserError: a module of the zoo that is named is not there.
    """
    plan = Plan(study)
    for method in study.methods:
        for part in study.targets:
            trained = bool(get_target(part.task).training)
            for below, language, arm in product(study.below, study.source_langs, study.arms):
                if not trained and (below, language) != (study.below[0], study.source_langs[0]):
                    continue
                for each in _variants(study, method, part, arm):
                    _Arm(plan, method, part, arm, each, below, language).add()
    return plan


def _variants(
    study: StudySpec, method: str, part: TargetPart, arm: ArmPart
) -> Iterator[tuple[str, ...]]:
    """The intermediate tasks that an arm stands on: of singles, one after the other."""
    target = get_target(part.task)
    tasks = tuple(get_task(name).name for name in study.intermediate)
    if arm.arm in ("alone", "alone-longer"):
        if target.training or arm.arm == "alone":
            yield ()
    elif arm.arm in ("singles", "as-is"):
        for name in tasks:
            if arm.arm == "singles" or (target.training and _head_fits(target, name)):
                yield (name,)
    elif arm.arm == "arrow" and get_method(method).family != "lora":
        return
    elif len(tasks) > 1 and (target.training or arm.arm in (MULTITASK, "uniform", "arrow")):
        yield tasks


def _head_fits(target: TargetSpec, name: str) -> bool:
    task = get_task(name)
    labels = not get_head(target.head).has_labels or set(task.labels) == set(target.labels)
    return target.head == task.head and labels


@dataclass
class _Arm:
    """One arm of one target, with all its seeds and rates."""

    plan: Plan
    method: str
    part: TargetPart
    arm: ArmPart
    tasks: tuple[str, ...]
    below: str
    language: str

    @property
    def name(self) -> str:
        """The arm, with what is below it and the language it learns from where that varies."""
        parts: list[str] = [self.arm.arm]
        if len(self.plan.study.below) > 1:
            parts.append(self.below)
        if len(self.plan.study.source_langs) > 1:
            parts.append(f"from {self.language}")
        return " ".join(parts)

    def add(self) -> None:
        """Adds its runs and those they need."""
        study = self.plan.study
        seeds = study.seeds.intermediate if self.tasks else [None]
        first = study.seeds.target[0]
        if self.arm.arm == "as-is" or not get_target(self.part.task).training:
            for seed in seeds:
                self.plan.add(self._run("composition", self._on(seed), seed, None))
            return
        below = self._on(seeds[0])
        rates = tuple(
            self.plan.add(self._run("rate", below, seeds[0], first, lr=rate))
            for rate in study.rates
        )
        for seed in seeds:
            for second in study.seeds.target:
                self.plan.add(self._run("target", self._on(seed), seed, second, rates=rates))

    def _on(self, seed: int | None) -> list[tuple[str, str]]:
        """Runs or folders of the modules below, and what stands for their content."""
        if seed is None:
            return []
        if self.arm.arm == MULTITASK:
            return [self._module(MULTITASK, seed)]
        found = [self._module(name, seed) for name in self.tasks]
        if self.arm.arm != "merged":
            return found
        does = {**self._common(), "search": 64, "budget": 60}  # English rows, weights tried
        run = Run(
            "intermediate",
            "merged",
            self.method,
            does,
            target=self.part.task,
            intermediate=self.tasks,
            seed_intermediate=seed,
            on=tuple(each for each, _ in found),
            contents=tuple(content for _, content in found),
        )
        made = self.plan.add(run)
        return [(made, made)]

    def _module(self, name: str, seed: int) -> tuple[str, str]:
        """An intermediate module: a run of the study's, or a folder of the zoo that it names."""
        study, budget = self.plan.study, self.plan.study.budget
        if study.zoo:
            folder = _zoo_folder(study, name, self.method, seed)
            return str(folder), ModuleRecord.read(folder).content
        several = name == MULTITASK
        does = {
            **self._common(),
            "steps": budget.intermediate_steps * (len(self.tasks) if several else 1),
            "rows": budget.intermediate_rows,
            "lr": budget.intermediate_lr,
            **({"tasks": sorted(self.tasks)} if several else {}),
        }
        run = Run(
            "intermediate",
            name,
            self.method,
            does,
            intermediate=self.tasks if several else (name,),
            seed_intermediate=seed,
        )
        made = self.plan.add(run)
        return made, made

    def _common(self) -> dict[str, Any]:
        study = self.plan.study
        return {
            "backbone": study.backbone,
            "data": study.data,
            "precision": study.precision,
            "batch_tokens": study.batch_tokens,
        }

    def _run(
        self,
        stage: Stage,
        on: list[tuple[str, str]],
        seed: int | None,
        second: int | None,
        *,
        lr: float | None = None,
        rates: tuple[str, ...] = (),
    ) -> Run:
        study, part = self.plan.study, self.part
        does: dict[str, Any] = self._common()
        if stage in ("rate", "target"):
            steps, rows = self._budget()
            does |= {"steps": steps, "rows": rows, "head": study.head, "lr": lr}
            does |= {"dev_items": study.dev_items, "choose_on": part.choose_on}
            does |= {"source_lang": self.language, "below": self.below}
        if stage in ("target", "composition"):
            does |= {"langs": study.langs, "test_items": study.test_items, "layer": part.layer}
            tests = [part, *part.also]
            does["tests"] = [{"task": each.task, "split": each.split} for each in tests]
        return Run(
            stage,
            self.name,
            self.method,
            {**does, "kind": self.arm.arm},
            target=part.task,
            intermediate=self.tasks,
            seed_intermediate=seed,
            seed_target=second,
            on=tuple(each for each, _ in on),
            rates=rates,
            unequal=self.arm.unequal,
            contents=tuple(content for _, content in on),
        )

    def _budget(self) -> tuple[int, int | None]:
        """Steps and rows on the target: alike for all but the control for mere quantity."""
        budget = self.plan.study.budget
        steps, rows = self.arm.steps or budget.steps, self.arm.train_rows or budget.train_rows
        if self.arm.arm == "alone-longer":
            steps += budget.intermediate_steps
            both = rows is not None and budget.intermediate_rows is not None
            rows = (rows or 0) + (budget.intermediate_rows or 0) if both else None
        return steps, rows


def _zoo_folder(study: StudySpec, name: str, method: str, seed: int) -> Path:
    usual = get_method(method).name == "bottleneck"
    called = name + ("" if usual else f"-{method}") + (f"-s{seed}" if seed else "")
    root = Path(str(study.zoo)).expanduser()
    found = [root / called, *sorted(root.glob(f"*/{called}"))]
    there = [each.resolve() for each in found if (each / "module.json").is_file()]
    if not there:
        raise UserError(f"zoo {root} has no module '{called}', which study {study.name} needs")
    if len(there) > 1:
        raise UserError(f"zoo {root} has several modules '{called}': name one backbone's folder")
    return there[0]
