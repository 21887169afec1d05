"""The rule of learning rates, against the sweep that it comes from."""

from __future__ import annotations

import json
import tarfile
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from statistics import mean
from typing import Any

import pytest

from adapter_stilts.engine.methods import METHODS
from adapter_stilts.errors import UserError
from adapter_stilts.tasks.registry import get_target
from adapter_stilts.training.recipe import usual_rate

SWEEP = Path(__file__).parents[2] / "docs/results/records/recipes.jsonl"
STUDY = SWEEP.with_name("embedded_xtreme_r.tar.xz")
WITHIN = 2.0
"""Points below the best of the sweep that the rule may lose."""
BUDGETS = (1, 50, 100, 150, 300, 500, 1500, 100_000)

Cell = tuple[str, str, int, str]
Cells = dict[Cell, dict[float, float]]


def _sweep() -> Cells:
    """Scores by rate of every cell (way, task, steps, kind of head)."""
    found: Cells = defaultdict(dict)
    for line in SWEEP.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        cell = (row["way"], row["task"], row["steps"], row["head"])
        found[cell][row["lr"]] = row["chosen_by"]
    return found


def _finished(rates: dict[float, float]) -> bool:
    """Whether worse rates lie on both sides of the best one."""
    return min(rates) < max(rates, key=rates.__getitem__) < max(rates)


FINISHED = {cell: rates for cell, rates in _sweep().items() if _finished(rates)}


@pytest.mark.parametrize("cell", FINISHED, ids=lambda cell: "-".join(map(str, cell)))
def test_the_rule_is_within_two_points_of_the_best(cell: Cell) -> None:
    way, _, steps, head = cell
    scores = FINISHED[cell]
    method, over_loras = way.removesuffix("-lora"), way.endswith("-lora")
    rate = usual_rate(method, steps, head=head, over_loras=over_loras)
    assert rate in scores, f"{rate} was not tried"
    within = scores[rate] >= max(scores.values()) - WITHIN
    assert within == (cell[:3] not in MISSED_IN_THE_SWEEP)


MISSED_IN_THE_SWEEP = {("bottleneck", "copa", 150), ("bottleneck", "squad", 50)}
"""By 2.6 points, of one training a rate on COPA's hundred questions and nine languages (a
difference has a standard error of 3 points): in 50 and 300 steps this higher rate is 5 worse. And
by 4.5 points, of one training a rate: none so short on top of another module is in the sweep."""


def test_the_sweep_has_rows() -> None:
    assert len(FINISHED) >= 4


def _study() -> dict[tuple[str, str, str, int], dict[float, float]]:
    """The study's mean scores of English dev by arm, target, kind of head and steps."""
    found: dict[Any, dict[float, list[float]]] = defaultdict(lambda: defaultdict(list))
    with tarfile.open(STUDY) as archive:
        lines = archive.extractfile("results.jsonl")
        assert lines
        rows = [json.loads(line) for line in lines]
    for row in rows:
        # COPA's hundred questions tell rates apart in the mean of nine sources alone.
        if row["stage"] == "rate" and (row["target"] != "xcopa" or row["arm"] == "singles"):
            head = get_target(row["target"]).trained_in("en")[-1].head
            cell = (row["arm"], row["target"], head, row["steps"])
            found[cell][row["lr"]].append((row["dev_choose"] + row["dev_select"]) / 2)
    return {cell: {lr: mean(each) for lr, each in rates.items()} for cell, rates in found.items()}


MISSED = {("alone", "xnli")}
"""Where the rule is further from the best: by 2.2 points, of one training a rate on 1,000 items (a
difference has a standard error of 2 points). On other modules the rule's rate is 8 better."""


def test_the_rule_is_within_two_points_of_the_best_of_the_study() -> None:
    cells = _study()
    assert len(cells) >= 22
    for (arm, target, head, steps), scores in cells.items():
        method = arm if arm.startswith("fusion") else "bottleneck"
        rate = usual_rate(method, steps, head=head)
        within = scores[rate] >= max(scores.values()) - WITHIN
        assert within == ((arm, target) not in MISSED), (arm, target, rate, scores)


@pytest.mark.parametrize("method", METHODS)
def test_no_number_of_steps_is_too_large(method: str) -> None:
    assert usual_rate(method, 10**12) == usual_rate(method, 10**8)


@pytest.mark.parametrize("method", METHODS)
def test_longer_trainings_never_get_a_higher_rate(method: str) -> None:
    rates = [usual_rate(method, steps) for steps in BUDGETS]
    assert all(0 < later <= before for before, later in pairwise(rates))


@pytest.mark.parametrize("method", METHODS)
def test_larger_backbones_get_lower_rates(method: str) -> None:
    small, wide = (usual_rate(method, 500, layers=12, width=width) for width in (384, 768))
    deep = usual_rate(method, 500, layers=48, width=384)
    assert wide == pytest.approx(small / 2, rel=0.05)
    assert deep == pytest.approx(small / 2, rel=0.05)
    assert usual_rate(method, 500, layers=2, width=32) == small  # tiny ones do not get more


def test_xlm_r_large_gets_a_rate_as_published() -> None:
    """Between 1e-4 and 8e-4 on XLM-R (Liu et al., FUN with Fisher)."""
    for method in ("bottleneck", "lora"):
        assert 1e-4 <= usual_rate(method, 5000, layers=24, width=1024) <= 8e-4


def test_a_method_that_is_none_is_named() -> None:
    with pytest.raises(UserError, match="bottleneck"):
        usual_rate("bottlenek", 100)
