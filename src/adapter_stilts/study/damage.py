"""Finished runs whose files are damaged or gone: found before the work, named, and done again."""

from __future__ import annotations

import shutil

import pyarrow as pa
import pyarrow.parquet as pq

from adapter_stilts.errors import UserError
from adapter_stilts.study.folder import StudyFolder
from adapter_stilts.study.graph import Plan, Run
from adapter_stilts.study.results import RunResult
from adapter_stilts.zoo.record import ModuleRecord


def find_damaged(plan: Plan, folder: StudyFolder) -> dict[str, str]:
    """By run, what is wrong with its files.

    Of modules only those count on which runs stand that are not done. Where the module of a tried
    learning rate is gone, the run that needs it trains it itself.
    """
    results = folder.results().runs
    left = [run for name, run in plan.runs.items() if name not in results]
    needed = {need for run in left for need in run.needs}
    found = {}
    for name, run in plan.runs.items():
        if name not in results:
            continue
        problem = _module_problem(folder, run) if name in needed else ""
        problem = problem or _items_problem(folder, results[name])
        if problem:
            found[name] = problem
    return found


def _module_problem(folder: StudyFolder, run: Run) -> str:
    place = folder.module(run.id)
    if run.stage not in ("intermediate", "rate") or (run.stage == "rate" and not place.exists()):
        return ""
    try:
        ModuleRecord.read(place).verify(place)
    except UserError as error:
        return str(error)
    return ""


def _items_problem(folder: StudyFolder, result: RunResult) -> str:
    if not result.items:
        return ""
    files = sorted((folder.path / result.items).rglob("*.items.parquet"))
    if not files and _keeps_items(result):
        return f"{folder.path / result.items} has no scores of single items"
    for path in files:
        try:
            pq.read_table(path)
        except (OSError, pa.ArrowException) as error:
            return f"{path} cannot be read ({' '.join(str(error).split())[:120]})"
    return ""


def _keeps_items(result: RunResult) -> bool:
    """Whether the scores of one of its tests are sums over items."""
    from adapter_stilts.evaluation.items import METRICS
    from adapter_stilts.tasks.registry import target_tasks

    known = target_tasks()
    scored = [name for name, languages in result.scores.items() if languages]
    return any(name in known and known[name].metric in METRICS for name in scored)


def forget(folder: StudyFolder, names: dict[str, str]) -> None:
    """Takes records out, with the modules and items of these runs, so that they are done again."""
    for name in names:
        for place in (folder.module(name).parent, folder.path / "items" / name):
            shutil.rmtree(place, ignore_errors=True)
    folder.drop(set(names))
