"""English dev in two halves: one chooses learning rates, the other between arms."""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from adapter_stilts.data.load import load_examples
from adapter_stilts.errors import FailureError
from adapter_stilts.evaluation.data import read_data
from adapter_stilts.evaluation.items import ensure_items, has_items
from adapter_stilts.evaluation.run import evaluate
from adapter_stilts.tasks.spec import Source, TaskSpec
from adapter_stilts.tasks.target_spec import TargetSpec

SELECT = "select.items.parquet"
"""The items of the half that chooses between arms."""


def dev_halves(
    target: TargetSpec,
    module: Path,
    out: Path,
    does: dict[str, Any],
    seed: int,
    otherwise: float,
) -> tuple[float, float]:
    """The scores of a module on both halves of English dev, in percent.

    Items fall into halves by a hash of their cluster (an article's questions stay together), so
    the halves are the same for all arms. The items of the second lie in `out` afterwards. With
    `choose_on: train`, for a target whose dev is its test, they are of rows of English train that
    the training has not drawn.

    Args:
        otherwise: the training's own dev score, which stands for both where the items of a task
            cannot be counted one by one (ranked candidates).
    """
    stage = target.trained_in("en")[-1]
    if target.retrieval is not None:
        return otherwise, otherwise
    aim = _on_dev(target, stage, on_train=does["choose_on"] == "train")
    options: dict[str, Any] = {"split": "dev", "data": does["data"], "limit": does["dev_items"]}
    (found,) = evaluate(
        aim,
        compositions=[str(module)],
        langs=["en"],
        out=out,
        backbone=does["backbone"],
        precision=does["precision"],
        batch_tokens=does["batch_tokens"],
        **options,
    )
    entry = found.languages["en"]
    if not has_items(aim, entry):
        return otherwise, otherwise
    data = read_data(aim, ["en"], "dev", does["data"], limit=does["dev_items"]).languages["en"]
    table = ensure_items(found.folder, entry, aim, "dev", "en", data, does["data"])
    drawn: set[str] = set()
    if does["choose_on"] == "train":
        seen = load_examples(stage, "train", does["data"], limit=does["rows"], seed=seed)
        drawn = set(seen.examples["id"][:])
    halves = _halves(table.to_pylist(), drawn)
    scores = [_score(rows, target.name) for rows in halves]
    pq.write_table(pa.Table.from_pylist(halves[1], schema=table.schema), out / SELECT)
    return scores[0], scores[1]


def keep_selecting(dev: Path, items: Path) -> None:
    """Puts the items of the half that chooses between arms beside those of a run's tests.

    Args:
        dev: the folder that `dev_halves` wrote; without such items, nothing is done.
    """
    if (dev / SELECT).is_file():
        items.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(dev / SELECT, items / f"dev-en.{SELECT}")


def _halves(
    rows: list[dict[str, Any]], drawn: set[str]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The items of both halves, without those that were drawn for the training."""
    halves: tuple[list[dict[str, Any]], list[dict[str, Any]]] = ([], [])
    for row in rows:
        if row["id"] not in drawn:
            halves[hashlib.sha256(str(row["cluster"]).encode()).digest()[0] % 2].append(row)
    return halves


def _score(rows: list[dict[str, Any]], name: str) -> float:
    total = sum(row["denominator"] for row in rows)
    if not total:
        raise FailureError(
            f"{name}: too few items of English dev to choose by: raise dev_items in the study, or "
            "lower train_rows where choose_on is train"
        )
    return float(100 * sum(row["numerator"] for row in rows) / total)


def _on_dev(target: TargetSpec, stage: TaskSpec, *, on_train: bool) -> TargetSpec:
    """What the training is scored on, as a target in English."""
    sources = tuple(_train_as_dev(each) for each in stage.sources) if on_train else stage.sources
    return dataclasses.replace(
        target,
        sources=sources,
        to_example=stage.to_example,
        metric=stage.metric,
        suites={"xtreme": ("en",)},
        repeated_ids=stage.repeated_ids,
        parallel=False,
    )


def _train_as_dev(source: Source) -> Source:
    hub = source.hub
    if hub is not None:
        hub = dataclasses.replace(hub, splits=_moved(hub.splits))
    files = tuple(dataclasses.replace(each, paths=_moved(each.paths)) for each in source.files)
    return dataclasses.replace(source, hub=hub, files=files)


def _moved(splits: Any) -> Any:
    return {"dev": splits["train"]} if "train" in splits else {}
