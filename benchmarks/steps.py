"""What the benchmarks that train in many steps share: their options, and a process a step."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from adapter_stilts import train_adapter

# Training examples a task that two cores get through in two or three minutes a run.
LIMITS = {
    "anli-plus": 6000,
    "ccg": 7745,
    "commonsense-qa": 2000,
    "cosmos-qa": 400,
    "hellaswag": 1000,
    "mnli": 3000,
    "qqp": 3000,
    "squad": 1200,
    "squad-v2": 4000,
}


def parser(doc: str, name: str) -> argparse.ArgumentParser:
    """The options of every such benchmark; `name` is that of its page and its working folder."""
    found = argparse.ArgumentParser(description=doc.split("\n")[0])
    found.add_argument("--data", type=Path, required=True)
    found.add_argument("--backbone", default="embedded")
    found.add_argument("--full", action="store_true", help="all training and evaluation rows")
    found.add_argument("--epochs", type=float, default=1.0)
    found.add_argument("--seed", type=int, default=0)
    found.add_argument("--work", type=Path, default=Path("runs", name))
    found.add_argument("--out", type=Path, default=Path(f"docs/results/{name}.md"))
    return found


def target_arguments(doc: str, name: str, targets: Sequence[str]) -> argparse.Namespace:
    """The options of a benchmark of targets, which takes over the modules of `intermediate.py`."""
    found = parser(doc, name)
    found.add_argument("--targets", nargs="+", default=list(targets), choices=list(targets))
    found.add_argument("--modules", type=Path, default=Path("runs/intermediate"))
    return found.parse_args()


def apart(step: Callable[..., Any], *given: Any) -> Any:
    """Runs a step in a process of its own, or it would inherit the peak memory of those before."""
    (result,) = side_by_side(1, step, [given])
    return result


def side_by_side(
    jobs: int, step: Callable[..., Any], calls: Sequence[tuple[Any, ...]]
) -> Iterator[Any]:
    """Runs a step for each of the calls, `jobs` at a time, each in a process of its own.

    Results come as they are there. A call that fails does not stop the others; what it raised
    is raised when all have ended.
    """
    context = multiprocessing.get_context("spawn")
    failed: Exception | None = None
    with ProcessPoolExecutor(jobs, mp_context=context, max_tasks_per_child=1) as pool:
        for future in as_completed([pool.submit(step, *call) for call in calls]):
            try:
                yield future.result()
            except Exception as error:
                print(f"failed: {error!r}", flush=True)
                failed = error
    if failed:
        raise failed


def commit() -> str:
    """The commit that the benchmarks are run at (`BENCH_COMMIT` where there is no checkout)."""
    if given := os.environ.get("BENCH_COMMIT"):
        return given
    command = ["git", "rev-parse", "--short=10", "HEAD"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parent)
    return done.stdout.strip()


def options(args: argparse.Namespace, limit: int | None, dev_limit: int) -> dict[str, Any]:
    """What all trainings share: no choice is made on dev, so dev can be evaluated on."""
    return {
        "backbone": args.backbone,
        "data": str(args.data),
        "epochs": args.epochs,
        "limit": None if args.full else limit or None,
        "dev_limit": None if args.full else dev_limit,
        "evaluations": 1,
        "patience": 0,
        "seed": args.seed,
        "resume": True,
    }


def take_over(args: argparse.Namespace, task: str, method: str, folder: Path) -> None:
    """A module for an intermediate task: that of `intermediate.py`, or one trained now."""
    left = args.modules / task / method
    if not folder.exists() and left.exists():
        shutil.copytree(left, folder)
    elif not folder.exists():
        train_adapter(task, method=method, out=folder, **options(args, LIMITS[task], 600))
