"""Every target task, learnt alone and on top of the intermediate task most like it, zero-shot.

Trains in English, evaluates in every language of the data, and writes docs/results/zero_shot.md.
Every step is kept and not repeated, so the script can be stopped and started again. Without
`--full`, training and evaluation are bounded by `PLANS`.

    python benchmarks/zero_shot.py --data DATA
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from statistics import mean
from typing import Any

from steps import apart, options, take_over, target_arguments

from adapter_stilts import evaluate, train_target
from adapter_stilts.evaluation.summary import Evaluation
from adapter_stilts.metrics import primary
from adapter_stilts.tasks.registry import get_target


@dataclass(frozen=True)
class Plan:
    """How one target is measured: training examples, rows a language, and the split that is there.

    `below` is the intermediate task; `note` says what a reader must know about the numbers.
    """

    below: str
    split: str
    rows: int
    train: int = 0
    note: str = ""
    langs: str = "all"


PLANS = {
    "xnli": Plan("anli-plus", "dev", 200, 3000),
    "pawsx": Plan("qqp", "test", 200, 1000, "rows 1 to 1,000 of English train, the others test"),
    "udpos": Plan("ccg", "dev", 100, 2000),
    "panx": Plan("ccg", "dev", 100, 2000),
    "xquad": Plan("squad-v2", "test", 100, 1000),
    "mlqa": Plan("squad-v2", "dev", 60, 1000),
    "tydiqa": Plan("squad", "test", 200, 1200),
    "xcopa": Plan("commonsense-qa", "test", 200, 1000, "Social IQa, then COPA's 400"),
    "tatoeba": Plan("mnli", "test", 200, note="no training: the layer is chosen by rule"),
    "bucc2018": Plan("mnli", "dev", 0, note="no training; layer and threshold from this dev set"),
    "lareqa": Plan("squad", "test", 60, 1000, "a dual encoder; pool: these languages", "en,de,zh"),
    "mewslix": Plan("squad", "test", 0, 40, "bundled samples: shows that it runs, no more"),
}
SAMPLES = ("mewslix",)
"""Targets that the data folder has not got."""
PAWSX_TRAIN = 1000
"""The shared data has no English training set of PAWS-X: these rows of dev serve as one."""


def main() -> None:
    """Runs what is missing and writes the page after every target."""
    args = target_arguments(__doc__, "zero_shot", list(PLANS))
    os.environ["ADSTILTS_ZOO"] = str(args.work / "zoo")
    args.work.mkdir(parents=True, exist_ok=True)
    for target in args.targets:
        for step in (intermediate, alone, stacked, scored):
            apart(step, args, target)
        args.out.write_text(page(args), encoding="utf-8")


def intermediate(args: argparse.Namespace, target: str) -> None:
    """The module for the intermediate task."""
    below = PLANS[target].below
    take_over(args, below, "bottleneck", args.work / "zoo" / args.backbone / below)


def alone(args: argparse.Namespace, target: str) -> None:
    """The target by itself."""
    _train(args, target, "none")


def stacked(args: argparse.Namespace, target: str) -> None:
    """The target on top of the intermediate task."""
    _train(args, target, PLANS[target].below)


def _train(args: argparse.Namespace, target: str, on: str) -> None:
    if not get_target(target).training:
        return
    given = options(args, PLANS[target].train, 100)
    given["data"] = str(data_of(args, target))
    train_target(target, on=on, **given)


def compositions(target: str) -> list[str]:
    """What is compared."""
    below = PLANS[target].below
    if not get_target(target).training:
        return ["none", below]
    return [target, f"stack({below}, {target})"]


def scored(args: argparse.Namespace, target: str) -> None:
    """Both compositions in every language that the data has."""
    kept = args.work / f"{target}.json"
    if kept.exists():
        return
    plan = PLANS[target]
    found = evaluate(
        target,
        compositions=compositions(target),
        backbone=args.backbone,
        langs="all" if args.full else plan.langs,
        split=plan.split,
        data=str(tried_on(args, target)),
        limit=None if args.full else plan.rows or None,
        out=args.work / "predictions" / target,
    )
    kept.write_text(json.dumps([row_of(each) for each in found]))


def row_of(found: Evaluation) -> dict[str, Any]:
    """What is kept of an evaluation; of retrieval, also where the sentence vectors come from."""
    vectors = [list(each) for each in found.vectors]
    return {"composition": found.composition, "scores": found.scores, "vectors": vectors}


def data_of(args: argparse.Namespace, target: str) -> Path:
    """Where the target's data is; of PAWS-X, English dev is cut into training and test."""
    if target in SAMPLES:
        return Path("sample")
    if target != "pawsx":
        return Path(args.data)
    folder = Path(args.work) / "data" / "pawsx"
    folder.mkdir(parents=True, exist_ok=True)
    for file in sorted((args.data / "pawsx").glob("dev-*.tsv")):
        language = file.stem.removeprefix("dev-")
        lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
        (folder / f"test-{language}.tsv").write_text("".join(islice(lines, PAWSX_TRAIN, None)))
        if language == "en":
            (folder / "train-en.tsv").write_text("".join(lines[:PAWSX_TRAIN]))
            (folder / "dev-en.tsv").write_text("".join(lines[:PAWSX_TRAIN]))
    return folder.parent


