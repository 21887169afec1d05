"""Runs, each named by all that decides it, in an order in which they can be done; their records."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from adapter_stilts.errors import UserError
from adapter_stilts.evaluation.data import resolve_languages
from adapter_stilts.hashing import text_digest
from adapter_stilts.metrics import primary
from adapter_stilts.safety import Count, Line, demand
from adapter_stilts.study.spec import EACH_TASK, StudySpec
from adapter_stilts.tasks.registry import get_target, target_tasks
from adapter_stilts.tasks.spec import Split

Stage = Literal["intermediate", "rate", "target", "composition"]
"""`rate`: a training that is only scored on English dev, to choose the learning rate by."""
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

    def count_uses(self) -> Counter[str]:
        """How many runs need each."""
        return Counter(need for run in self.runs.values() for need in run.needs)


Score = Annotated[float, Field(ge=-100.000001, le=100.000001)]
"""In percent; a correlation may be below zero."""
Amount = Annotated[float, Field(ge=0)]


Word = Annotated[Line, demand(str.split, "a text was expected")]


class RunResult(BaseModel):
    """One finished run of a study.

    Attributes:
        run: hash of everything that decides the run.
        arm: what is compared; of an intermediate module, the module's name.
        intermediate: names of the intermediate modules that the arm stands on.
        target: the target task; empty where an intermediate module was trained.
        seed_intermediate, seed_target: None where the arm lacks that stage.
        lr: the learning rate that was used; 0 where nothing was trained.
        dev_choose, dev_select: scores on the two halves of English dev; learning rates are chosen
            by the first, arms by the second. None where there is no dev.
        dev_whole: both are the score of all of English dev, since it is no sum over items.
        scores: by target, language and metric, in percent. `rate` and `intermediate` have none.
        items: folder of the per-item files, relative to the study's folder: that of the target
            has `test-<lang>.*.items.parquet`, as `evaluation.items` writes them.
        seconds: of all that the run did this time, evaluation included.
        train_seconds: of the training of its module, whichever run did it; None without one.
        unequal: the arm has another budget than the study's, written by hand.
    """

    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)

    run: Word
    study: Line
    stage: Stage
    arm: Word
    intermediate: tuple[Line, ...] = ()
    target: Line = ""
    method: Word
    seed_intermediate: int | None = None
    seed_target: int | None = None
    steps: Count = 0
    train_rows: Count = 0
    lr: Amount = 0.0
    dev_choose: Score | None = None
    dev_select: Score | None = None
    dev_whole: bool = False
    scores: dict[Line, dict[Line, dict[Line, Score]]] = {}
    items: Annotated[str, Field(pattern=r"^(items/[A-Za-z0-9][A-Za-z0-9._-]*)?$")] = ""
    seconds: Amount = 0.0
    train_seconds: Amount | None = None
    parameters: Count = 0
    disk_bytes: Count = 0
    peak_memory_bytes: Count = 0
    machine: Line = ""
    device: Line = ""
    version: Line = ""
    commit: Line = ""
    unequal: bool = False
    created: Line = ""


TESTED = ("target", "composition")
"""The stages whose runs are evaluated."""
ByLanguage = Mapping[str, Mapping[str, float]]


def _split_names(value: Any) -> Any:
    """Names, which plans of earlier versions have in one text."""
    if isinstance(value, str):
        return tuple(filter(None, value.split("+")))
    return tuple(value) if isinstance(value, list) else value


class Planned(NamedTuple):
    """A run of a plan, in the words of its record.

    Plans of earlier versions lack what has a default here, and nothing is compared with that.
    `rates` are the learning rates of which the run has one; `tests` the languages of every target
    task that it is tested on, none where they are not known.
    """

    stage: Line
    arm: Line
    target: Line
    method: Line = ""
    intermediate: Annotated[tuple[Line, ...], BeforeValidator(_split_names)] = ()
    seeds: tuple[int | None, int | None] | None = None
    rates: tuple[float, ...] = ()
    tests: dict[Line, tuple[Line, ...]] | None = None

    @classmethod
    def of(cls, run: Run, plan: Plan) -> Planned:
        """A run of that plan."""
        tried = [need for each in run.among for need in plan.runs[each].rates] or run.rates
        rates = {plan.runs[each].does["lr"]: None for each in tried}
        if run.stage == "rate":
            rates = {run.does["lr"]: None}
        return cls(
            run.stage,
            run.arm,
            run.target,
            run.method,
            run.intermediate,
            (run.seed_intermediate, run.seed_target),
            tuple(rates),
            {
                test["task"]: _languages(
                    test["task"], _text(run.does["langs"]), test["split"], run.place.get("data")
                )
                for test in run.does.get("tests", ())
            },
        )

    @property
    def is_of_each_task(self) -> bool:
        """Whether English dev chooses which task's single it is, so that only its record says."""
        return self.arm.split()[0] in EACH_TASK and not self.intermediate

    def differs(self, result: RunResult) -> str:
        """What a record says that cannot be of this run; mostly nothing."""
        known: dict[str, Any] = {"stage": self.stage, "arm": self.arm, "target": self.target}
        if self.method:
            known["method"] = self.method
            if not self.is_of_each_task:
                known["intermediate"] = self.intermediate
        if self.seeds is not None:
            known |= dict(zip(("seed_intermediate", "seed_target"), self.seeds, strict=True))
        for key, planned in known.items():
            if (said := getattr(result, key)) != planned:
                return f"its record says {key} '{_shown(said)}', the plan '{_shown(planned)}'"
        if self.rates and result.lr not in self.rates:
            tried = ", ".join(f"{each:g}" for each in self.rates)
            return f"its record says lr '{result.lr:g}', the plan '{tried}'"
        return self._differing_scores(result)

    def _differing_scores(self, result: RunResult) -> str:
        if self.stage not in TESTED:
            return "its record has scores, and it is not tested" if result.scores else ""
        if not (result.scores and result.items):
            return "its record has no scores"
        wanted = {self.target} if self.tests is None else set(self.tests)
        if lacked := sorted(wanted - result.scores.keys()):
            return f"its record has no scores of {', '.join(lacked)}"
        if self.tests is not None and (more := sorted(result.scores.keys() - wanted)):
            return f"its record has scores of {', '.join(more)}, which it is not tested on"
        for task, by_language in result.scores.items():
            if problem := _wrong(task, by_language, (self.tests or {}).get(task, ())):
                return f"its record {problem}"
        return ""

    def __str__(self) -> str:
        return f"{self.arm} for {self.target}" if self.target else f"the module {self.arm}"


def _wrong(task: str, by_language: ByLanguage, languages: Sequence[str]) -> str:
    """What is wrong with the scores of a target task; mostly nothing."""
    if not by_language:
        return f"has no scores of {task}"
    if languages and (others := sorted(by_language.keys() - set(languages))):
        return f"has scores of {task} in '{others[0]}', which it is not tested in"
    known = target_tasks().get(task)
    first, metrics = next(iter(by_language.items()))
    for language, scores in by_language.items():
        if known is not None and primary(known.metric) not in scores:
            return f"has no {primary(known.metric)} of {task} in '{language}'"
        if not scores or scores.keys() != metrics.keys():
            return f"has other scores of {task} in '{language}' than in '{first}'"
    return ""


@cache
def _languages(task: str, langs: str, split: Split, data: str | None) -> tuple[str, ...]:
    try:
        return resolve_languages(get_target(task), langs, split, data)
    except UserError:
        return ()  # without its data nothing is known of it


def _text(langs: str | Sequence[str]) -> str:
    return langs if isinstance(langs, str) else ",".join(langs)


def _shown(value: Any) -> str:
    return ", ".join(value) if isinstance(value, tuple) else str(value)
