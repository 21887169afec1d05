"""From a study file to a graph of runs: what each arm of each target consists of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any

from adapter_stilts.data.load import check_where, resolve_where
from adapter_stilts.engine.methods import get_method
from adapter_stilts.errors import UserError, few, hint
from adapter_stilts.evaluation.data import resolve_languages
from adapter_stilts.heads import get_head
from adapter_stilts.study.fingerprints import BACKBONE, MULTITASK, Fingerprints, find_source
from adapter_stilts.study.graph import Plan, Run, Stage
from adapter_stilts.study.spec import (
    LONGER,
    TRAIN,
    ArmKind,
    ArmPart,
    StudySpec,
    TargetPart,
    Test,
)
from adapter_stilts.tasks.registry import get_target, get_task
from adapter_stilts.tasks.spec import TargetSpec
from adapter_stilts.zoo.record import ModuleRecord

FUSIONS = {"fusion-full": "full", "fusion-lean": "lean"}
SUMS = {"uniform": "average", "arrow": "arrow"}
"""Arms on all modules at once, by the operator of what their targets are learnt on."""


def make_plan(study: StudySpec, data: str | None = None) -> Plan:
    """The graph of runs of a study, in the order in which a part of it says most.

    First come the arms of the primary contrasts, target by target as the file lists these, so that
    a study that ends early has answered its questions on the first targets; of every arm the first
    seeds come before the others. Then come `alone` and the arms of the other contrasts, then all
    else. A module of the zoo that is not there, or is another one, is refused, and a language that
    no target has. `data` is where the data lies, if not where the study says.
    """
    planner = _Planner(study, Fingerprints(study.backbone, data or study.data))
    for arms, part, first in product(_tiers(study), study.targets, (True, False)):
        for arm in arms:
            planner.add(part, arm, first=first)
    planner.check_languages()
    planner.plan.absent = planner.absent()
    return planner.plan


def _tiers(study: StudySpec) -> list[list[ArmPart]]:
    """The arms: of primary contrasts, of what these are seen beside, and the others."""

    def asked(*, primary: bool) -> set[ArmKind]:
        contrasts = [each for each in study.contrasts if each.primary == primary]
        kinds = (study.kind_of(name) for each in contrasts for name in (each.first, each.second))
        return {kind for kind in kinds if kind is not None}

    first = asked(primary=True)
    second = (asked(primary=False) | {"alone"}) - first
    return [
        [arm for arm in study.arms if arm.arm in first],
        [arm for arm in study.arms if arm.arm in second],
        [arm for arm in study.arms if arm.arm not in first | second],
    ]


@dataclass
class _Planner:
    """A plan that is being made; of modules of the zoo, each is checked once."""

    study: StudySpec
    prints: Fingerprints
    modules: dict[tuple[str, str, int], tuple[str, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.plan = Plan(self.study)

    def add(self, part: TargetPart, arm: ArmPart, *, first: bool) -> None:
        """The runs of an arm of a target: those of its first seeds, or those of the others."""
        study, trained = self.study, bool(get_target(part.task).training)
        as_it_is = ["none"], study.source_langs[:1]  # nothing is learnt
        bottoms, languages = (study.below, study.source_langs) if trained else as_it_is
        for method, below, language in product(study.methods, bottoms, languages):
            each_tasks = list(variants(study.tasks, method, part, arm))
            made = [_Arm(self, method, part, arm, each, below, language) for each in each_tasks]
            runs = [run for each in made for run in each.add(first=first)]
            if made and trained and arm.further and not first:
                made[0].add_further(runs)

    def run(self, run: Run) -> str:
        """Adds a run, with the fingerprints of what it reads."""
        inputs = self.prints.of_run(run.stage, run.target, run.does)
        place = {"backbone": self.study.backbone, "data": self.prints.data}
        return self.plan.add(replace(run, inputs=inputs, place=place))

    def module(self, name: str, method: str, seed: int) -> tuple[str, str]:
        """An intermediate module, as a run of the study's or a folder; and what stands for it."""
        key = (name, method, seed)
        if key not in self.modules:
            self.modules[key] = self._module(name, method, seed)
        return self.modules[key]

    def _module(self, name: str, method: str, seed: int) -> tuple[str, str]:
        study, several = self.study, name == MULTITASK
        named: Sequence[str] = [arm.arm for arm in study.arms] if several else study.tasks
        key, k = "arms" if several else "intermediate", named.index(name)
        part = getattr(study, key)[k]
        given = study.module_of(part)
        if given != TRAIN:
            with study.at(key, k, "module"):
                folder, content = find_source(
                    name, method, seed,
                    backbone=study.backbone, zoo=study.zoo, module=given, tasks=study.tasks,
                )  # fmt: skip
            return str(folder), content
        tasks = [each.task for each in (study.intermediate if several else [part])]
        does = {
            **self.common(),
            "steps": study.budget.intermediate_steps * len(tasks),
            "rows": study.budget.intermediate_rows,
            "lr": study.budget.intermediate_lr,
            "tasks": sorted(tasks),
        }
        names = study.tasks if several else (name,)
        run = Run("intermediate", name, method, does, intermediate=names, seed_intermediate=seed)
        made = self.run(run)
        return made, made

    def most_steps(self, method: str) -> int:
        """Those of the intermediate task whose module has had most: no single has had more."""
        study, seed = self.study, self.study.seeds.intermediate[0]
        return max(
            study.budget.intermediate_steps
            if study.module_of(part) == TRAIN
            else ModuleRecord.read(Path(self.module(name, method, seed)[0])).steps
            for part, name in zip(study.intermediate, study.tasks, strict=True)
        )

    def check_languages(self) -> None:
        """Refuses languages that are named, that no target lists and that none has data of.

        Where no data is here at all, nothing can be said of that.
        """
        study, tests = self.study, _tests(self.study)
        if not self.prints.languages and not _is_here(self.prints.data):
            return
        listed = {code for _, test in tests for code in _listed_languages(test)}
        known = sorted(listed | self.prints.languages)
        for k, code in enumerate(map(str.strip, study.languages)):
            with study.at("langs", k):
                meant = {each for _, test in tests for each in self._asked_languages(test, code)}
            if not meant & (self.prints.languages | listed):
                near = hint(code, known, f"but of {few(known)}")
                wrong = f"no target of the study lists '{code}' or has data of it: {near}"
                raise study.bad(["langs", k], wrong)
        for keys, test in tests:
            # Of the Hub one only learns when asking for it.
            absent = f"{test.split} data of {test.task} in {study.langs}"
            if absent in self.prints.absent and not self._asked_languages(test) & {
                *_listed_languages(test)
            }:
                there = few(_listed_languages(test))
                wrong = f"{test.task} has none of the languages of 'langs', but {there}"
                raise study.bad(keys, wrong)
        self._check_source_languages()

    def _check_source_languages(self) -> None:
        trained = [part.task for part in self.study.targets if get_target(part.task).training]
        known = {
            code
            for target in map(get_target, trained)
            for code in (*target.languages, *target.train_languages)
        }
        for k, code in enumerate(self.study.source_langs):
            names = [f"training data of {task} in {code}" for task in trained]
            if names and code not in known and all(name in self.prints.absent for name in names):
                near = hint(code, sorted(known), f"but {few(sorted(known))}")
                wrong = f"no target of the study lists '{code}' or has training data in it: {near}"
                raise self.study.bad(["source_langs", k], wrong)

    def _asked_languages(self, test: Test, langs: str | Sequence[str] = "") -> set[str]:
        target, langs = get_target(test.task), langs or self.study.langs
        return set(resolve_languages(target, langs, test.split, self.prints.data))

    def absent(self) -> dict[str, str]:
        """What is not here, and why; where the study names it, with the line."""
        found, study = dict(self.prints.absent), self.study
        lines: dict[str, tuple[str | int, ...]] = {BACKBONE: ("backbone",)}
        for (k, below), language in product(enumerate(study.below), study.source_langs):
            lines[f"module {below.replace('*', language)}"] = ("below", k)
        for name in found.keys() & lines.keys():
            found[name] = str(study.bad(lines[name], found[name]))
        try:
            if study.data is not None and study.data == self.prints.data:
                check_where(study.data)
        except UserError as error:
            told = str(study.bad(("data",), error))
            found = {name: told if why == str(error) else why for name, why in found.items()}
        return found

    def common(self) -> dict[str, Any]:
        """What every run does alike."""
        return {"precision": self.study.precision, "batch_tokens": self.study.batch_tokens}


