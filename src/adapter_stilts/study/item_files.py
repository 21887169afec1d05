"""The scores of a run's single items, and whether they are those that its record tells of."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from adapter_stilts.evaluation.files import folder_name
from adapter_stilts.metrics import primary
from adapter_stilts.study.folder import SELECT
from adapter_stilts.study.results import RunResult
from adapter_stilts.tasks.registry import target_tasks

Part = Literal["test", "dev"]
PARTS: tuple[Part, ...] = ("test", "dev")
_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("cluster", pa.string()),
        ("numerator", pa.float64()),
        ("denominator", pa.float64()),
    ]
)
_LENGTHS = ("length", "answer_length")


class ItemFile(NamedTuple):
    """The items of one language: where they are, their table, or what is wrong with them."""

    path: Path
    table: pa.Table | None
    problem: str = ""


def read_item_files(folder: Path, run: RunResult, target: str, part: Part) -> dict[str, ItemFile]:
    """By language, the items of a run on a target.

    A file that is missing, damaged, or does not make up the score of the record has no table.

    Args:
        folder: of the study.
        part: `test`, what the target is tested on, which may be its dev set; or `dev`, the
            English items that choose between arms.
    """
    if not run.items:
        return {}
    paths = _paths(folder, run, target, part)
    scores = _scores(run, target, part)
    found = {}
    for language in dict.fromkeys([*paths, *(scores if part == "test" else ())]):
        path = paths.get(language, folder / run.items / target / f"test-{language}.items.parquet")
        try:
            found[language] = ItemFile(path, _read(folder, path, scores.get(language)))
        except (OSError, ValueError, KeyError, pa.ArrowException) as error:
            found[language] = ItemFile(path, None, " ".join(str(error).split())[:120])
    return found


def _paths(folder: Path, run: RunResult, target: str, part: Part) -> dict[str, Path]:
    known = target_tasks().get(target)
    names = {target, folder_name(known) if known is not None else target}
    return {
        path.name.partition("-")[2].split(".")[0]: path
        for name in sorted(names)
        # Below it: a language may have a folder, and XTREME's name of the task.
        for path in sorted((folder / run.items / name).rglob("*-*.items.parquet"))
        if path.name.endswith(f".{SELECT}") == (part == "dev")
    }


def _scores(run: RunResult, target: str, part: Part) -> dict[str, float]:
    """What the record says of every language; nothing where a score is no sum over items."""
    from adapter_stilts.evaluation.items import METRICS

    known = target_tasks().get(target)
    if known is None or known.metric not in METRICS:
        return {}
    if part == "dev":
        return {} if run.dev_select is None else {"en": run.dev_select}
    metric = primary(known.metric)
    by_language = run.scores.get(target, {})
    return {name: each[metric] for name, each in by_language.items() if metric in each}


def _read(folder: Path, path: Path, score: float | None) -> pa.Table:
    """The items in the order of their ids.

    Raises:
        OSError, ValueError, KeyError, pa.ArrowException: they are not there, or damaged.
    """
    if not path.is_file():
        raise ValueError("there are no scores of single items")
    if not path.resolve().is_relative_to(folder.resolve()):
        raise ValueError("it lies outside the study's folder")
    whole = pq.read_table(path)
    table = whole.select(_SCHEMA.names).cast(_SCHEMA)
    numerator, denominator = (table[name].to_numpy() for name in ("numerator", "denominator"))
    if not (np.isfinite(numerator) & np.isfinite(denominator) & (denominator >= 0)).all():
        raise ValueError("items have counts that cannot be")
    total = denominator.sum()
    found = 100 * numerator.sum() / total if total else 0.0
    if score is not None and not math.isclose(found, score, abs_tol=1e-6):
        raise ValueError(f"its items score {found:.3f}, the record says {score:.3f}")
    for name in _LENGTHS:
        if name in whole.column_names:
            table = table.append_column(name, whole[name])
    return table.sort_by("id")
