"""English dev in two halves: one chooses learning rates, the other between arms."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

from adapter_stilts.data.load import load_examples
from adapter_stilts.errors import FailureError
from adapter_stilts.evaluation.data import read_data
from adapter_stilts.evaluation.items import ensure_items, has_items
from adapter_stilts.evaluation.run import evaluate
from adapter_stilts.tasks.spec import Source, TaskSpec
from adapter_stilts.tasks.target_spec import TargetSpec


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
    the halves are the same for all arms. With `choose_on: train`, for a target whose dev is its
    test, they are of rows of English train that the training has not drawn.

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
    return _halves(table.to_pylist(), drawn, target.name)


def _halves(rows: list[dict[str, Any]], drawn: set[str], name: str) -> tuple[float, float]:
    sums = [[0.0, 0.0], [0.0, 0.0]]
    for row in rows:
        if row["id"] in drawn:
            continue
        half = hashlib.sha256(str(row["cluster"]).encode()).digest()[0] % 2
        sums[half][0] += row["numerator"]
        sums[half][1] += row["denominator"]
    if not all(total for _, total in sums):
        raise FailureError(
            f"{name}: too few items of English dev to choose by: raise dev_items in the study, or "
            "lower train_rows where choose_on is train"
        )
    first, second = (100 * right / total for right, total in sums)
    return first, second


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
