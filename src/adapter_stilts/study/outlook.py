"""What a study will take, from what has been measured, and what difference it can detect."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from statistics import fmean

from adapter_stilts.study.folder import StudyFolder
from adapter_stilts.study.plan import Plan
from adapter_stilts.study.run import room_needed
from adapter_stilts.study.spec import StudySpec
from adapter_stilts.study.statistics.design import Design, detectable_difference
from adapter_stilts.tasks.registry import get_target

ITEM_SD, CORRELATION, SEED_SD = 45.0, 0.5, 0.7
"""Points: of an item's difference between arms, the correlation of parallel items between
languages, and a difference from seed to seed. Assumed, not measured: those of a study that is done
are in its report."""
WHOLE = 1000
"""Items a language where the study does not limit them."""


@dataclass(frozen=True)
class Outlook:
    """`seconds` and `memory` are None before a run has been measured."""

    done: int
    left: int
    seconds: float | None
    memory: int | None
    disk: int
    detectable: dict[str, float]


def look_ahead(plan: Plan, folder: StudyFolder) -> Outlook:
    """Time by the mean of the finished runs of the same stage and arm, else of all."""
    results = folder.results().runs
    known = defaultdict(list)
    for each in results.values():
        for key in ((each.stage, each.arm), (each.stage,), ()):
            known[key].append(each.seconds)
    left = [run for run in plan.runs.values() if run.id not in results]
    seconds = None
    if known:
        keys = [((run.stage, run.arm), (run.stage,), ()) for run in left]
        seconds = sum(fmean(next(known[k] for k in each if k in known)) for each in keys)
    memory = max((each.peak_memory_bytes for each in results.values()), default=None)
    return Outlook(
        done=len(plan.runs) - len(left),
        left=len(left),
        seconds=seconds,
        memory=memory,
        disk=room_needed(plan, folder),
        detectable={each.task: _detectable(plan.study, each.task) for each in plan.study.targets},
    )


def _detectable(study: StudySpec, task: str) -> float:
    target = get_target(task)
    asked = study.langs if isinstance(study.langs, list) else study.langs.split(",")
    suites = {name: len(codes) for name, codes in target.suites.items()}
    count = suites.get(asked[0].strip(), len(asked))  # type: ignore[call-overload]
    if asked == ["all"]:
        count = len(target.languages)
    trained = bool(target.training)
    one, two = len(study.seeds.intermediate), len(study.seeds.target) if trained else 1
    design = Design(
        items=study.test_items or WHOLE,
        languages=max(1, count),
        item_sd=ITEM_SD,
        correlation=CORRELATION if target.parallel else 0.0,
        intermediate_seeds=one,
        target_seeds=two,
        # A stage of one seed has a spread that cannot be seen: what is found holds for that seed.
        intermediate_sd=SEED_SD if one > 1 else 0.0,
        target_sd=SEED_SD if two > 1 else 0.0,
    )
    found = detectable_difference(design)
    return found if math.isfinite(found) else math.inf
