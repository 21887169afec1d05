"""Scores the shipped modules on every target's official test set, with standard errors.

One seed of each module is there, so the error is that of the items alone: they are drawn anew,
questions by their article, and in parallel test sets once for all languages. Each evaluation is a
line of docs/results/records/shipped_scores.jsonl; stopped, the script goes on where it was.
`shipped_zoo_page.py` makes docs/results/zoo.md and README's table of the lines.

    python benchmarks/shipped_scores.py --data DATA
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from steps import add_row, commit, read_rows, side_by_side

from adapter_stilts import evaluate
from adapter_stilts.engine.composition import NONE
from adapter_stilts.environment import machine
from adapter_stilts.evaluation.data import read_data
from adapter_stilts.evaluation.items import ensure_items, has_items
from adapter_stilts.evaluation.run import Evaluation
from adapter_stilts.study.items import Seeds, make_sample
from adapter_stilts.study.sample import Sample
from adapter_stilts.tasks.registry import get_target
from adapter_stilts.zoo.resolve import resolve

DRAWS = 2000
RECORDS = Path("docs/results/records/shipped_scores.jsonl")


@dataclass(frozen=True)
class Plan:
    """A composition on a target; `split` is dev where the test's labels are not at hand."""

    target: str
    composition: str
    split: Literal["test", "dev"] = "test"
    note: str = ""


PLANS = (
    Plan("xcopa", "embedded/xcopa"),
    Plan("tydiqa", "embedded/tydiqa"),
    Plan("tatoeba", "none", note="no module"),
    Plan("xnli", "embedded/xnli"),
    Plan("panx", "embedded/panx", "dev"),
    Plan("udpos", "embedded/udpos"),
    Plan("mlqa", "embedded/squad", "dev"),
    Plan("xquad", "embedded/squad", note="its articles are of SQuAD's dev set"),
    Plan("bucc2018", "none", "dev", "no module; threshold chosen on the same set"),
    Plan("lareqa", "none", note="no module"),
)


def main() -> None:
    """Evaluates what is not in the records yet."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--only", nargs="+", choices=[plan.target for plan in PLANS])
    parser.add_argument("--jobs", type=int, default=1, help="evaluations at a time")
    parser.add_argument("--work", type=Path, default=Path("runs/shipped_scores"))
    parser.add_argument("--records", type=Path, default=RECORDS)
    args = parser.parse_args()
    chosen = [plan for plan in PLANS if not args.only or plan.target in args.only]
    calls = [(args.work, args.data, plan) for plan in chosen]
    for row in side_by_side(args.jobs, measure, calls):
        if row not in read(args.records):
            add_row(args.records, row)
        print(f"{row['target']}: {row['others']:.1f}", flush=True)


def read(records: Path) -> list[dict[str, Any]]:
    """The rows so far, the last of each target and composition."""
    rows = read_rows(records)
    return list({(row["target"], row["composition"]): row for row in rows}.values())


def measure(work: Path, data: Path, plan: Plan) -> dict[str, Any]:
    """One evaluation; what is done already is read."""
    target, start = get_target(plan.target), time.monotonic()
    (found,) = evaluate(
        plan.target,
        compositions=[plan.composition],
        backbone="embedded",
        data=str(data),
        split=plan.split,
        out=work / plan.target,
        precision="fp32",
    )
    scores: dict[str, dict[str, float]] = {
        language: {"score": each[found.metric]}
        for language, each in found.scores.items()
        if language not in found.outside
    }
    sample = items(found, list(scores), data)
    others = [language for language in scores if language != "en"]
    mean_error = None
    if sample:
        drawn = sample.resample(np.random.default_rng(0), DRAWS)["module"][:, :, 0, 0]
        for place, language in enumerate(sample.languages):
            scores[language]["error"] = float(drawn[:, place].std())
            scores[language]["items"] = len(sample.clusters[language])
        places = [sample.languages.index(each) for each in others]
        mean_error = float(drawn[:, places].mean(axis=1).std())
    return {
        "target": plan.target,
        "composition": plan.composition,
        "run": "" if plan.composition == NONE else resolve(plan.composition).record.run,
        "split": plan.split,
        "metric": found.metric,
        "note": plan.note,
        "parallel": target.parallel,
        "vectors": [list(each) for each in found.vectors],
        "languages": scores,
        "others": float(np.mean([scores[each]["score"] for each in others])),
        "others_error": mean_error,
        "seconds": round(time.monotonic() - start),
        "machine": machine(),
        "commit": commit(),
    }


def items(found: Evaluation, languages: list[str], data: Path) -> Sample | None:
    """The items of all languages; None where a score is no sum over items."""
    target = get_target(found.task)
    entries = {name: found.languages[name] for name in languages}
    if not all(has_items(target, entry) for entry in entries.values()):
        return None
    own = read_data(target, languages, found.split, str(data), limit=None).languages
    tables = {}
    for name, entry in entries.items():
        table = ensure_items(found.folder, entry, target, found.split, name, own[name], str(data))
        tables[name] = {Seeds(0, 0): table}
    return make_sample({"module": tables}, parallel=target.parallel)


if __name__ == "__main__":
    main()
