"""What the benchmarks that train in many steps share: a process a step."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

PRELOAD = [
    "adapter_stilts.evaluation.run",
    "adapter_stilts.training.execute",
    "adapter_stilts.training.target",
    "adapter_stilts.training.run",
    "adapter_stilts.training.target",
]
"""What trainings and evaluations import: on a GPU that takes longer than a short training."""


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
    # A fork of a process that has imported all begins at once; it has used no GPU and no threads.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOAD)
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


def read_rows(records: Path) -> list[dict[str, Any]]:
    """What a benchmark has measured so far, a line of JSON each; nothing where there is no file."""
    if not records.exists():
        return []
    return [json.loads(line) for line in records.read_text(encoding="utf-8").splitlines()]


def add_row(records: Path, row: Mapping[str, Any]) -> None:
    """Keeps what was measured, so that it is not measured again."""
    records.parent.mkdir(parents=True, exist_ok=True)
    with records.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row, allow_nan=False) + "\n")


def commit() -> str:
    """The commit that the benchmarks are run at (`BENCH_COMMIT` where there is no checkout)."""
    if given := os.environ.get("BENCH_COMMIT"):
        return given
    command = ["git", "rev-parse", "--short=10", "HEAD"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parent)
    return done.stdout.strip()
