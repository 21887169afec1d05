"""Which learning rate, for which method, task and number of steps? A sweep that defaults follow.

A cell of the grid is a method, a task and a budget of optimizer steps. In each, rates are tried in
half-decades from the best of a smaller budget outward, until the best lies between two others.
Cells that cover every method and kind of head come first, then the others, the cheapest first.
Every run is written as it ends, one line of JSON, so the script can be stopped and started again.
`recipes_page.py` makes docs/results/recipes.md of the lines.

    python benchmarks/recipes.py --data DATA
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from steps import add_row, apart, commit, read_rows

from adapter_stilts import evaluate, fuse, train_adapter
from adapter_stilts.backbones import default_device
from adapter_stilts.environment import machine
from adapter_stilts.errors import FailureError
from adapter_stilts.metrics import primary
from adapter_stilts.tasks.registry import get_target, intermediate_tasks
from adapter_stilts.tasks.spec import TaskSpec

RATES = (1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1)
"""Half-decades, as they are usually rounded."""
DEV = 1000
"""Examples of English dev at most: an accuracy of 60 has a standard error of 1.5 points."""
ZOO = Path(__file__).parents[1] / "adapters_zoo" / "embedded"
NINE = tuple(intermediate_tasks())


@dataclass(frozen=True)
class Way:
    """A way of learning: its method, the rate to begin with, and what it fuses, if anything."""

    method: str
    start: float
    sources: str = ""


WAYS = {
    "bottleneck": Way("bottleneck", 3e-3),
    "lora": Way("lora", 3e-3),
    "head": Way("head", 1e-2),
    "fusion-full": Way("fusion-full", 1e-3, "{}"),
    "fusion-lean": Way("fusion-lean", 1e-2, "{}"),
    "fusion-lean-lora": Way("fusion-lean", 3e-2, "{}-lora"),
}


@dataclass(frozen=True)
class Problem:
    """A task of the sweep: its padded tokens a step, and where other languages are tried.

    `target` has the other languages, `langs` of them are read, `rows` of each.
    """

    tokens: int
    target: str = ""
    split: Literal["test", "dev"] = "test"
    langs: str = ""
    rows: int = 100


PROBLEMS = {
    "udpos": Problem(900, "udpos", "test", "ar,de,fi,hi,ja,tr,vi,zh", 100),
    "panx": Problem(500, "panx", "dev", "ar,de,el,fi,hi,sw,tr,zh", 200),
    "ccg": Problem(900),
    "qqp": Problem(1100),
    "mnli": Problem(1700, "xnli", "test", "ar,de,hi,sw,tr,zh", 200),
    "copa": Problem(1600, "xcopa", "test", "et,id,it,sw,ta,th,tr,vi,zh", 200),
    "commonsense-qa": Problem(4000),
    "squad": Problem(4096, "mlqa", "dev", "ar,de,es,hi,vi,zh", 60),
    "tydiqa": Problem(4096, "tydiqa", "test", "ar,bn,fi,id,ko,ru,sw", 60),
}

MODULES = ("bottleneck", "lora")
FUSIONS = ("fusion-full", "fusion-lean", "fusion-lean-lora")
GRID: dict[int, dict[str, tuple[str, ...]]] = {
    50: {
        "udpos": (*MODULES, *FUSIONS, "head"),
        "panx": (*MODULES, "fusion-lean"),
        "ccg": (*MODULES, "head"),
        "mnli": (*MODULES, "head"),
        "copa": MODULES,
        "squad": ("bottleneck",),
        "tydiqa": ("bottleneck",),
    },
    150: {
        "udpos": (*MODULES, *FUSIONS, "head"),
        "panx": MODULES,
        "ccg": MODULES,
        "qqp": ("bottleneck",),
        "mnli": (*MODULES, "head"),
        "copa": (*MODULES, "fusion-lean"),
        "squad": MODULES,
        "tydiqa": ("bottleneck", "fusion-lean"),
        "commonsense-qa": ("bottleneck",),
    },
    500: {
        "udpos": (*MODULES, *FUSIONS),
        "panx": MODULES,
        "ccg": MODULES,
        "mnli": MODULES,
        "copa": ("bottleneck",),
    },
    1500: {"udpos": ("bottleneck",), "panx": ("lora",)},
}
FIRST: dict[str, tuple[tuple[str, int], ...]] = {
    "udpos": (
        *((way, steps) for steps in (50, 150) for way in (*MODULES, *FUSIONS, "head")),
        ("bottleneck", 500),
        ("lora", 500),
    ),
    "mnli": (("bottleneck", 50), ("bottleneck", 150)),
    "copa": (("bottleneck", 50), ("bottleneck", 150)),
    "squad": (("bottleneck", 50),),
}
"""Cells without which a method, a kind of head or a budget would be missing."""


@dataclass(frozen=True)
class Cell:
    """A method, a task and a number of optimizer steps."""

    way: str
    task: str
    steps: int

    @property
    def cost(self) -> float:
        """Padded tokens of one run, more or less; a fusion reads nine modules."""
        return self.steps * PROBLEMS[self.task].tokens * (1.5 if "fusion" in self.way else 1.0)

    @property
    def comes_first(self) -> bool:
        """Whether the sweep has a hole without it."""
        return (self.way, self.steps) in FIRST.get(self.task, ())


def main() -> None:
    """Runs what is missing, the cheapest cells first."""
    args = arguments()
    args.work.mkdir(parents=True, exist_ok=True)
    os.environ["ADSTILTS_ZOO"] = str(args.work / "zoo")
    chosen = [cell for cell in cells() if not args.steps or cell.steps in args.steps]
    with ThreadPoolExecutor(args.jobs) as threads:  # each waits for processes of its own
        list(threads.map(partial(finish, args), chosen))


def finish(args: argparse.Namespace, cell: Cell) -> None:
    """Runs the rates that a cell lacks, one after the other."""
    while (rate := next_rate(args.records, cell)) is not None:
        row = apart(run, args, cell, rate)
        add_row(args.records, row)
        print(f"{cell.way} {cell.task} {cell.steps} {rate:g}: {row['dev']:.1f}", flush=True)


def arguments() -> argparse.Namespace:
    """What the command line says."""
    found = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    found.add_argument("--data", type=Path, required=True)
    found.add_argument("--backbone", default="embedded")
    found.add_argument("--steps", type=int, nargs="*", help="only these budgets")
    found.add_argument("--jobs", type=int, default=1, help="cells at a time")
    found.add_argument("--work", type=Path, default=Path("runs/recipes"))
    found.add_argument("--records", type=Path, default=Path("docs/results/records/recipes.jsonl"))
    return found.parse_args()


def cells() -> list[Cell]:
    """All of the grid: those that come first, then the cheapest."""
    every = [
        Cell(way, task, steps)
        for steps, tasks in GRID.items()
        for task, ways in tasks.items()
        for way in ways
    ]
    return sorted(every, key=lambda cell: (not cell.comes_first, cell.cost))


def done(records: Path, cell: Cell) -> dict[float, float]:
    """The cell's rates so far, and what each reached."""
    ours = asdict(cell)
    return {
        row["lr"]: row["chosen_by"] for row in read_rows(records) if ours.items() <= row.items()
    }