def _tests(study: StudySpec) -> list[tuple[tuple[str | int, ...], Test]]:
    """What is tested, and where the file says so."""
    parts = enumerate(study.targets)
    return [(("targets", k, *keys), test) for k, part in parts for keys, test in part.tests]


def _listed_languages(test: Test) -> tuple[str, ...]:
    target = get_target(test.task)
    return (*target.languages, *target.others)


def _is_here(data: str | None) -> bool:
    """Whether one can know without the Hub which data there is."""
    try:
        check_where(data)
    except UserError:
        return False
    return resolve_where(data) != "hub"


def variants(
    tasks: tuple[str, ...], method: str, part: TargetPart, arm: ArmPart
) -> Iterator[tuple[str, ...]]:
    """The intermediate tasks that an arm stands on: of singles, one after the other."""
    target = get_target(part.task)
    if arm.arm in ("alone", LONGER):
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
    """Whether a task's head answers a target: same labels, tags or number of options, if any."""
    task = get_task(name)
    head, same = get_head(target.head), set(task.labels) == set(target.labels)
    if head.chooses and task.choices != target.choices:
        return False
    if head.has_tags:
        # Tags that it has learnt from its own data are named nowhere.
        same = bool(task.tags) and set(task.tags) == set(target.tags)
    return target.head == task.head and (same or not (head.has_labels or head.has_tags))


