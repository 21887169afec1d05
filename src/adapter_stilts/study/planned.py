"""What a plan says of a run, so that a record that cannot be of that run is noticed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Annotated, Any, NamedTuple

from pydantic import BeforeValidator

from adapter_stilts.errors import UserError
from adapter_stilts.evaluation.data import resolve_languages
from adapter_stilts.metrics import primary
from adapter_stilts.schema import Line
from adapter_stilts.study.graph import Plan, Run
from adapter_stilts.study.results import Results, RunResult
from adapter_stilts.study.spec import EACH_TASK
from adapter_stilts.tasks.registry import get_target, target_tasks
from adapter_stilts.tasks.spec import Split

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


def plan_results(results: Results, plan: Plan) -> Results:
    """Those of the plan's runs; what cannot be of its run is among the wrong ones."""
    found = Results(damaged=results.damaged)
    for name in plan.runs.keys() & results.runs.keys():
        if why := Planned.of(plan.runs[name], plan).differs(results.runs[name]):
            found.wrong[name] = why
    found.runs = {
        name: each
        for name, each in results.runs.items()
        if name in plan.runs and name not in found.wrong
    }
    return found


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
