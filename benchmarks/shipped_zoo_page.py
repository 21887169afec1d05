"""Makes docs/results/zoo.md, and README's table, of committed records.

The records are those of `shipped_zoo.py` and `shipped_scores.py`.

python benchmarks/shipped_zoo_page.py
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from statistics import mean
from typing import Any

import shipped_scores
from shipped_zoo import PASSES, PLANS

from adapter_stilts.engine.methods import is_fusion
from adapter_stilts.zoo.record import RECORD, ModuleRecord

ZOO = Path("adapters_zoo/embedded")
RECORDS = Path("docs/results/records/zoo.jsonl")
AIMS = {
    "squad": 73.0,
    "squad-v2": 62.0,
    "mnli": 68.0,
    "anli-plus": 61.0,
    "qqp": 76.0,
    "ccg": 91.0,
    "commonsense-qa": 40.0,
    "cosmos-qa": 50.0,
    "hellaswag": 30.0,
}
"""Scores of English dev that were aimed at, set before the first training."""

BEGIN, END = "<!-- scores: begin -->", "<!-- scores: end -->"
"""Around the table in README."""

Row = dict[str, Any]


def main() -> None:
    """Writes the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--records", type=Path, default=RECORDS)
    parser.add_argument("--scores", type=Path, default=shipped_scores.RECORDS)
    parser.add_argument("--readme", type=Path, default=Path("README.md"))
    parser.add_argument("--out", type=Path, default=Path("docs/results/zoo.md"))
    args = parser.parse_args()
    lines = args.records.read_text(encoding="utf-8").splitlines()
    last = {row["name"]: row for row in map(json.loads, lines)}
    rows = [last[plan.name] for plan in PLANS if plan.name in last]
    order = [plan.target for plan in shipped_scores.PLANS]
    scores = sorted(shipped_scores.read(args.scores), key=lambda row: order.index(row["target"]))
    args.out.write_text(page(rows, scores), encoding="utf-8")
    text = args.readme.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    args.readme.write_text(f"{before}{BEGIN}\n{table(scores)}{END}{after}", encoding="utf-8")


def page(rows: list[Row], scores: list[Row]) -> str:
    """The page."""
    missing = [plan.name for plan in PLANS if plan.name not in {row["name"] for row in rows}]
    machines = ", ".join(sorted({row["machine"] for row in rows}))
    commits = ", ".join(sorted({row["commit"] for row in rows}))
    other = [row["name"] for row in rows if not is_shipped(row)]
    fusions = [row for row in rows if is_fusion(row["method"])]
    kept = (
        f"Not shipped, since other modules of the zoo do the same better: {', '.join(other)}.\n\n"
        if other
        else ""
    )
    left = f"Not made yet: {', '.join(missing)}.\n\n" if missing else ""
    return f"""# The modules of the zoo

{len(rows)} of {len(PLANS)} modules on the embedded backbone, of one seed each (whose names end in
`-s1`, of another), on all rows of the data that each card names. Machine: {machines};
commit {commits}. Made by `python
benchmarks/shipped_zoo.py --data DATA`, the page by `python benchmarks/shipped_zoo_page.py` from
[the records](records/zoo.jsonl).

{kept}{left}## English dev

Scores in percent after every half pass or so; the best is kept. The aim was set beforehand.
Minutes are those of a training beside up to fourteen others where the machine is a GPU.

| module | metric | rows | steps | rate | dev as it rose | kept | aim | minutes |
|---|---|---|---|---|---|---|---|---|
{chr(10).join(map(_dev, rows))}

{_multitask({row["name"]: row for row in rows})}{_others(scores)}{_fusions(fusions)}"""


def is_shipped(row: Row) -> bool:
    """Whether it is this training's module that lies in the zoo."""
    place = ZOO / row["name"]
    return bool((place / RECORD).is_file() and ModuleRecord.read(place).run == row["run"])