@dataclass
class _Arm:
    """One arm of one target, on one choice of intermediate tasks."""

    planner: _Planner
    method: str
    part: TargetPart
    arm: ArmPart
    tasks: tuple[str, ...]
    below: str
    language: str

    @property
    def name(self) -> str:
        """What records call it."""
        return self.planner.study.arm_name(self.arm, self.below, self.language)

    def add(self, *, first: bool) -> list[str]:
        """Adds its runs and those they need: of the first seeds, or of all; the ids of these."""
        study = self.planner.study
        own = study.seeds.of(self.arm)
        seeds = own.intermediate if self.tasks else [None]
        if self.arm.arm == "as-is" or not get_target(self.part.task).training:
            return [
                self._add("composition", seed, None) for seed in (seeds[:1] if first else seeds)
            ]
        rates = tuple(self._add("rate", seeds[0], own.target[0], lr=rate) for rate in study.rates)
        pairs = list(product(seeds, own.target))
        return [self._add("target", *pair, rates=rates) for pair in (pairs[:1] if first else pairs)]

    def add_further(self, among: list[str]) -> None:
        """Adds more seeds of the target for the singles that English dev ranks first.

        Which these are is known when the runs `among` are done. They are ranked on modules of the
        first seed and are the same on those of others, so that seeds are crossed, and modules of a
        seed that is added later change nothing.
        """
        further, own = self.arm.further, self.planner.study.seeds.of(self.arm)
        assert further
        first, seed_of = (
            own.intermediate[0],
            {each: self.planner.plan.runs[each].seed_intermediate for each in among},
        )
        for rank, second, seed in product(range(further.best), further.target, own.intermediate):
            does = {**self._does("target"), "rank": rank}
            run = Run(
                "target", self.name, self.method, does,
                target=self.part.task, seed_intermediate=seed, seed_target=second,
                unequal=self.arm.unequal,
                among=tuple(each for each in among if seed_of[each] in (first, seed)),
            )  # fmt: skip
            self.planner.run(run)

    def _add(
        self,
        stage: Stage,
        seed: int | None,
        second: int | None,
        *,
        lr: float | None = None,
        rates: tuple[str, ...] = (),
    ) -> str:
        on = self._on(seed)
        run = Run(
            stage,
            self.name,
            self.method,
            self._does(stage, lr),
            target=self.part.task,
            intermediate=self.tasks,
            seed_intermediate=seed,
            seed_target=second,
            on=tuple(each for each, _ in on),
            rates=rates,
            unequal=self.arm.unequal,
            contents=tuple(content for _, content in on),
        )
        return self.planner.run(run)

    def _on(self, seed: int | None) -> list[tuple[str, str]]:
        """Runs or folders of the modules below, and what stands for their content."""
        if seed is None:
            return []
        if self.arm.arm == MULTITASK:
            return [self.planner.module(MULTITASK, self.method, seed)]
        found = [self.planner.module(name, self.method, seed) for name in self.tasks]
        if self.arm.arm != "merged":
            return found
        # English rows, weights tried.
        does = {**self.planner.common(), "search": 64, "budget": 60}
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
        made = self.planner.run(run)
        return [(made, made)]

    def _does(self, stage: Stage, lr: float | None = None) -> dict[str, Any]:
        study, part = self.planner.study, self.part
        does: dict[str, Any] = {**self.planner.common(), "kind": self.arm.arm}
        if stage in ("rate", "target"):
            steps, rows = self._budget()
            does |= {"steps": steps, "rows": rows, "head": study.head, "lr": lr}
            does |= {"dev_items": study.dev_items, "choose_on": part.choose_on}
            does |= {"source_lang": self.language, "below": self.below}
        if stage in ("target", "composition"):
            does |= {"langs": study.langs, "layer": part.layer}
            does["tests"] = [
                {"task": each.task, "split": each.split, "items": study.items_of(each)}
                for _, each in part.tests
            ]
        return does

    def _budget(self) -> tuple[int, int | None]:
        """Steps and rows on the target: alike for all but the control for mere quantity."""
        budget = self.planner.study.budget
        steps = self.arm.steps or budget.steps
        rows = self.arm.train_rows or self.part.train_rows or budget.train_rows
        if self.arm.arm == LONGER:
            steps += self.arm.longer_by or self.planner.most_steps(self.method)
            both = rows is not None and budget.intermediate_rows is not None
            if self.part.choose_on != "train":  # the rows that choose are not for training
                rows = (rows or 0) + (budget.intermediate_rows or 0) if both else None
        return steps, rows
