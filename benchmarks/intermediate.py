"""All nine intermediate tasks, as bottleneck adapter, as LoRA, and as a head-only probe.

Writes docs/results/intermediate.md. Every run is kept and not repeated, so the script can be
stopped and started again. Without a GPU the number of training examples is bounded by `LIMITS`;
`--full` takes them all.

    python benchmarks/intermediate.py --data DATA
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path
from typing import Any

from steps import LIMITS, apart, parser

from adapter_stilts import get_task, train_adapter
from adapter_stilts.data import load_examples
from adapter_stilts.inference.predictions import Predictions, score_predictions
from adapter_stilts.metrics import primary
from adapter_stilts.tasks.registry import intermediate_tasks
from adapter_stilts.tasks.spec import TaskSpec

METHODS = ("head", "bottleneck", "lora")


def main() -> None:
    """Runs what is missing and writes the page."""
    known = parser(__doc__, "intermediate")
    known.add_argument("--tasks", nargs="+", default=list(intermediate_tasks()))
    known.add_argument("--methods", nargs="+", default=list(METHODS))
    known.add_argument("--dev-limit", type=int, default=600)
    args = known.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    for task in args.tasks:
        for method in args.methods:
            apart(run, args, task, method)
            args.out.write_text(page(args), encoding="utf-8")


def run(args: argparse.Namespace, task: str, method: str) -> dict[str, Any]:
    """One training's record, from the folder of finished runs if it is there."""
    kept = args.work / f"{task}-{method}.json"
    if kept.exists():
        found: dict[str, Any] = json.loads(kept.read_text())
        return found
    trained = train_adapter(
        task,
        backbone=args.backbone,
        data=str(args.data),
        method=method,
        epochs=args.epochs,
        limit=None if args.full else LIMITS[task],
        dev_limit=None if args.full else args.dev_limit,
        seed=args.seed,
        evaluations=1,
        patience=0,
        out=args.work / task / method,
        overwrite=True,
    )
    record = trained.record
    size = sum(path.stat().st_size for path in trained.path.glob("*.safetensors") if path.is_file())
    row = {
        "task": task,
        "method": method,
        "scores": record.scores,
        "train": record.data["train"]["examples"],
        "dev": record.data["dev"]["examples"],
        "seconds": record.seconds,
        "peak_memory_mb": record.peak_memory_mb,
        "parameters": record.parameters,
        "megabytes": size / 1e6,
        "machine": record.machine,
        "majority": majority(get_task(task), args),
    }
    kept.write_text(json.dumps(row))
    return row


def majority(task: TaskSpec, args: argparse.Namespace) -> float | None:
    """The score of giving every dev example the most frequent training label.

    For SQuAD 2.0 that is "no answer" throughout; SQuAD 1.1 has no such answer.
    """
    limit = None if args.full else args.dev_limit
    dev = load_examples(task, "dev", str(args.data), limit=limit, seed=args.seed).examples
    if task.head == "span":
        if not task.unanswerable:
            return None
        unanswerable = sum(not answers for answers in dev["answers"])
        return 100 * unanswerable / len(dev)
    train = load_examples(task, "train", str(args.data)).examples
    if task.head == "tagging":
        most = Counter(tag for tags in train["tags"] for tag in tags).most_common(1)[0][0]
        values: list[Any] = [[most] * len(words) for words in dev["words"]]
    else:
        most = Counter(train["label"]).most_common(1)[0][0]
        values = [most] * len(dev)
    return score_predictions(task, Predictions(task.head, values), dev)[primary(task.metric)]


def page(args: argparse.Namespace) -> str:
    """The finished runs as tables."""
    rows = [json.loads(path.read_text()) for path in sorted(args.work.glob("*.json"))]
    by_task: dict[str, dict[str, Any]] = {}
    for row in rows:
        by_task.setdefault(row["task"], {})[row["method"]] = row
    machines = ", ".join(sorted({row["machine"] for row in rows}))
    lines = [
        "# The nine intermediate tasks on the embedded backbone",
        "",
        f"Backbone `{args.backbone}` (multilingual-e5-small, 12 layers, 384 wide, frozen), "
        f"{args.epochs:g} epoch(s) over the training examples named in the table, seed "
        f"{args.seed}, default recipe. Machine: {machines}. Data: samples of the official "
        "releases (see the table), so scores do not compare digit for digit with published ones. "
        "Made by `python benchmarks/intermediate.py --data DATA`.",
        "",
        "Dev scores in percent. *Majority*: the most frequent training label throughout. *Probe*: "
        "a head alone on the frozen trunk, trained likewise. *Published*: a full-size model with "
        "every weight trained on all the data.",
        "",
        "| task | metric | train | dev | majority | probe | bottleneck | LoRA | published |",
        "|---|---|---|---|---|---|---|---|---|",
        *(score_line(task, methods) for task, methods in by_task.items()),
        "",
        "| task | method | trained parameters | file MB | seconds | peak memory MB |",
        "|---|---|---|---|---|---|",
        *(cost_line(row) for methods in by_task.values() for row in methods.values()),
    ]
    sources = [
        f"- {name}: {spec.published['model']}; {spec.published['source']}"
        for name, spec in intermediate_tasks().items()
        if spec.published and name in by_task
    ]
    notes = Path(__file__).with_name("intermediate_notes.md")
    closing = notes.read_text(encoding="utf-8") if notes.exists() else ""
    return "\n".join([*lines, "", "Published figures:", "", *sources, "", closing]).rstrip() + "\n"


def score_line(task: str, methods: dict[str, Any]) -> str:
    """One task's dev scores."""
    spec = get_task(task)
    key = primary(spec.metric)
    some = next(iter(methods.values()))
    published = spec.published.get("f1" if key == "best_f1" else key, "–")
    if spec.name == "qqp":
        published = f"accuracy {spec.published['accuracy']}"
    cells = [f"{methods[m]['scores'][key]:.1f}" if m in methods else "" for m in METHODS]
    baseline = "–" if some["majority"] is None else f"{some['majority']:.1f}"
    return (
        f"| {task} | {key} | {some['train']:,} | {some['dev']:,} | {baseline} | "
        f"{' | '.join(cells)} | {published} |"
    )


def cost_line(row: dict[str, Any]) -> str:
    """What one run cost."""
    return (
        f"| {row['task']} | {row['method']} | {row['parameters']:,} | {row['megabytes']:.1f} | "
        f"{row['seconds']:.0f} | {row['peak_memory_mb']:,.0f} |"
    )


if __name__ == "__main__":
    main()
