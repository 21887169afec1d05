"""A study of three runs, small enough for engines that start a process for every run."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from adapter_stilts.study.folder import StudyFolder
from adapter_stilts.study.graph import Plan
from adapter_stilts.study.plan import make_plan
from adapter_stilts.study.spec_file import load_study

TEXT = """\
name: engines
backbone: {backbone}
data: sample
intermediate: [squad]
targets: [xcopa]
arms: [alone]
langs: [en, et]
budget: {{steps: {steps}, train_rows: 8, intermediate_steps: 2, intermediate_rows: 8}}
rates: [1.0e-3, 3.0e-3]
dev_items: 12
test_items: 4
precision: fp32
"""


def write_study(folder: Path, backbone: Path, *, steps: int = 2) -> Path:
    """Writes the study's file: two trainings, of which the better one is evaluated."""
    file = folder / "engines.yaml"
    file.write_text(TEXT.format(backbone=backbone, steps=steps), encoding="utf-8")
    return file


def plan_of(file: Path) -> Plan:
    """Its three runs."""
    return make_plan(load_study(file))


def scores(folder: StudyFolder) -> dict[str, Any]:
    """All that must be equal, whatever did the runs."""
    return {
        name: (each.scores, each.lr, each.dev_choose, each.dev_select)
        for name, each in folder.results().runs.items()
    }


def quiet(line: str) -> None:
    """Says nothing."""


def steps_of(folder: StudyFolder) -> dict[str, int]:
    """The runs that train now, and how far they are."""
    return {name: about["step"] for name, about in folder.running().items() if about.get("step")}


def wait_for(what: Callable[[], Any], seconds: float = 240) -> Any:
    """What the function gives as soon as it is true."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if found := what():
            return found
        time.sleep(0.1)
    raise AssertionError(f"{what} was not true in {seconds} seconds")
