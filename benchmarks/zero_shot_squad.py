"""The SQuAD adapter, trained on English alone, on XQuAD in ten languages.

python benchmarks/zero_shot_squad.py --data DATA
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from xquad import LANGUAGES, xquad_f1, zero_shot_mean

from adapter_stilts import load, train_adapter
from adapter_stilts.paths import zoo_dir


def main() -> None:
    """Trains (or continues) the adapter, scores it, and writes the page."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--backbone", default="embedded")
    parser.add_argument("--method", default="bottleneck")
    parser.add_argument("--epochs", type=float, default=2)
    parser.add_argument("--questions", type=int, default=1190)
    parser.add_argument("--module", type=Path, default=zoo_dir() / "zero-shot" / "squad")
    parser.add_argument("--out", type=Path, default=Path("docs/results/zero_shot_squad.md"))
    args = parser.parse_args()
    if not (args.module / "module.json").exists():
        train_adapter(
            "squad",
            backbone=args.backbone,
            data=str(args.data),
            method=args.method,
            epochs=args.epochs,
            evaluations=4,
            patience=0,
            out=args.module,
            resume=True,
        )
    module = load(args.module)
    scores = xquad_f1(module, args.data, questions=args.questions)
    args.module.with_suffix(".xquad.json").write_text(json.dumps(scores))
    record = module.record
    lines = [
        "# Zero-shot question answering with the SQuAD adapter",
        "",
        f"A {record.method} module trained on {record.data['train']['examples']:,} English "
        f"questions, {args.epochs:g} epochs, frozen backbone `{record.backbone['name']}`; "
        f"{record.seconds:,.0f} seconds on {record.machine}. English dev F1 "
        f"{record.scores['f1']:.1f}. F1 on the first {args.questions:,} questions of XQuAD in each "
        "language, none of which it saw in training but English. Training data: SQuAD 1.1's dev "
        "set without XQuAD's paragraphs. Made by `python benchmarks/zero_shot_squad.py --data "
        "DATA`.",
        "",
        f"| {' | '.join(LANGUAGES)} | mean without en |",
        "|" + "---|" * (len(LANGUAGES) + 1),
        f"| {' | '.join(f'{scores[each]:.1f}' for each in LANGUAGES)} "
        f"| {zero_shot_mean(scores):.1f} |",
    ]
    args.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