def next_rate(records: Path, cell: Cell) -> float | None:
    """The rate to try next; None where the best of those tried has worse ones on both sides.

    The first is what was best in fewer steps.
    """
    found = done(records, cell)
    if not found:
        shorter = [replace(cell, steps=steps) for steps in sorted(GRID) if steps < cell.steps]
        before = [best for each in shorter if (best := done(records, each))]
        return max(before[-1], key=before[-1].__getitem__) if before else WAYS[cell.way].start
    middle = RATES.index(max(found, key=found.__getitem__))
    for place in (middle + 1, middle - 1):
        if 0 <= place < len(RATES) and RATES[place] not in found:
            return RATES[place]
    return None


def run(args: argparse.Namespace, cell: Cell, rate: float) -> dict[str, Any]:
    """One training, and its scores in English and in other languages."""
    work = args.work / f"{cell.way}-{cell.task}-{cell.steps}"
    out = work / "module"
    before, began = _cpu(), time.monotonic()
    given: dict[str, Any] = {
        "backbone": args.backbone,
        "data": str(args.data),
        "steps": cell.steps,
        "lr": rate,
        "dev_limit": DEV,
        "evaluations": 1,
        "patience": 0,
        "out": out,
        "overwrite": True,
        "quiet": True,
    }
    metric = _metric(cell.task)
    row = {**asdict(cell), "lr": rate, "seed": 0, "metric": metric, "commit": commit()}
    row |= {"machine": machine(), "device": str(default_device())}
    try:
        record = _train(cell, given).record
    except FailureError as error:  # it diverged: this rate is too high
        shutil.rmtree(work)
        spent = {"seconds": 0, "cpu_seconds": round(_cpu() - before)}
        spent["wall_seconds"] = round(time.monotonic() - began)
        row |= {"method": WAYS[cell.way].method, "head": _spec(cell.task).head, **spent}
        return {**row, "dev": 0.0, "others": {}, "chosen_by": 0.0, "failed": str(error)}
    dev = record.scores[metric]
    row |= {
        "method": record.method,
        "head": record.head,
        "dev": dev,
        "dev_examples": record.data["dev"]["examples"],
        "train_examples": record.data["train"]["examples"],
        "batch_examples": record.recipe["batch_examples"],
        "batch_tokens": record.recipe["batch_tokens"],
        "warmup": record.recipe["warmup"],
        "seconds": round(record.seconds),
        "cpu_seconds": round(_cpu() - before),
        "wall_seconds": round(time.monotonic() - began),
        "others": _others(args, cell, out),
    }
    # A hundred examples of COPA's dev say little: its other languages are asked as well.
    others = row["others"]
    mean = sum(others.values()) / len(others) if others else 0.0
    row["chosen_by"] = row["dev"] if cell.task != "copa" else (dev + mean) / 2
    shutil.rmtree(work)
    return row


