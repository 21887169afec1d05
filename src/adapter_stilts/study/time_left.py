"""How long the runs of a study that are left will take, by those that are done."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import fmean
from types import MappingProxyType

from adapter_stilts.study.folder import StudyFolder
from adapter_stilts.study.graph import Plan, Run
from adapter_stilts.study.results import RunResult
from adapter_stilts.tasks.registry import get_target

SECONDS_A_STEP: Mapping[str, float] = MappingProxyType(
    {"classification": 2.2, "choice": 3.1, "tagging": 1.7}
)
"""Processor seconds by the kind of head: the mean of the CPU trainings of bottleneck adapters in
docs/results/records/recipes.jsonl, loading and scoring included; a test compares them. These have
50 to 500 steps each, so that more steps take less time each."""
SLOWEST = max(SECONDS_A_STEP.values())
SWEEP = "a rough guess from the sweep in docs/results/recipes.md, without evaluations"


def seconds_left(
    plan: Plan, left: Sequence[Run], folder: StudyFolder
) -> tuple[dict[str, float], str]:
    """The seconds of every run that is left, where they can be told, and by what; or why not.

    By the mean of the finished runs that are most alike, of trainings the seconds a step; where
    none is alike, by that of all. Those of this machine count, else those of other processors if
    this is one, or of other GPUs. Where none is done, the embedded backbone's are guessed by the
    sweep.
    """
    done, told_by = of_this_kind(plan, folder)
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


def of_this_kind(plan: Plan, folder: StudyFolder) -> tuple[list[RunResult], str]:
    """The finished runs of a plan that say what others take here, and where they ran; or why none.

    Those of this machine, else those of machines of its kind.
    """
    from adapter_stilts.backbones import default_device
    from adapter_stilts.environment import machine

    done = [each for each in folder.results().runs.values() if each.run in plan.runs]
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
