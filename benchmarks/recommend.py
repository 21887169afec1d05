"""How often `adstilts recommend` is right, on the finished runs of a study.

For every target that the study trained on single modules, the modules are ranked by each rule and
by their mean; how good these rankings are is compared with lot, the size of the sources' data, and
always the same source. Targets that are in the records are not ranked again; what every module
brought to them is read from the study anew, which may have more seeds by now:

python benchmarks/recommend.py --results STUDY/results.jsonl --zoo ZOO --data DATA
python benchmarks/recommend.py --page     # docs/results/recommend.md from the records alone
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rule_quality import Quality, matrix_of, rate_rules, sizes_of
from steps import add_row, commit, read_rows

from adapter_stilts.environment import machine
from adapter_stilts.study.folder import read_results
from adapter_stilts.study.recommendation import RULES, Recommendation
from adapter_stilts.study.recommender import recommend
from adapter_stilts.tasks.registry import get_target
from adapter_stilts.zoo.record import ModuleRecord

RECORDS = Path("docs/results/records/recommend.jsonl")
PAGE = Path("docs/results/recommend.md")
Row = dict[str, Any]


def main() -> None:
    """Ranks for every target of the study, then writes the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--results", type=Path, help="results.jsonl of a study")
    parser.add_argument("--zoo", type=Path, help="folder with a module of every source's name")
    parser.add_argument("--data", default=None)
    parser.add_argument("--method", default="bottleneck")
    parser.add_argument("--examples", type=int, default=300)
    parser.add_argument("--records", type=Path, default=RECORDS)
    parser.add_argument("--out", type=Path, default=PAGE)
    parser.add_argument("--page", action="store_true", help="the page alone")
    args = parser.parse_args()
    if not args.page:
        if not (args.results and args.zoo):
            parser.error("--results and --zoo are needed, or --page")
        rank(args)
    args.out.write_text(page(read_rows(args.records)), encoding="utf-8")


def rank(args: argparse.Namespace) -> None:
    """Adds a record for every target that has none, and brings the others' scores up to date."""
    runs = list(read_results(args.results).runs.values())
    matrix, sizes = matrix_of(runs, args.method), sizes_of(runs)
    rows = read_rows(args.records)
    done = {row["target"] for row in rows}
    now = [{**row, "scores": matrix.get(row["target"], row["scores"])} for row in rows]
    if now:
        args.records.write_text("".join(f"{json.dumps(row)}\n" for row in now), encoding="utf-8")
    for target, row in matrix.items():
        if target in done or not get_target(target).training:
            continue
        modules = [str(args.zoo / name) for name in row]
        found = recommend(target, modules=modules, data=args.data, examples=args.examples)
        # Sources of the zoo have no run in the study: their records know.
        record = made(found, row, {n: sizes.get(n) or rows_of(args.zoo / n) for n in row})
        add_row(args.records, record)
        print(f"{target}: {found.answer}", flush=True)


def rows_of(module: Path) -> int:
    """On how many rows a module of the zoo was trained."""
    return int(ModuleRecord.read(module).data["train"]["examples"])


def made(found: Recommendation, scores: Mapping[str, float], sizes: Mapping[str, int]) -> Row:
    """The record of one target: what was predicted, and what came."""
    order = {
        str(rule): [each.module for each in sorted(told, key=lambda each: -each.scores[rule])]
        for rule in RULES
        if (told := [each for each in found.modules if rule in each.scores])
    }
    return {
        "target": found.target,
        "backbone": found.backbone,
        "examples": found.examples,
        "rankings": {**order, "mean rank": [each.module for each in found.modules]},
        "first": found.best.first,
        "scores": dict(scores),
        "sizes": dict(sizes),
        "seconds": dict(found.seconds),
        "machine": machine(),
        "commit": commit(),
    }


def rated(rows: Sequence[Row]) -> dict[str, Quality]:
    """The quality of every rule over the targets that all of them rank."""
    rankings: dict[str, dict[str, Sequence[str]]] = defaultdict(dict)
    for row in rows:
        for rule, order in row["rankings"].items():
            rankings[rule][row["target"]] = order
    matrix = {row["target"]: row["scores"] for row in rows}
    sizes = {name: size for row in rows for name, size in row["sizes"].items()}
    return rate_rules(matrix, rankings, sizes)


def page(rows: Sequence[Row]) -> str:
    """The table, and what it was measured on."""
    lines = ["# How often is `recommend` right?", ""]
    found = rated(rows)
    if not found:
        return "\n".join([*lines, "Nothing is measured yet.", ""])
    count = next(iter(found.values())).targets
    backbones, machines, commits = (
        ", ".join(sorted({str(row[key]) for row in rows})) for key in
        ("backbone", "machine", "commit")
    )  # fmt: skip
    few = f" {count} targets are few: differences between rules are mostly chance." * (count < 20)
    seconds = sum(sum(row["seconds"].values()) for row in rows) / len(rows)
    lines += [
        f"{count} targets on backbone {backbones}; {seconds:.0f} seconds a target in the mean. "
        f"Machine: {machines}; commit {commits}. Made by `python benchmarks/recommend.py`, the "
        "page from [the records](records/recommend.jsonl).",
        "",
        "Regret@k: percent of the best source's score that is lost by trying only the first k of "
        "a ranking. nDCG@3: the gain among the first three as percent of the best order's. By "
        f"lot: the mean over all orders. A score is the mean over the study's seeds.{few}",
        "",
        "| ranking | regret@1 | regret@3 | nDCG@3 |",
        "|---|---|---|---|",
        *(
            f"| {rule} | {each.regret_at_1:.1f} | {each.regret_at_3:.1f} | {each.ndcg_at_3:.1f} |"
            for rule, each in found.items()
        ),
        "",
        "| target | best source | by mean rank | first in draws | regret@1 of it |",
        "|---|---|---|---|---|",
        *map(_row, rows),
        "",
    ]
    return "\n".join(lines)


def _row(row: Row) -> str:
    scores: dict[str, float] = row["scores"]
    best = max(scores, key=lambda name: scores[name])
    chosen = next((name for name in row["rankings"]["mean rank"] if name in scores), "-")
    lost = 100 * (scores[best] - scores[chosen]) / scores[best] if chosen in scores else 100.0
    return (
        f"| {row['target']} | {best} {scores[best]:.1f} | {chosen} {scores.get(chosen, 0.0):.1f} | "
        f"{100 * row['first']:.0f} % | {lost:.1f} |"
    )


if __name__ == "__main__":
    main()