def _train(cell: Cell, given: dict[str, Any]) -> Any:
    way = WAYS[cell.way]
    target = PROBLEMS[cell.task].target
    if way.sources:
        sources = [str(ZOO / way.sources.format(task)) for task in NINE]
        # That of its adapters alone: the batches of all ways are to be alike.
        return fuse(
            sources, target, kind=way.method.removeprefix("fusion-"), batch_tokens=4096, **given
        )
    if cell.task in NINE:
        return train_adapter(cell.task, method=way.method, **given)
    return train_adapter(_last_stage(target), method=way.method, **given)


def _last_stage(target: str) -> TaskSpec:
    return get_target(target).trained_in("en")[-1]


def _spec(task: str) -> TaskSpec:
    return intermediate_tasks()[task] if task in NINE else _last_stage(PROBLEMS[task].target)


def _metric(task: str) -> str:
    return primary(_spec(task).metric)


def _others(args: argparse.Namespace, cell: Cell, module: Path) -> dict[str, float]:
    """Scores in the other languages."""
    problem = PROBLEMS[cell.task]
    if not problem.target:
        return {}
    (found,) = evaluate(
        problem.target,
        compositions=[str(module)],
        backbone=args.backbone,
        langs=problem.langs,
        split=problem.split,
        data=str(args.data),
        limit=problem.rows,
        out=module.parent / "predictions",
        overwrite=True,
    )
    metric = primary(get_target(problem.target).metric)
    return {lang: scores[metric] for lang, scores in found.scores.items()}


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
