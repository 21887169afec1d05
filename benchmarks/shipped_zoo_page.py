"""Makes docs/results/zoo.md of the committed records of `shipped_zoo.py`.

python benchmarks/shipped_zoo_page.py
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from statistics import mean
from typing import Any

from shipped_zoo import PLANS

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

Row = dict[str, Any]


def main() -> None:
    """Writes the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--records", type=Path, default=RECORDS)
    parser.add_argument("--out", type=Path, default=Path("docs/results/zoo.md"))
    args = parser.parse_args()
    lines = args.records.read_text(encoding="utf-8").splitlines()
    last = {row["name"]: row for row in map(json.loads, lines)}
    rows = [last[plan.name] for plan in PLANS if plan.name in last]
    args.out.write_text(page(rows), encoding="utf-8")


def page(rows: list[Row]) -> str:
    """The page."""
    missing = [plan.name for plan in PLANS if plan.name not in {row["name"] for row in rows}]
    machines = ", ".join(sorted({row["machine"] for row in rows}))
    commits = ", ".join(sorted({row["commit"] for row in rows}))
    other = [row["name"] for row in rows if not is_shipped(row)]
    kept = (
        f"Not shipped, since their predecessors in the zoo are better: {', '.join(other)}.\n\n"
        if other
        else ""
    )
    left = f"Not made yet: {', '.join(missing)}.\n\n" if missing else ""
    return f"""# The modules of the zoo

{len(rows)} of {len(PLANS)} modules on the embedded backbone, one seed each, on all rows of the data
that each card names. Machine: {machines}; commit {commits}. Made by `python
benchmarks/shipped_zoo.py --data DATA`, the page by `python benchmarks/shipped_zoo_page.py` from
[the records](records/zoo.jsonl).

{kept}{left}## English dev

Scores in percent after every half pass or so; the best is kept. The aim was set beforehand.
Minutes are those of a training beside up to fourteen others where the machine is a GPU.

| module | metric | rows | steps | rate | dev as it rose | kept | aim | minutes |
|---|---|---|---|---|---|---|---|---|
{chr(10).join(map(_dev, rows))}

{_others([row for row in rows if row["evaluations"]])}"""


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


def _others(rows: list[Row]) -> str:
    """Targets in other languages."""
    if not rows:
        return ""
    found = []
    for row in rows:
        ((task, scores),) = row["evaluations"].items()
        metric = next(iter(next(iter(scores.values()))))
        english = f"{scores['en'][metric]:.1f}" if "en" in scores else ""
        others = {lang: each[metric] for lang, each in scores.items() if lang != "en"}
        listed = ", ".join(f"{lang} {value:.1f}" for lang, value in sorted(others.items()))
        found.append(
            f"| {row['name']} | {task} {row['split']}, {metric} | {english} | "
            f"**{mean(others.values()):.1f}** | {listed} |"
        )
    return (
        "## Targets in other languages, zero-shot\n\n"
        "| module | scored on | English | mean of the others | each |\n|---|---|---|---|---|\n"
        + "\n".join(found)
        + "\n"
    )


if __name__ == "__main__":
    main()
