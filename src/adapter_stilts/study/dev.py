"""English dev in two halves: one chooses learning rates, the other between arms."""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from adapter_stilts.data.load import load_examples
from adapter_stilts.errors import UserError
from adapter_stilts.evaluation.files import items_path
from adapter_stilts.evaluation.items import SCHEMA, article_clusters, has_items
from adapter_stilts.evaluation.run import evaluate
from adapter_stilts.heads import get_head
from adapter_stilts.metrics import primary
from adapter_stilts.metrics.retrieval import K, average_precision
from adapter_stilts.study.folder import SELECT
from adapter_stilts.tasks.spec import Source, TargetSpec, TaskSpec

FEW = 200
"""Of fewer items, a half has a standard error above five points."""
Item = dict[str, Any]


class DevScores(NamedTuple):
    """A module's scores in percent on both halves of English dev.

    With `whole` both are those of all of it: it is too small for halves, or the score of its task
    is no sum over items.
    """

    choose: float
    select: float
    whole: bool = False


def dev_halves(
    target: TargetSpec, module: Path, out: Path, does: dict[str, Any], seed: int
) -> DevScores:
    """The scores of a module on both halves of English dev.

    Items fall into halves by a hash of their cluster (an article's questions stay together), so
    the halves are the same for all arms. The second half's items, by which arms are chosen, are
    kept in `out` as `SELECT`, so that the choice can be made again of items drawn anew. With
    `choose_on: train`, for a target whose dev is its test, they are of rows of English train that
    the training has not drawn; with `choose_on: whole`, both halves are all items.
    """
    stage, on_train = target.trained_in("en")[-1], does["choose_on"] == "train"
    aim = _on_dev(target, stage, on_train=on_train)
    limit, drawn = _limit_and_drawn(stage, does, seed)
    if target.retrieval is None:
        scored = _score_dev(aim, module, out, {**does, "dev_items": limit})
        if isinstance(scored, float):
            return DevScores(scored, scored, whole=True)
    else:
        scored = _search_dev(aim, module, {**does, "dev_items": limit})
    scored = [row for row in scored if row["id"] not in drawn][: does["dev_items"]]
    whole = does["choose_on"] == "whole"
    halves = (scored, scored) if whole else _halves(scored)
    first, second = (_score(half, target.name) for half in halves)
    out.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(halves[1], schema=SCHEMA), out / SELECT)
    return DevScores(first, second, whole=whole)


def _limit_and_drawn(
    stage: TaskSpec, does: dict[str, Any], seed: int
) -> tuple[int | None, set[str]]:
    """How many rows are read to choose by, and the ids of those that the training has drawn."""
    limit: int | None = does["dev_items"]
    if does["choose_on"] != "train":
        return limit, set()
    seen = load_examples(stage, "train", does["data"], limit=does["rows"], seed=seed)
    # Draws of one seed have rows in common, so as many more are read as may fall away.
    return None if limit is None else limit + does["rows"], set(seen.examples["id"][:])


def _halves(items: list[Item]) -> tuple[list[Item], list[Item]]:
    found: tuple[list[Item], list[Item]] = ([], [])
    for item in items:
        found[hashlib.sha256(str(item["cluster"]).encode()).digest()[0] % 2].append(item)
    return found


def check_dev(target: TargetSpec, does: dict[str, Any], seed: int = 0) -> str:
    """What makes a poor choice of a target's English dev, before the first training; mostly empty.

    `does` and `seed` are of a training of the target, as in `Run`. Dev that nothing can be chosen
    by is refused.
    """
    stage, choose_on = target.trained_in("en")[-1], does["choose_on"]
    on_train = choose_on == "train"
    count = len(load_examples(stage, "train" if on_train else "dev", does["data"]).examples)
    if on_train:
        count -= count if does["rows"] is None else min(does["rows"], count)
        if count < 2:
            raise UserError(
                f"{target.name}: choose_on: train needs rows of train that no training draws: "
                "lower its train_rows in the study"
            )
    count = min(count, does["dev_items"] or count)
    if choose_on == "whole" or count >= FEW:
        return ""
    aim = _on_dev(target, stage, on_train=on_train)
    if aim.retrieval is None and not has_items(aim, {"labelled": True}):
        return ""  # its score is that of the whole
    if not all(_halves([{"cluster": each} for each in _clusters(aim, stage, does, seed)])):
        remedy = (
            "lower its train_rows, or raise dev_items"
            if on_train
            else f"write {{task: {target.name}, choose_on: whole}} among the targets of the study"
        )
        raise UserError(
            f"{target.name}: {count} items of English {'train' if on_train else 'dev'} are too "
            f"few for two halves: {remedy}"
        )
    remedy = (
        "lower its train_rows, which leaves more"
        if on_train
        else "with `choose_on: whole` all of them choose both"
    )
    return (
        f"{target.name}: one half of {count} English items chooses learning rates, and the other "
        f"chooses between arms: these are few, so that chance has a large part in it; {remedy}"
    )


