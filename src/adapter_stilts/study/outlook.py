"""What a study will take, from what has been measured, and what difference it can detect."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean
from types import MappingProxyType
from typing import Any

from adapter_stilts.study.folder import StudyFolder
from adapter_stilts.study.graph import Plan, Run
from adapter_stilts.study.run import room_needed
from adapter_stilts.study.spec import ArmPart, StudySpec, TargetPart
from adapter_stilts.study.spread import CORRELATION, Spread, measure_spread
from adapter_stilts.study.statistics.decisions import Design, detectable_difference
from adapter_stilts.study.study_data import StudyData
from adapter_stilts.tasks.registry import get_target
from adapter_stilts.zoo.record import ModuleRecord

SECONDS_A_STEP: Mapping[str, float] = MappingProxyType(
    {"classification": 3.7, "choice": 3.1, "tagging": 2.0}
)
"""Processor seconds by the kind of head: the mean of the trainings of bottleneck adapters in
docs/results/records/recipes.jsonl, loading and scoring included; a test compares them. These have
50 steps each, so that more steps take less time each."""
SLOWEST = max(SECONDS_A_STEP.values())
SWEEP = "a rough guess from the sweep in docs/results/recipes.md, without evaluations"
WHOLE = 1000
"""Items a language where the study does not limit them."""


@dataclass(frozen=True)
class Share:
    """The runs of one target; `seconds` are those of the runs that are left, None if unknown."""

    runs: int
    done: int
    seconds: float | None


@dataclass(frozen=True)
class Outlook:
    """`seconds` and `memory` are None where nothing tells; the texts say what they come from.

    `parts` are by target, with an empty name for intermediate modules; `detectable` in points.
    """

    done: int
    left: int
    seconds: float | None
    time_from: str
    memory: int | None
    memory_from: str
    disk: int
    parts: Mapping[str, Share]
    detectable: Mapping[str, float]
    spread_from: str

    def as_dict(self) -> dict[str, Any]:
        """As JSON has it; what cannot be detected at all is None."""
        finite = {k: v if math.isfinite(v) else None for k, v in self.detectable.items()}
        return {**asdict(replace(self, detectable={})), "detectable": finite}


def look_ahead(plan: Plan, folder: StudyFolder) -> Outlook:
    """Time by the mean of the finished runs that are most alike, before these by the sweep."""
    results = folder.results().runs
    left = [run for run in plan.runs.values() if run.id not in results]
    seconds, time_from = _seconds(plan, left, folder)
    parts = {}
    for name in dict.fromkeys(run.target for run in plan.runs.values()):
        own = [run for run in plan.runs.values() if run.target == name]
        each = [seconds[run.id] for run in own if run.id in seconds]
        unknown = any(run.id not in results and run.id not in seconds for run in own)
        done = sum(run.id in results for run in own)
        parts[name] = Share(len(own), done, None if unknown else sum(each))
    known = [part.seconds for part in parts.values() if part.seconds is not None]
    memory, memory_from = _memory(plan, folder)
    spread = _spread(plan, folder)
    return Outlook(
        done=len(plan.runs) - len(left),
        left=len(left),
        seconds=sum(known) if len(known) == len(parts) else None,
        time_from=time_from,
        memory=memory,
        memory_from=memory_from,
        disk=room_needed(plan, folder),
        parts=parts,
        detectable={
            each.task: _detectable(plan.study, each, spread) for each in plan.study.targets
        },
        spread_from=_spread_from(spread, plan.study),
    )


def _seconds(plan: Plan, left: list[Run], folder: StudyFolder) -> tuple[dict[str, float], str]:
    """The seconds of every run that is left, where they can be told, and by what."""
    known: dict[tuple[str, ...], list[float]] = defaultdict(list)
    for each in folder.results().runs.values():
        run = plan.runs.get(each.run)
        for key in _like(run) if run else ():
            known[key].append(each.seconds)
    if known:
        return {
            run.id: fmean(known[next(key for key in _like(run) if key in known)]) for run in left
        }, "the runs that are done"
    if plan.study.backbone != "embedded":
        return {}, "nothing before the first run"
    return {run.id: _by_sweep(plan, run) for run in left}, SWEEP


def _like(run: Run) -> list[tuple[str, ...]]:
    """What a run is like, the most alike first; the last is true of all."""
    kind = str(run.does.get("kind", run.arm))
    own = [("arm", run.stage, kind, run.target), ("target", run.stage, run.target)]
    return [*own, ("stage", run.stage), ("any",)]


def _by_sweep(plan: Plan, run: Run) -> float:
    steps = run.does.get("steps", 0)
    if run.rates:
        first = plan.runs[run.rates[0]]
        own = (run.seed_intermediate, run.seed_target)
        if own == (first.seed_intermediate, first.seed_target):
            steps = 0  # it takes over the training at the best of the rates
    if not run.target:
        return float(steps * SLOWEST)
    target = get_target(run.target)
    return float(steps * len(target.training) * SECONDS_A_STEP.get(target.head, SLOWEST))


def _memory(plan: Plan, folder: StudyFolder) -> tuple[int | None, str]:
    results = folder.results().runs
    if measured := [each.peak_memory_bytes for each in results.values()]:
        return max(measured), "the runs that are done"
    places = {each for run in plan.runs.values() for each in run.on if "/" in each}
    if places:
        peaks = [ModuleRecord.read(Path(each)).peak_memory_mb for each in places]
        return int(max(peaks) * 1e6), "the trainings of the zoo's modules"
    return None, ""


def _spread(plan: Plan, folder: StudyFolder) -> Spread:
    results = [each for each in folder.results().runs.values() if each.run in plan.runs]
    return measure_spread(StudyData(plan.study.name, folder.path, results))


def _spread_from(spread: Spread, study: StudySpec) -> str:
    """What the detectable differences rest on: what is measured, and what is assumed."""
    own = [each.task for each in study.targets if each.task in spread.item_sd]
    others = "the spread of the shipped modules' items (docs/results/records/zoo.jsonl)"
    parts = [f"the spread of items in the runs that are done on {', '.join(own)}"] if own else []
    if len(own) < len(study.targets):
        parts.append(f"elsewhere {others}" if own else others)
    said = "; ".join(parts)
    if spread.correlation is None:
        said += f"; a correlation of {CORRELATION} between parallel languages is assumed"
    if spread.target_sd is None:
        return said + "; that of seeds is not known yet, and left out"
    return f"{said}; from seed to seed a difference varies by {spread.target_sd:.1f} points"


def _detectable(study: StudySpec, part: TargetPart, spread: Spread) -> float:
    correlation = spread.correlation if spread.correlation is not None else CORRELATION
    correlation = min(1.0, max(0.0, correlation))
    target = get_target(part.task)
    asked = study.langs if isinstance(study.langs, list) else study.langs.split(",")
    suites = {name: len(codes) for name, codes in target.suites.items()}
    count = suites.get(asked[0].strip(), len(asked))  # type: ignore[call-overload]
    if asked == ["all"]:
        count = len(target.languages)
    one, two = _seeds(study, part)
    design = Design(
        items=study.items_of(part) or WHOLE,
        languages=max(1, count),
        item_sd=spread.of(target.name),
        correlation=correlation if target.parallel else 0.0,
        intermediate_seeds=one,
        target_seeds=two,
        # A stage of one seed has a spread that cannot be seen: what is found holds for that seed.
        intermediate_sd=(spread.intermediate_sd or 0.0) if one > 1 else 0.0,
        target_sd=(spread.target_sd or 0.0) if two > 1 else 0.0,
    )
    found = detectable_difference(design)
    return found if math.isfinite(found) else math.inf


def _seeds(study: StudySpec, part: TargetPart) -> tuple[int, int]:
    """How many seeds of both stages the arms of the primary contrasts have, at least."""
    primary = [each for each in study.contrasts if each.primary]
    asked = {study.kind_of(name) for each in primary for name in (each.first, each.second)}
    arms = [arm for arm in study.arms if arm.arm in asked] or list(study.arms)

    def count(arm: ArmPart) -> tuple[int, int]:
        own = study.seeds.of(arm)
        further = len(arm.further.target) if arm.further else 0
        return len(own.intermediate), len(own.target) + further

    trained = bool(get_target(part.task).training)
    counts = [count(arm) for arm in arms]
    return min(one for one, _ in counts), min(two for _, two in counts) if trained else 1
