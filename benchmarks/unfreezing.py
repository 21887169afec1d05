"""Does top-down gradual unfreezing help zero-shot transfer on this backbone?

Trains modules with and without it, of several seeds and budgets, and scores them in English and in
other languages. A training that is in the records is not repeated.

    python benchmarks/unfreezing.py --data DATA
"""

from __future__ import annotations

import argparse
import shutil
from itertools import product
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from steps import add_row, commit, read_rows, side_by_side

RECORDS = Path("docs/results/records/unfreezing.jsonl")
PAGE = Path("docs/results/unfreezing.md")
FRACTION = 0.5
"""The part of the steps after which all layers learn, as in `--unfreeze top-down`."""
LANGS = {
    "xquad": "en,ar,de,es,hi,ru,th,tr,vi,zh",
    "udpos": "en,ar,de,fi,hi,ja,tr,vi,zh",
}
STEPS = (500, 1500)
SEEDS = (0, 1, 2)
ROWS = {"xquad": 200, "udpos": 200}
Row = dict[str, Any]


def main() -> None:
    """Runs what is missing and writes the page."""
    args = arguments()
    if not args.page:
        train(args)
    args.out.write_text(page(read_rows(args.records)), encoding="utf-8")


def train(args: argparse.Namespace) -> None:
    """Adds a record for every training that has none."""
    args.work.mkdir(parents=True, exist_ok=True)
    done = {tuple(row[key] for key in KEY) for row in read_rows(args.records)}
    every = product(args.seeds, args.steps, args.targets, (0.0, FRACTION))
    missing = [(args, *each) for each in every if each not in done]
    for row in side_by_side(args.jobs, run, missing):
        add_row(args.records, row)
        print(*(row[key] for key in KEY), row["scores"]["en"], row["others"], flush=True)


KEY = ("seed", "steps", "target", "fraction")


def arguments() -> argparse.Namespace:
    """What the command line says."""
    found = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    found.add_argument("--data", type=Path, help="needed unless --page")
    found.add_argument("--backbone", default="embedded")
    found.add_argument("--steps", type=int, nargs="+", default=list(STEPS))
    found.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    found.add_argument("--targets", nargs="+", default=list(LANGS), choices=list(LANGS))
    found.add_argument("--jobs", type=int, default=1, help="trainings at a time")
    found.add_argument("--work", type=Path, default=Path("runs/unfreezing"))
    found.add_argument("--records", type=Path, default=RECORDS)
    found.add_argument("--out", type=Path, default=PAGE)
    found.add_argument("--page", action="store_true", help="the page alone")
    return found.parse_args()


def run(args: argparse.Namespace, seed: int, steps: int, target: str, fraction: float) -> Row:
    """One training and its scores."""
    from adapter_stilts import evaluate, train_target
    from adapter_stilts.environment import machine
    from adapter_stilts.metrics import primary
    from adapter_stilts.tasks.registry import get_target

    work = args.work / f"{target}-{steps}-{fraction:g}-{seed}"
    trained = train_target(
        target,
        backbone=args.backbone,
        data=str(args.data),
        seed=seed,
        steps=steps,
        evaluations=1,
        patience=0,
        dev_limit=64,
        keep="last",
        unfreeze="top-down" if fraction else "none",
        unfreeze_fraction=fraction,
        out=work / "module",
        overwrite=True,
        quiet=True,
    )
    (found,) = evaluate(
        target,
        compositions=[str(trained.path)],
        backbone=args.backbone,
        data=str(args.data),
        langs=LANGS[target],
        limit=ROWS[target],
        out=work / "predictions",
        overwrite=True,
    )
    metric = primary(get_target(target).metric)
    scores = {lang: each[metric] for lang, each in found.scores.items()}
    shutil.rmtree(work)
    return {
        "seed": seed,
        "steps": steps,
        "target": target,
        "fraction": fraction,
        "metric": metric,
        "scores": scores,
        "others": mean(score for lang, score in scores.items() if lang != "en"),
        "rows": ROWS[target],
        "lr": trained.record.recipe["lr"],
        "seconds": round(trained.record.seconds),
        "machine": machine(),
        "commit": commit(),
    }


