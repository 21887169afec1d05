"""The page of `general_purpose.py`: a table a target, what fusions attend to, and the answer."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

ALONE = ("alone", "alone, LoRA")


@dataclass(frozen=True)
class Found:
    """What has been measured for one target.

    Attributes:
        metric: of the scores in `rows`.
        bounds: how much was learnt from and tried, in words.
        singles: the ways that stand on one intermediate task.
        rows: one a way, with `name`, `dev` (English), `scores` by language and costs.
        missing: ways that have not been run.
        heard: by learnt fusion, its picture's place and the weight of every source.
    """

    metric: str
    bounds: str
    singles: tuple[str, ...]
    rows: list[dict[str, Any]]
    missing: tuple[str, ...]
    heard: Mapping[str, tuple[str, dict[str, float]]]

    @property
    def best_single(self) -> dict[str, Any] | None:
        """The one to choose: by the English dev score, not by what it turns out to be."""
        rows = [row for row in self.rows if row["name"] in self.singles]
        return max(rows, key=lambda row: row["dev"]) if rows else None

    @property
    def best_general(self) -> dict[str, Any] | None:
        """The general-purpose way with the best English dev score."""
        rows = [row for row in self.rows if row["name"] not in (*ALONE, *self.singles)]
        return max(rows, key=lambda row: row["dev"]) if rows else None

    def of(self, name: str) -> dict[str, Any] | None:
        """One way's row."""
        return next((row for row in self.rows if row["name"] == name), None)


def others(row: dict[str, Any]) -> float:
    """The average over the languages other than English."""
    return float(mean(value for lang, value in row["scores"].items() if lang != "en"))


def page(args: argparse.Namespace, found: Mapping[str, Found]) -> str:
    """What has been measured so far."""
    found = {target: each for target, each in found.items() if each.rows}
    machines = {row["machine"] for each in found.values() for row in each.rows}
    lines = [
        "# Task-specific or general-purpose?",
        "",
        "**Not a comparison to draw conclusions from:** the ways had 13 to 50 steps at one "
        "learning rate that nobody tuned, one seed, and 30 to 100 items a language. In [the sweep]"
        "(recipes.md), a rate three times as high or as low moves scores by 2 to 46 points in 50 "
        "steps. The page stays as a record of what was run.",
        "",
        f"Backbone `{args.backbone}`, {args.epochs:g} epoch(s), seed {args.seed}; the nine modules "
        "are those of [the nine tasks](intermediate.md). Averages are over the languages other "
        "than English, none of them seen in training. One seed and few rows: differences below "
        "two points are noise. Parameters are those trained for the target; seconds are those of "
        "their training (and of a search); milliseconds are of one pass over 16 texts of 128 "
        f"tokens. Machine: {', '.join(sorted(machines))}. Made by "
        "`python benchmarks/general_purpose.py --data DATA`.",
        "",
        *answer(found),
        "",
        *by_way(found),
    ]
    for target, each in found.items():
        lines += ["", *table(target, each), "", *heard(each)]
    notes = Path(__file__).with_name("general_purpose_notes.md").read_text(encoding="utf-8")
    return "\n".join([*lines, "", "## Notes", "", notes]).rstrip() + "\n"


def answer(found: Mapping[str, Found]) -> list[str]:
    """Target by target: the best single one against the best general-purpose way."""
    lines = [
        "| target | alone | best single | other languages | best general-purpose | "
        "other languages | gain | lean - full fusion |",
        "|---|---|---|---|---|---|---|---|",
    ]
    averages = []
    for target, each in found.items():
        alone, single, general = each.of("alone"), each.best_single, each.best_general
        if alone is None or single is None or general is None:
            continue
        full, lean = each.of("full fusion"), each.of("lean fusion")
        gap = f"{others(lean) - others(full):+.1f}" if full and lean else ""
        lines.append(
            f"| {target} | {others(alone):.1f} | {single['name']} | {others(single):.1f} | "
            f"{general['name']} | {others(general):.1f} | "
            f"{others(general) - others(single):+.1f} | {gap} |"
        )
        averages.append((others(alone), others(single), others(general)))
    if averages:
        alone_, single_, general_ = map(mean, zip(*averages, strict=True))
        lines.append(
            f"| mean | {alone_:.1f} | | {single_:.1f} | | {general_:.1f} | "
            f"{general_ - single_:+.1f} | |"
        )
    return [*lines, "", "*Best*: by the English dev score, as one has to choose."]


def by_way(found: Mapping[str, Found]) -> list[str]:
    """The mean over the targets, of every way that all of them have been measured with."""
    names = [row["name"] for row in next(iter(found.values())).rows] if found else []
    rows = {name: [each.of(name) for each in found.values()] for name in names}
    whole = {name: [row for row in each if row] for name, each in rows.items()}
    means = {
        name: (mean(row["dev"] for row in each), mean(map(others, each)))
        for name, each in whole.items()
        if len(each) == len(found)
    }
    return [
        "| way, mean over the targets | dev (en) | other languages |",
        "|---|---|---|",
        *(
            f"| {name} | {dev:.1f} | {score:.1f} |"
            for name, (dev, score) in sorted(means.items(), key=lambda each: -each[1][1])
        ),
    ]


def table(target: str, found: Found) -> list[str]:
    """One target's results."""
    left = f" Not run yet: {'; '.join(found.missing)}." if found.missing else ""
    return [
        f"## {target}",
        "",
        f"{found.metric}; {found.bounds}.{left}",
        "",
        "| way | dev (en) | other languages | parameters | seconds | forward ms | peak memory MB |",
        "|---|---|---|---|---|---|---|",
        *(
            f"| {row['name']} | {row['dev']:.1f} | {others(row):.1f} | {row['parameters']:,} | "
            f"{row['seconds']:.0f} | {row['forward_ms']} | {row['peak_memory_mb']:,.0f} |"
            for row in found.rows
        ),
    ]


def heard(found: Found) -> list[str]:
    """What each learnt fusion attends to most, with a link to its picture."""
    lines = []
    for name, (link, weights) in found.heard.items():
        first = sorted(weights, key=lambda source: -weights[source])[:3]
        most = ", ".join(f"{source} {100 * weights[source]:.0f}%" for source in first)
        lines.append(f"- The [{name}]({link}) attends most to {most}.")
    return lines
