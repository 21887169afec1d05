"""What a study will take, from what has been measured, and what difference it can detect."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from statistics import fmean
from types import MappingProxyType
from typing import Any

import numpy as np
import pyarrow as pa

from adapter_stilts.study.contrast import Design, detectable_difference
from adapter_stilts.study.folder import StudyFolder
from adapter_stilts.study.graph import Plan, Run, RunResult
from adapter_stilts.study.run import room_needed
from adapter_stilts.study.sample import Floats
from adapter_stilts.study.spec import ArmPart, StudySpec, TargetPart
from adapter_stilts.study.study_data import StudyData
from adapter_stilts.tasks.registry import get_target, target_tasks
from adapter_stilts.zoo.record import ModuleRecord

ITEM_SD: Mapping[str, float] = MappingProxyType(
    {"classification": 48.6, "choice": 49.5, "span": 49.2, "tagging": 44.2}
)
"""By the kind of head, in points: of the score of an item, by the scores of the shipped modules in
docs/results/records/zoo.jsonl (`benchmarks/study_spread.py` computes it, and a test compares). An
accuracy tells it: what is right or wrong varies by that. An F1 is taken for one. The difference of
two arms varies as much where their scores of an item have the correlation 0.5, which is assumed."""
CORRELATION = 0.5
"""Of an item in two languages of a parallel test set; assumed where no finished run tells it."""
LARGEST = max(ITEM_SD.values())
ARMS = 5
"""So many arms of a target are compared in pairs."""
FEWEST, FREE = 20, 4
"""So many items of a language, and degrees of freedom of seeds, tell a spread."""


@dataclass(frozen=True)
class Spread:
    """In points: of an item's difference between two arms, by target, and from seed to seed.

    `correlation` is that of the same item's difference in two languages of a parallel test set.
    A spread of seeds is None where nothing tells it.
    """

    item_sd: Mapping[str, float]
    correlation: float | None
    intermediate_sd: float | None
    target_sd: float | None

    def of(self, target: str) -> float:
        """That of an item: measured there, else on targets of the same kind of head."""
        if target in self.item_sd:
            return self.item_sd[target]
        head = get_target(target).head
        alike = [sd for name, sd in self.item_sd.items() if get_target(name).head == head]
        return fmean(alike) if alike else ITEM_SD.get(head, LARGEST)


def measure_spread(data: StudyData) -> Spread:
    """What the finished runs of a study tell."""
    item_sd, correlations = {}, []
    for target in (name for name in data.targets if name in target_tasks()):
        found, together = _items(data, target)
        if found:
            item_sd[target] = math.sqrt(fmean(each**2 for each in found))
        correlations += together
    return Spread(
        item_sd,
        fmean(correlations) if correlations else None,
        _seed_spread(data, stage=0),
        _seed_spread(data, stage=1),
    )


def _items(data: StudyData, target: str) -> tuple[list[float], list[float]]:
    """The spread of items for pairs of arms and languages, and correlations between languages."""
    spreads, correlations = [], []
    runs = [next(iter(there.values())) for arm in data.arms if (there := data.on(arm, target))]
    for first, second in combinations(runs[:ARMS], 2):
        found = _differences(data, target, first, second)
        spreads += [_item_spread(*each) for each in found.values()]
        if target_tasks()[target].parallel:
            for (one, _), (other, _) in combinations(list(found.values())[:6], 2):
                if len(one) == len(other) and one.std() and other.std():
                    correlations.append(float(np.corrcoef(one, other)[0, 1]))
    return spreads, correlations


def _differences(
    data: StudyData, target: str, first: RunResult, second: RunResult
) -> dict[str, tuple[Floats, list[str]]]:
    """By language, the difference of two runs on every item, in points, and its cluster."""
    sides = [data.items(run, target, "test") for run in (first, second)]
    found = {}
    for language, table in sides[0].items():
        other = sides[1].get(language)
        if other is None or len(table) < FEWEST or not table["id"].equals(other["id"]):
            continue
        found[language] = (_shares(table) - _shares(other), table["cluster"].to_pylist())
    return found


def _shares(table: pa.Table) -> Floats:
    """What each item adds to a score in percent, so that their mean is the score."""
    numerator, denominator = (table[name].to_numpy() for name in ("numerator", "denominator"))
    score = numerator.sum() / max(denominator.sum(), 1e-9)
    return np.asarray(
        100 * (score + (numerator - score * denominator) / max(denominator.mean(), 1e-9))
    )


def _item_spread(differences: Floats, clusters: list[str]) -> float:
    """Of one item; where items hang together, what one would need for the same standard error."""
    _, numbers = np.unique(clusters, return_inverse=True)
    sums = np.bincount(numbers, weights=differences - differences.mean())
    squares = float((sums**2).sum())
    return math.sqrt(squares / len(differences) * len(sums) / max(1, len(sums) - 1))


def _seed_spread(data: StudyData, *, stage: int) -> float | None:
    """The spread of the difference of two arms from seed to seed, the other stage's seed fixed."""
    squares, free = 0.0, 0
    for arm in data.arms:
        for target in data.targets:
            groups: dict[int, list[float]] = defaultdict(list)
            for seeds, run in data.on(arm, target).items():
                scores = data.languages(run, target).values()
                if scores:
                    groups[seeds[1 - stage]].append(fmean(scores))
            for values in (each for each in groups.values() if len(each) > 1):
                squares += float(np.var(values)) * len(values)
                free += len(values) - 1
    return math.sqrt(2 * squares / free) if free >= FREE else None


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
    `damaged` are files of items among those that tell the spread, and why; a run reads them all.
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
    damaged: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """As JSON has it; what cannot be detected at all is None."""
        finite = {k: v if math.isfinite(v) else None for k, v in self.detectable.items()}
        return {**asdict(replace(self, detectable={})), "detectable": finite}