def tried_on(args: argparse.Namespace, target: str) -> Path:
    """Where the evaluation reads; LAReQA's pool, all languages there are, is bounded as well."""
    if target != "lareqa" or args.full:
        return data_of(args, target)
    folder = Path(args.work) / "data" / "lareqa" / "lareqa" / "xquad-r"
    folder.mkdir(parents=True, exist_ok=True)
    for language in PLANS[target].langs.split(","):
        shutil.copy(args.data / "lareqa" / "xquad-r" / f"{language}.json", folder)
    return folder.parents[1]


def page(args: argparse.Namespace) -> str:
    """What has been measured so far."""
    targets = [name for name in PLANS if (args.work / f"{name}.json").exists()]
    found = {name: json.loads((args.work / f"{name}.json").read_text()) for name in targets}
    lines = [
        "# Zero-shot transfer: each target alone, and on top of an intermediate task",
        "",
        f"Backbone `{args.backbone}`, bottleneck adapters, {args.epochs:g} epoch(s), seed "
        f"{args.seed}, trained in English only; "
        + ("all examples. " if args.full else "a bounded number of examples (named below). ")
        + "Averages are over the languages other than English. One seed: differences below about "
        "a point are noise. Made by `python benchmarks/zero_shot.py --data DATA`.",
        "",
        "| target | metric | languages | alone: en | others | on | stacked: en | others | gain |",
        "|---|---|---|---|---|---|---|---|---|",
        *(summary(name, found[name]) for name in targets),
        "",
        *verdict(found),
    ]
    for name in targets:
        lines += ["", *detail(args, name, found[name])]
    notes = Path(__file__).with_name("zero_shot_notes.md")
    closing = "\n" + notes.read_text(encoding="utf-8") if notes.exists() else ""
    return "\n".join(lines) + "\n" + closing


def _means(target: str, row: dict[str, Any]) -> tuple[float | None, float]:
    key = primary(get_target(target).metric)
    scores = {language: each[key] for language, each in row["scores"].items()}
    return scores.get("en"), mean(value for lang, value in scores.items() if lang != "en")


def summary(target: str, rows: Sequence[dict[str, Any]]) -> str:
    """One target's line."""
    (en, others), (en_on, others_on) = (_means(target, row) for row in rows)

    def cell(value: float | None) -> str:
        return "–" if value is None else f"{value:.1f}"

    return (
        f"| {target} | {primary(get_target(target).metric)} | {len(rows[0]['scores'])} | "
        f"{cell(en)} | {others:.1f} | {PLANS[target].below} | {cell(en_on)} | {others_on:.1f} | "
        f"{others_on - others:+.1f} |"
    )


def verdict(found: dict[str, Any]) -> list[str]:
    """Where stacking does not help, said in words."""
    worse = []
    for target, rows in found.items():
        (_, others), (_, others_on) = (_means(target, row) for row in rows)
        if others_on <= others:
            worse.append(f"{target} ({others_on - others:+.1f})")
    if not worse:
        return ["Stacking helps every target measured here."]
    return [f"Stacking does not help zero-shot transfer for {', '.join(worse)}."]


def detail(args: argparse.Namespace, target: str, rows: Sequence[dict[str, Any]]) -> list[str]:
    """One target's scores by language."""
    plan, key = PLANS[target], primary(get_target(target).metric)
    languages = list(rows[0]["scores"])
    retrieval = get_target(target).retrieval is not None
    columns = ("composition", *(("layer", "pooling") if retrieval else ()), *languages)
    bounds = [
        f"{plan.train:,} training examples" if plan.train and not args.full else "",
        f"{plan.rows:,} rows a language" if plan.rows and not args.full else "",
        f"split `{plan.split}`",
        plan.note,
    ]
    return [
        f"## {target}",
        "",
        f"{'; '.join(filter(None, bounds))}.",
        "",
        f"| {' | '.join(columns)} |",
        "|" + "---|" * len(columns),
        *(f"| {' | '.join(_cells(row, languages, key, retrieval))} |" for row in rows),
    ]


def _cells(row: dict[str, Any], languages: Sequence[str], key: str, retrieval: bool) -> list[str]:
    scores = [f"{row['scores'][language][key]:.1f}" for language in languages]
    return [f"`{row['composition']}`", *(vectors_of(row) if retrieval else ()), *scores]


def vectors_of(row: dict[str, Any]) -> list[str]:
    """Layer and pooling of a retrieval task's sentence vectors, as the record says them.

    Records of before these were kept do not.
    """
    made = row.get("vectors") or [["not recorded"] * 2]
    return [", ".join(dict.fromkeys(str(each[place]) for each in made)) for place in (0, 1)]


if __name__ == "__main__":
    main()