def page(rows: list[Row]) -> str:
    """The comparison as a table, and whether gradual unfreezing wins."""
    pairs = sorted({(row["target"], row["steps"]) for row in rows})
    found = [(*pair, *_differences(rows, *pair)) for pair in pairs]
    lines = [
        f"| {target} | {steps:,} | {_value(rows, target, steps, 0.0)} | "
        f"{_value(rows, target, steps, FRACTION)} | {_spread(english)} | {_spread(others)} |"
        for target, steps, english, others in found
    ]
    wins = [
        f"{target} at {steps:,} steps"
        for target, steps, _, others in found
        if len(others) > 1 and mean(others) > 2 * stdev(others) / len(others) ** 0.5
    ]
    planned = [(*pair, SEEDS) for pair in product(LANGS, STEPS)]
    lacking = [
        f"{target} at {steps:,} steps ({len(seeds) - len(have)} seeds)"
        for target, steps, seeds in planned
        if len(have := _differences(rows, target, steps)[1]) < len(seeds)
    ]
    if lacking:
        said = f"Not settled, so that it is no default. Missing: {', '.join(lacking)}."
    elif not wins:
        said = "It wins nowhere by more than two standard errors: it stays an option, no default."
    elif len(wins) == len(found):
        said = "It wins everywhere by more than two standard errors."
    else:
        said = f"It wins by more than two standard errors on {', '.join(wins)}, and nowhere else."
    rates = ", ".join(f"{rate:g}" for rate in sorted({row["lr"] for row in rows}))
    machines = ", ".join(sorted({row["machine"] for row in rows}))
    commits = ", ".join(sorted({row["commit"] for row in rows}))
    seeds = len({row["seed"] for row in rows})
    return f"""# Top-down gradual unfreezing

Bottleneck modules on the embedded backbone, at the default rates ({rates}); {seeds} of
{len(SEEDS)} seeds, "±" is the standard deviation over them, differences are paired by seed. With
gradual unfreezing the top layer learns first, and all layers learn from half of the steps on.
{ROWS["xquad"]} items a language; F1 of XQuAD and of UD-POS. Machine: {machines}; commit {commits}.
Made by `python benchmarks/unfreezing.py --data DATA` of [the records](records/unfreezing.jsonl).

| target | steps | others, all layers at once | others, top-down | top-down brings in English | \
and in the others |
|---|---|---|---|---|---|
{chr(10).join(lines)}

{said}
"""


def _differences(rows: list[Row], target: str, steps: int) -> tuple[list[float], list[float]]:
    """What it brings, by seed: in English, and on the mean of the others."""
    known = {
        (row["seed"], row["fraction"]): row
        for row in rows
        if (row["target"], row["steps"]) == (target, steps)
    }
    both = [
        (row, known[seed, FRACTION])
        for (seed, fraction), row in sorted(known.items())
        if fraction == 0 and (seed, FRACTION) in known
    ]
    english = [top_down["scores"]["en"] - plain["scores"]["en"] for plain, top_down in both]
    return english, [top_down["others"] - plain["others"] for plain, top_down in both]


def _value(rows: list[Row], target: str, steps: int, fraction: float) -> str:
    key = (target, steps, fraction)
    values = [r["others"] for r in rows if (r["target"], r["steps"], r["fraction"]) == key]
    return f"{mean(values):.1f}" if values else ""


def _spread(values: list[float]) -> str:
    if not values:
        return ""
    return f"{mean(values):+z.1f}" + (f" ± {stdev(values):.1f}" if len(values) > 1 else "")


if __name__ == "__main__":
    main()
