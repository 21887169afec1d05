"""Does top-down gradual unfreezing help zero-shot transfer on this backbone?

Trains SQuAD adapters and LoRAs with and without it on the same questions, for several seeds, and
scores them on XQuAD: English against the average over nine other languages. Finished runs are
kept and not repeated.

    python benchmarks/unfreezing.py --data DATA --limit 3000 --seeds 0 1
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from xquad import xquad_f1, zero_shot_mean

from adapter_stilts import load, train_adapter


def main() -> None:
    """Runs what is missing and writes the page."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--backbone", default="embedded")
    parser.add_argument("--limit", type=int, default=3000)
    parser.add_argument("--epochs", type=float, default=2)
    parser.add_argument("--questions", type=int, default=150)
    parser.add_argument("--methods", nargs="+", default=["bottleneck"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--fractions", nargs="+", type=float, default=[0.0, 0.5])
    parser.add_argument("--work", type=Path, default=Path("runs/unfreezing"))
    parser.add_argument("--out", type=Path, default=Path("docs/results/unfreezing.md"))
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    rows = [
        run(args, method, seed, fraction)
        for seed in args.seeds
        for method in args.methods
        for fraction in args.fractions
    ]
    notes = Path(__file__).with_name("unfreezing_notes.md")
    closing = "\n" + notes.read_text(encoding="utf-8") if notes.exists() else ""
    args.out.write_text(page(args, rows) + closing, encoding="utf-8")


def run(args: argparse.Namespace, method: str, seed: int, fraction: float) -> dict[str, object]:
    """One training and its scores, from the folder of finished runs if it is there."""
    name = f"{method}-{fraction:g}-{seed}-{args.limit}-{args.epochs:g}"
    kept = args.work / f"{name}.json"
    if kept.exists():
        found: dict[str, object] = json.loads(kept.read_text())
        return found
    trained = train_adapter(
        "squad",
        backbone=args.backbone,
        data=str(args.data),
        limit=args.limit,
        dev_limit=300,
        seed=seed,
        out=args.work / name,
        overwrite=True,
        method=method,
        epochs=args.epochs,
        evaluations=2,
        patience=0,
        unfreeze="top-down" if fraction else "none",
        unfreeze_fraction=fraction,
    )
    scores = xquad_f1(load(trained.path), args.data, questions=args.questions)
    row = {
        "method": method,
        "fraction": fraction,
        "seed": seed,
        "scores": scores,
        "zero-shot": zero_shot_mean(scores),
        "seconds": trained.record.seconds,
        "machine": trained.record.machine,
    }
    kept.write_text(json.dumps(row))
    return row


def page(args: argparse.Namespace, rows: list[dict[str, object]]) -> str:
    """The results as a table."""
    lines = [
        "# Top-down gradual unfreezing",
        "",
        f"SQuAD adapters on the backbone `{args.backbone}`: {args.limit:,} English questions, "
        f"{args.epochs:g} epochs; F1 on the first {args.questions} questions of XQuAD in ten "
        "languages. The fraction is the part of the steps after which all layers learn (0: no "
        f"gradual unfreezing). Machine: {rows[0]['machine']}. Made by `benchmarks/unfreezing.py`.",
        "",
        "| method | seed | fraction | en | other nine | training seconds |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        scores = row["scores"]
        assert isinstance(scores, dict)
        lines.append(
            f"| {row['method']} | {row['seed']} | {row['fraction']:g} | {scores['en']:.1f} "
            f"| {row['zero-shot']:.1f} | {row['seconds']:.0f} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