def _clusters(aim: TargetSpec, stage: TaskSpec, does: dict[str, Any], seed: int) -> list[str]:
    """What the items that `dev_halves` would take fall into halves by."""
    limit, drawn = _limit_and_drawn(stage, does, seed)
    examples = load_examples(aim.at("en"), "dev", does["data"], limit=limit).examples
    names = list(examples["id"][:])
    clusters = names
    if aim.retrieval is not None or get_head(aim.head).unique_ids:
        clusters = article_clusters(aim, "dev", "en", does["data"], examples)
    left = [each for name, each in zip(names, clusters, strict=True) if name not in drawn]
    return left[: does["dev_items"]]


def keep_selecting(dev: Path, items: Path) -> None:
    """Puts the items of `dev_halves` that choose between arms, if any, beside a run's tests."""
    if (dev / SELECT).is_file():
        items.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(dev / SELECT, items / f"dev-en.{SELECT}")


def _score_dev(
    aim: TargetSpec, module: Path, out: Path, does: dict[str, Any]
) -> list[Item] | float:
    """The items of dev; of a task whose items cannot be counted one by one, its score."""
    options: dict[str, Any] = {"split": "dev", "data": does["data"], "limit": does["dev_items"]}
    (found,) = evaluate(
        aim,
        compositions=[str(module)],
        langs=["en"],
        out=out,
        backbone=does["backbone"],
        precision=does["precision"],
        batch_tokens=does["batch_tokens"],
        overwrite=True,  # the folder is this run's alone
        **options,
    )
    entry = found.languages["en"]
    if not has_items(aim, entry):
        if does["choose_on"] == "train":
            raise UserError(
                f"{aim.name}: rows of train cannot choose, since its score is no sum over rows: "
                "leave out choose_on"
            )
        return float(entry["scores"][primary(aim.metric)])
    items: list[Item] = pq.read_table(items_path(found.folder / entry["file"])).to_pylist()
    return items


def _search_dev(aim: TargetSpec, module: Path, does: dict[str, Any]) -> list[Item]:
    """Of a retrieval task, what a dual encoder finds for every query of the dev pairs.

    As in training, every query is searched in the texts of all pairs, each text once, and what
    belongs to a query are the texts of all pairs with that query.
    """
    from adapter_stilts.zoo.resolve import load

    dev = load_examples(aim.at("en"), "dev", does["data"], limit=does["dev_items"]).examples
    loaded = load(str(module), backbone=does["backbone"], precision=does["precision"])
    asked, texts = dev["query"][:], list(zip(dev["text"][:], dev["context"][:], strict=True))
    pool = list(dict.fromkeys(texts))
    wanted: dict[str, set[int]] = {}
    for query, text in zip(asked, texts, strict=True):
        wanted.setdefault(query, set()).add(pool.index(text))
    queries, candidates = (
        loaded.embed(side, layer=does.get("layer")).astype(np.float32) for side in (asked, pool)
    )
    order = np.argsort(-(queries @ candidates.T), kind="stable")
    clusters = article_clusters(aim, "dev", "en", does["data"], dev)
    return [
        {
            "id": name,
            "cluster": cluster,
            "numerator": average_precision(ranked[:K].tolist(), sorted(wanted[query]), K),
            "denominator": 1.0,
        }
        for name, cluster, query, ranked in zip(dev["id"][:], clusters, asked, order, strict=True)
    ]


def _score(items: list[Item], name: str) -> float:
    total = sum(item["denominator"] for item in items)
    if not total:
        raise UserError(
            f"{name}: too few items of English dev to choose by: raise dev_items in the study, "
            "write choose_on: whole, or lower train_rows where choose_on is train"
        )
    return float(100 * sum(item["numerator"] for item in items) / total)


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
        hub = dataclasses.replace(hub, splits=_train_for_dev(hub.splits))
    files = tuple(
        dataclasses.replace(each, paths=_train_for_dev(each.paths)) for each in source.files
    )
    return dataclasses.replace(source, hub=hub, files=files)


def _train_for_dev(splits: Any) -> Any:
    return {"dev": splits["train"]} if "train" in splits else {}
