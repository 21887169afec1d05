"""Which weights of a training serve other languages best: best on English dev, last, or a mean?

Trains target modules, several seeds of each, and keeps the weights of every evaluation. Of one
training three modules come: that of the best English dev score, that of the last step, and the mean
of the last three (Schmidt et al. 2023, arXiv 2305.16834). Each is scored in other languages. A
training that is in the records is not repeated.

    python benchmarks/checkpoints.py --data DATA
"""

from __future__ import annotations

import argparse
import shutil
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from steps import add_row, commit, read_rows, side_by_side

RECORDS = Path("docs/results/records/checkpoints.jsonl")
LAST = 3
"""Evaluations whose weights are averaged."""
SEEDS = 3


@dataclass(frozen=True)
class Problem:
    """A target: where it is tried, in which languages, on how many rows of each."""

    split: str
    langs: str
    rows: int


PROBLEMS = {
    "udpos": Problem("test", "ar,de,fi,hi,ja,tr,vi,zh", 200),
    "panx": Problem("dev", "ar,de,el,fi,hi,sw,tr,zh", 400),
    "xnli": Problem("test", "ar,de,hi,sw,tr,zh", 500),
    "xcopa": Problem("test", "et,id,it,sw,ta,th,tr,vi,zh", 500),
    "tydiqa": Problem("test", "ar,bn,fi,id,ko,ru,sw", 100),
}
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
    done = {(row["target"], row["seed"], row["steps"]) for row in read_rows(args.records)}
    missing = [
        (args, target, seed)
        for seed in range(args.seeds)
        for target in args.targets
        if (target, seed, args.steps) not in done
    ]
    for row in side_by_side(args.jobs, run, missing):
        add_row(args.records, row)
        print(row["target"], row["seed"], {key: row[key] for key in KINDS}, flush=True)


def arguments() -> argparse.Namespace:
    """What the command line says."""
    found = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    found.add_argument("--data", type=Path, help="needed unless --page")
    found.add_argument("--backbone", default="embedded")
    found.add_argument("--seeds", type=int, default=SEEDS)
    found.add_argument("--steps", type=int, default=300)
    found.add_argument("--jobs", type=int, default=1, help="trainings at a time")
    found.add_argument("--work", type=Path, default=Path("runs/checkpoints"))
    found.add_argument("--records", type=Path, default=RECORDS)
    found.add_argument("--targets", nargs="+", default=list(PROBLEMS), choices=list(PROBLEMS))
    found.add_argument("--out", type=Path, default=Path("docs/results/checkpoints.md"))
    found.add_argument("--page", action="store_true", help="the page alone")
    return found.parse_args()


KINDS = ("best", "last", "mean")


def run(args: argparse.Namespace, target: str, seed: int) -> Row:
    """One training, and what its three modules reach."""
    from transformers import TrainerCallback
    from transformers.integrations import integration_utils

    from adapter_stilts import train_target
    from adapter_stilts.environment import machine
    from adapter_stilts.training.callbacks import place_of_best

    class Weights(TrainerCallback):
        """Keeps what learns, at every evaluation of the last stage."""

        kept: list[dict[str, Any]]

        def on_train_begin(self, args: Any, state: Any, control: Any, **more: Any) -> None:
            Weights.kept = []

        def on_evaluate(self, args: Any, state: Any, control: Any, **more: Any) -> None:
            learning = ((k, p) for k, p in more["model"].named_parameters() if p.requires_grad)
            Weights.kept.append({key: p.detach().clone() for key, p in learning})

    integration_utils.INTEGRATION_TO_CALLBACK["weights"] = Weights
    work = args.work / f"{target}-{seed}"
    trained = train_target(
        target,
        backbone=args.backbone,
        data=str(args.data),
        seed=seed,
        steps=args.steps,
        evaluations=6,
        patience=0,
        dev_limit=1000,
        out=work / "module",
        overwrite=True,
        quiet=True,
        report_to="weights",
    )
    kept, curve = Weights.kept, trained.record.learning_curve
    scores = [value for point in curve for name, value in point.items() if name != "step"]
    recent = kept[-LAST:]
    chosen = {
        "best": kept[place_of_best(scores)],
        "last": kept[-1],
        "mean": {key: sum(each[key] for each in recent) / len(recent) for key in recent[0]},
    }
    found = {kind: others(args, target, trained.path, chosen[kind]) for kind in KINDS}
    shutil.rmtree(work)
    return {
        "target": target,
        "seed": seed,
        "steps": args.steps,
        "dev": curve,
        **{kind: mean(each.values()) for kind, each in found.items()},
        "languages": found,
        "rows": PROBLEMS[target].rows,
        "split": PROBLEMS[target].split,
        "lr": trained.record.recipe["lr"],
        "seconds": round(trained.record.seconds),
        "machine": machine(),
        "commit": commit(),
    }


