"""Makes docs/results/recipes.md and its picture of the committed records of `recipes.py`.

python benchmarks/recipes_page.py
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from recipes import cells as grid

from adapter_stilts.display import Picture, chart

RECORDS = Path("docs/results/records/recipes.jsonl")
NAMES = {
    "bottleneck": "bottleneck",
    "lora": "LoRA",
    "head": "head alone",
    "fusion-full": "full fusion",
    "fusion-lean": "lean fusion",
    "fusion-lean-lora": "fusion of LoRAs",
}
COLOURS = {50: "#56b4e9", 150: "#e69f00", 500: "#009e73", 1500: "#cc79a7"}
"""A line a budget; colours that the colour-blind tell apart (Okabe and Ito 2008)."""

Row = dict[str, Any]
Cell = tuple[str, str, int]


def main() -> None:
    """Writes page and picture."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--records", type=Path, default=RECORDS)
    parser.add_argument("--out", type=Path, default=Path("docs/results/recipes.md"))
    args = parser.parse_args()
    cells = read(args.records)
    drawing = args.out.with_suffix(".svg")
    picture(cells, drawing)
    args.out.write_text(page(cells, drawing.name), encoding="utf-8")


def read(records: Path) -> dict[Cell, list[Row]]:
    """The runs of every cell, by rising rate."""
    found: dict[Cell, list[Row]] = defaultdict(list)
    for line in records.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        found[row["way"], row["task"], row["steps"]].append(row)
    order = sorted(found, key=lambda cell: (list(NAMES).index(cell[0]), cell[1], cell[2]))
    return {cell: sorted(found[cell], key=lambda row: float(row["lr"])) for cell in order}


def best(rows: Sequence[Row]) -> Row:
    """The run with the best score."""
    return max(rows, key=lambda row: float(row["chosen_by"]))


def is_closed(rows: Sequence[Row]) -> bool:
    """Whether the best rate has worse ones on both sides."""
    return best(rows) not in (rows[0], rows[-1])


def page(cells: Mapping[Cell, Sequence[Row]], drawing: str) -> str:
    """The table, and what it was measured on."""
    rows = [row for each in cells.values() for row in each]
    machines = ", ".join(sorted({row["machine"] for row in rows}))
    commits = ", ".join(sorted({row["commit"] for row in rows}))
    hours = sum(row["cpu_seconds"] for row in rows) / 3600
    open_ones = [cell for cell, each in cells.items() if not is_closed(each)]
    lines = [
        "# Which learning rate, in how many steps?",
        "",
        f"{len(cells)} of {len(grid())} cells so far, {len(rows)} trainings on the embedded "
        f"backbone, seed 0; {hours:.1f} hours of processor "
        f"time. Machine: {machines}; commit {commits}. Made by `python benchmarks/recipes.py "
        "--data DATA`, the page by `python benchmarks/recipes_page.py` from [the records]"
        "(records/recipes.jsonl).",
        "",
        "Scores are those of English dev (1,000 examples at most: an accuracy of 60 has a standard "
        "error of 1.5 points) after the last step; a rate in bold is the best of its row. `copa` "
        "has 100 examples of dev, so its rates are compared by the mean of dev and nine other "
        'languages. "Others" is the mean at the best rate over the other languages that every run '
        "of the task was scored in. Seconds are processor seconds of the whole run, loading and "
        "scoring included.",
        "",
        f"![score against learning rate]({drawing})",
        "",
        "| way | task | steps | rates, and scores | best | others | seconds |",
        "|---|---|---|---|---|---|---|",
        *(line(cell, each, shared_languages(rows, cell[1])) for cell, each in cells.items()),
    ]
    if open_ones:
        named = ", ".join(f"{NAMES[way]} {task} {steps}" for way, task, steps in open_ones)
        lines += ["", f"Not finished (the best rate lies at the edge of those tried): {named}."]
    return "\n".join(lines) + "\n"


def shared_languages(rows: Sequence[Row], task: str) -> list[str]:
    """The other languages that every run of a task was scored in: not all had the same data."""
    scored = [set(row["others"]) for row in rows if row["task"] == task and "failed" not in row]
    return sorted(set.intersection(*scored))


def line(cell: Cell, rows: Sequence[Row], languages: Sequence[str]) -> str:
    """One cell of the sweep."""
    way, task, steps = cell
    top = best(rows)
    tried = ", ".join(
        f"**{row['lr']:g}: {row['chosen_by']:.1f}**"
        if row is top
        else f"{row['lr']:g}: {'diverged' if 'failed' in row else format(row['chosen_by'], '.1f')}"
        for row in rows
    )
    others = [top["others"][lang] for lang in languages]
    mean = f"{sum(others) / len(others):.1f}" if others else ""
    seconds = sum(row["cpu_seconds"] for row in rows) / len(rows)
    return (
        f"| {NAMES[way]} | {task} | {steps:,} | {tried} | {top['lr']:g} | {mean} | {seconds:,.0f} |"
    )


def picture(cells: Mapping[Cell, Sequence[Row]], place: Path) -> None:
    """Score against rate: a panel a way and task, a line a budget."""
    rows = [
        {
            "panel": f"{NAMES[way]}, {task}",
            "steps": f"{steps:,} steps",
            "rate": row["lr"],
            "score": row["chosen_by"],
        }
        for (way, task, steps), each in cells.items()
        for row in each
        if "failed" not in row
    ]
    panels = list(dict.fromkeys(str(row["panel"]) for row in rows))
    budgets = [f"{steps:,} steps" for steps in COLOURS]
    budget = {"field": "steps", "type": "nominal", "title": None, "legend": {"orient": "bottom"}}
    rate = {"type": "log", "nice": False, "padding": 8}
    panel = {
        "width": 160,
        "height": 100,
        "mark": {"type": "line", "point": True},
        "encoding": {
            "x": {"field": "rate", "type": "quantitative", "title": "peak learning rate",
                  "scale": rate, "axis": {"tickCount": 3, "format": "~g"}},
            "y": {"field": "score", "type": "quantitative", "title": None,
                  "scale": {"zero": False, "padding": 8}, "axis": {"tickCount": 4}},
            "color": {**budget, "scale": {"domain": budgets, "range": list(COLOURS.values())}},
            "shape": {**budget, "scale": {"domain": budgets}},
        },
    }  # fmt: skip
    facet = {"field": "panel", "type": "nominal", "sort": panels, "header": {"title": None}}
    spec = chart("Score against learning rate", rows, facet=facet, columns=4, spec=panel)
    del spec["width"]  # its panels have theirs
    spec["resolve"] = {"scale": {"x": "independent", "y": "independent"}}
    Picture.from_vega_lite(spec).save(place)


if __name__ == "__main__":
    main()