def look_ahead(plan: Plan, folder: StudyFolder) -> Outlook:
    """What is left, and what it will show."""
    results = folder.results(plan).runs
    left = [run for run in plan.runs.values() if run.id not in results]
    done, told_by = of_this_kind(results.values())
    seconds, time_from = seconds_left(plan, left, done, told_by)
    parts = {}
    for name in dict.fromkeys(run.target for run in plan.runs.values()):
        own = [run for run in plan.runs.values() if run.target == name]
        each = [seconds[run.id] for run in own if run.id in seconds]
        unknown = any(run.id not in results and run.id not in seconds for run in own)
        ended = sum(run.id in results for run in own)
        parts[name] = Share(len(own), ended, None if unknown else sum(each))
    known = [part.seconds for part in parts.values() if part.seconds is not None]
    memory, memory_from = _memory(plan, done, told_by)
    data = StudyData(plan.study.name, folder.path, list(results.values()))
    spread = measure_spread(data)
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
        damaged=tuple(f"{folder.path / each.place}: {each.why}" for each in data.damaged),
    )


def _memory(plan: Plan, done: Sequence[RunResult], where: str) -> tuple[int | None, str]:
    if done:
        return max(each.peak_memory_bytes for each in done), where
    if peaks := [ModuleRecord.read(each).peak_memory_mb for each in plan.from_zoo]:
        return int(max(peaks) * 1e6), "the trainings of the zoo's modules"
    return None, f"{where}, and no module is of the zoo"


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
    return detectable_difference(design)


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


SECONDS_A_STEP: Mapping[str, float] = MappingProxyType(
    {"classification": 2.2, "choice": 3.1, "tagging": 1.7}
)
"""Processor seconds by the kind of head: the mean of the CPU trainings of bottleneck adapters in
docs/results/records/recipes.jsonl, loading and scoring included; a test compares them. These have
50 to 500 steps each, so that more steps take less time each."""
SLOWEST = max(SECONDS_A_STEP.values())
SWEEP = "a rough guess from the sweep in docs/results/recipes.md, without evaluations"


def seconds_left(
    plan: Plan, left: Sequence[Run], done: Sequence[RunResult], told_by: str
) -> tuple[dict[str, float], str]:
    """The seconds of every run that is left, where they can be told, and by what; or why not.

    By the mean of the finished runs that are most alike, of trainings the seconds a step; where
    none is alike, by that of all. Those of this machine count, else those of other processors if
    this is one, or of other GPUs (see `of_this_kind`). Where none is done, the embedded backbone's
    are guessed by the sweep.
    """
    known: dict[tuple[str, ...], list[float]] = defaultdict(list)
    whole: list[float] = []
    for each in done:
        run = plan.runs[each.run]
        steps = each.steps if _steps(plan, run) else 0
        # The training of a run that was begun again has lasted for longer than that run.
        seconds = max(each.seconds, each.train_seconds or 0.0) if steps else each.seconds
        whole.append(seconds)
        for key in _like(run, trains=bool(steps)):
            known[key].append(seconds / (steps or 1))
    found = {}
    for run in left:
        steps = _steps(plan, run)
        alike = [known[key] for key in _like(run, trains=bool(steps)) if key in known]
        if alike:
            found[run.id] = fmean(alike[0]) * (steps or 1)
        elif whole:
            found[run.id] = fmean(whole)
    if whole:
        return found, told_by
    if plan.study.backbone == "embedded":
        return {run.id: _by_sweep(plan, run) for run in left}, SWEEP
    return {}, told_by


def of_this_kind(done: Iterable[RunResult]) -> tuple[list[RunResult], str]:
    """Those of the finished runs that say what others take here, and where they ran; or why none.

    Those of this machine, else those of machines of its kind.
    """
    from adapter_stilts.backbones import default_device
    from adapter_stilts.environment import machine

    kind, name = default_device().type, machine().split(", ")[0]
    alike = [each for each in done if each.device == kind]
    own = [each for each in alike if each.machine.split(", ")[0] == name]
    if own:
        return own, f"the runs that are done on {name}"
    if alike:
        names = dict.fromkeys(each.machine.split(", ")[0] for each in alike)
        return alike, f"the runs that are done on {', '.join(names)}"
    return [], f"no run is done on {'a GPU' if kind == 'cuda' else 'a CPU'} yet"


def _like(run: Run, *, trains: bool) -> list[tuple[str, ...]]:
    """What a run is like, the most alike first; the last is true of all that train, or do not."""
    kind, stage = str(run.does.get("kind", run.arm)), f"{run.stage} {trains}"
    own = [("arm", stage, kind, run.target), ("target", stage, run.target), ("stage", stage)]
    return [*own, ("any", str(trains))]


def _steps(plan: Plan, run: Run) -> int:
    """The steps that it trains; none where it takes over the training at the best of the rates."""
    if run.rates:
        first = plan.runs[run.rates[0]]
        own = (run.seed_intermediate, run.seed_target)
        if own == (first.seed_intermediate, first.seed_target):
            return 0
    return int(run.does.get("steps", 0))


def _by_sweep(plan: Plan, run: Run) -> float:
    steps = _steps(plan, run)
    if not run.target:
        return float(steps * SLOWEST)
    target = get_target(run.target)
    return float(steps * len(target.training) * SECONDS_A_STEP.get(target.head, SLOWEST))