def _dev(row: Row) -> str:
    metric, score = next(iter(row["dev"].items()))
    points = [value for point in row["at"] for name, value in point.items() if name != "step"]
    aim = AIMS.get(row["task"]) if row["method"] == "bottleneck" else None
    cells = (
        row["name"],
        metric,
        f"{row['train_examples']:,}",
        f"{row['steps']:,}",
        f"{row['lr']:g}",
        " ".join(f"{value:.1f}" for value in points),
        f"**{score:.1f}**",
        "" if aim is None else f"{aim:.0f}{'' if score >= aim else ', missed'}",
        f"{row['seconds'] / 60:.0f}",
    )
    return f"| {' | '.join(cells)} |"


def _multitask(rows: dict[str, Row]) -> str:
    """What the module of all tasks reaches beside each task's own."""
    if "multitask" not in rows:
        return ""
    lines = []
    for key, score in rows["multitask"]["dev"].items():
        task, _, metric = key.partition(".")
        if own := rows.get(task):
            alone = own["dev"][metric]
            lines.append(f"| {task}, {metric} | {alone:.1f} | {score:.1f} | {score - alone:+.1f} |")
    return f"""## One module of all nine tasks

`multitask` has seen every row {PASSES["multitask"]} times, the modules of one task theirs three or
four times; five points below each of them at most were aimed at.

| task | own module | multitask | difference |
|---|---|---|---|
{chr(10).join(lines)}

"""


def _others(scores: list[Row]) -> str:
    """Targets in other languages."""
    if not scores:
        return ""
    machines = ", ".join(sorted({row["machine"] for row in scores}))
    return f"""## Targets in other languages, zero-shot

One seed of each module. ± is the standard error over items: they are drawn anew
{shipped_scores.DRAWS:,} times, questions by their article, and where a test set is parallel (marked
‖) once for all its languages. Machine: {machines}. Made by `python benchmarks/shipped_scores.py
--data DATA` from [the records](records/shipped_scores.jsonl).

{table(scores)}
| target | each language |
|---|---|
{chr(10).join(_each(row) for row in scores)}
"""


def _fusions(rows: list[Row]) -> str:
    """What fusions of the nine modules reach beside a target's own module."""
    if not rows:
        return ""
    lines = []
    for row in rows:
        ((target, scores),) = row["evaluations"].items()
        metric = next(iter(next(iter(scores.values()))))
        others = [each[metric] for name, each in scores.items() if name != "en"]
        english = f"{scores['en'][metric]:.1f}" if "en" in scores else ""
        lines.append(
            f"| {row['name']} | {target} {row['split']}, {metric} | {english} | "
            f"{mean(others):.1f} in {len(others)} |"
        )
    return f"""
## Lean fusions of all nine, zero-shot

Without errors over items; a target's own module stands in the table above.

| fusion | scored on | English | mean of the others |
|---|---|---|---|
{chr(10).join(lines)}
"""


def table(scores: list[Row]) -> str:
    """One line a target."""
    head = "| scored on | module | English | mean of the others | lowest, highest |"
    return f"{head}\n|---|---|---|---|---|\n" + "".join(f"{_line(row)}\n" for row in scores)


def _line(row: Row) -> str:
    scores = {name: each["score"] for name, each in row["languages"].items() if name != "en"}
    low, high = min(scores, key=scores.__getitem__), max(scores, key=scores.__getitem__)
    english = row["languages"].get("en")
    error = row["others_error"]
    cells = (
        f"{row['target']} {row['split']}{' ‖' if row['parallel'] else ''}, {row['metric']}",
        row["composition"].removeprefix("embedded/") + (f": {row['note']}" if row["note"] else ""),
        _score(english) if english else "",
        f"**{row['others']:.1f}**{'' if error is None else f' ± {error:.1f}'} in {len(scores)}",
        f"{low} {scores[low]:.1f}, {high} {scores[high]:.1f}",
    )
    return f"| {' | '.join(cells)} |"


def _each(row: Row) -> str:
    listed = (f"{name} {_score(each)}" for name, each in sorted(row["languages"].items()))
    return f"| {row['target']} | {', '.join(listed)} |"


def _score(each: dict[str, float]) -> str:
    return f"{each['score']:.1f}" + (f" ± {each['error']:.1f}" if "error" in each else "")


if __name__ == "__main__":
    main()