def others(
    args: argparse.Namespace, target: str, module: Path, weights: dict[str, Any]
) -> dict[str, float]:
    """Scores in the other languages of a module, with these weights in place of its own."""
    import torch

    from adapter_stilts import evaluate
    from adapter_stilts.metrics import primary
    from adapter_stilts.tasks.registry import get_target

    problem, engines = PROBLEMS[target], {}  # type: ignore[var-annotated]
    given: dict[str, Any] = {
        "compositions": [str(module)],
        "split": problem.split,
        "data": str(args.data),
        "backbone": args.backbone,
        "out": module.parent / "predictions",
        "engines": engines,
        "overwrite": True,
    }
    evaluate(target, langs=problem.langs.split(",")[:1], limit=1, **given)  # loads the module
    (engine,) = engines.values()
    own = dict(engine.model.named_parameters())
    with torch.no_grad():
        for key, value in weights.items():
            own[key].copy_(value)
    (found,) = evaluate(target, langs=problem.langs, limit=problem.rows, **given)
    metric = primary(get_target(target).metric)
    return {lang: scores[metric] for lang, scores in found.scores.items()}


def page(rows: list[Row]) -> str:
    """The comparison as a table."""
    by_target: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_target[row["target"]].append(row)
    lines = [_line(target, of) for target, of in by_target.items()]
    left = [f"{name} ({SEEDS - len(by_target[name])})" for name in PROBLEMS]
    left = [each for each in left if not each.endswith("(0)")]
    lacking = f"\nSeeds that are missing: {', '.join(left)}.\n" if left else ""
    gains = [mean(row["mean"] - row["best"] for row in of) for of in by_target.values() if of]
    error = stdev(gains) / len(gains) ** 0.5
    machines = ", ".join(sorted({row["machine"] for row in rows}))
    commits = ", ".join(sorted({row["commit"] for row in rows}))
    return f"""# Which weights of a training to keep

Target modules (bottleneck) on the embedded backbone, {rows[0]["steps"]} steps, dev scored six
times; the mean over other languages of the module that was best on English dev, of the last one,
and of the mean of the last {LAST}. "±" is the standard deviation over seeds; a difference is paired
by seed. Machine: {machines}; commit {commits}. Made by `python benchmarks/checkpoints.py --data
DATA` of [the records](records/checkpoints.jsonl).

| target | seeds | best | last | mean of {LAST} | mean − best | mean − last |
|---|---|---|---|---|---|---|
{chr(10).join(lines)}

Over the targets the mean of the last {LAST} is {mean(gains):+z.1f} points from the best (standard
error {error:.1f}).
{lacking}"""


def _line(target: str, rows: list[Row]) -> str:
    columns = [[row[kind] for row in rows] for kind in KINDS]
    best, last, mean_of = columns
    columns += [[a - b for a, b in zip(mean_of, other, strict=True)] for other in (best, last)]
    return f"| {target} | {len(rows)} | {' | '.join(map(_spread, columns))} |"


def _spread(values: list[float]) -> str:
    around = f" ± {stdev(values):.1f}" if len(values) > 1 else ""
    return f"{mean(values):z.1f}{around}"


if __name__ == "__main__":
    main()
