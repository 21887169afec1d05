"""One well-chosen intermediate task, or the general-purpose option? Every way there is, measured.

For each target: alone; on the best of three intermediate tasks (by English dev score); learnt
fusions of nine modules; a module trained on all nine tasks; merges of nine. All of them see the
same target examples in English and are then tried in the data's other languages. Writes
docs/results/general_purpose.md. Every step is kept and not repeated, so the script can be stopped
and started again. The nine modules are those of `intermediate.py`.

    python benchmarks/general_purpose.py --data DATA
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from statistics import mean, median
from typing import Any

import torch
from steps import apart, options, take_over, target_arguments

from adapter_stilts import Trained, evaluate, fuse, merge, train_multitask
from adapter_stilts import train_target as learn
from adapter_stilts.backbones import default_device, find_backbone
from adapter_stilts.metrics import primary
from adapter_stilts.modules.engine import forward, load_engine
from adapter_stilts.tasks.registry import get_target, intermediate_tasks
from adapter_stilts.training.environment import machine
from adapter_stilts.zoo.composed import load_composition

NINE = tuple(intermediate_tasks())
MULTITASK = 600
"""Examples of each task that the one module for all of them learns from."""


@dataclass(frozen=True)
class Plan:
    """How a target is measured: rows to learn from and to try in each language, and the singles."""

    train: int
    rows: int
    split: str
    singles: tuple[str, ...]


PLANS = {
    "tydiqa": Plan(800, 60, "test", ("squad", "squad-v2", "cosmos-qa")),
    "xnli": Plan(1200, 100, "dev", ("anli-plus", "qqp", "commonsense-qa")),
    "xcopa": Plan(600, 100, "test", ("commonsense-qa", "cosmos-qa", "hellaswag")),
    "udpos": Plan(1000, 40, "dev", ("ccg", "mnli", "squad")),
}


@dataclass(frozen=True)
class Built:
    """A module that stands for one way: what it took besides the nine modules."""

    path: str
    parameters: int
    seconds: float
    peak_memory_mb: float

    @classmethod
    def of(cls, trained: Trained, before: float = 0.0) -> Built:
        """What a training's record says, and the seconds of what came before it."""
        record = trained.record
        return cls(
            str(trained.path), record.parameters, record.seconds + before, record.peak_memory_mb
        )


Way = Callable[[argparse.Namespace, str], Built]


def main() -> None:
    """Runs what is missing and writes the page after every target."""
    args = target_arguments(__doc__, "general_purpose", list(PLANS))
    os.environ["ADSTILTS_ZOO"] = str(args.work / "zoo")
    args.work.mkdir(parents=True, exist_ok=True)
    apart(sources, args)
    apart(multitask, args)
    for target in args.targets:
        for name in ways(target):
            apart(measure, args, target, name)
        args.out.write_text(page(args), encoding="utf-8")


def sources(args: argparse.Namespace) -> None:
    """The nine bottleneck modules and nine LoRAs."""
    zoo = args.work / "zoo" / args.backbone
    for task in NINE:
        for method, name in (("bottleneck", task), ("lora", f"{task}-lora")):
            take_over(args, task, method, zoo / name)


def multitask(args: argparse.Namespace) -> None:
    """The one module for all nine tasks."""
    folder = args.work / "zoo" / args.backbone / "multitask"
    if folder.exists():
        return
    given = options(args, MULTITASK, 60)
    train_multitask(out=folder, **given)


def on_top(on: str, args: argparse.Namespace, target: str) -> Built:
    """A target module on top of one module, of a fusion without parameters, or of a merge."""
    name = "".join(each if each.isalnum() else "-" for each in on)[:40].strip("-")
    out = args.work / "modules" / target / name
    given = options(args, PLANS[target].train, 100)
    return Built.of(learn(target, on=on, out=out, **given))


def alone_lora(args: argparse.Namespace, target: str) -> Built:
    """The target by itself, as a LoRA: what the fusion of LoRAs has to beat."""
    out = args.work / "modules" / target / "lora"
    given = options(args, PLANS[target].train, 100)
    return Built.of(learn(target, method="lora", out=out, **given))


def fusion(kind: str, suffix: str, args: argparse.Namespace, target: str) -> Built:
    """A fusion of the nine, learnt on the target, and nothing on top."""
    out = args.work / "modules" / target / f"fusion-{kind}{suffix}"
    given = options(args, PLANS[target].train, 100)
    return Built.of(fuse([f"{task}{suffix}" for task in NINE], target, kind=kind, out=out, **given))


def on_fusion(args: argparse.Namespace, target: str) -> Built:
    """A target module on top of the lean fusion, which was learnt before."""
    below = args.work / "modules" / target / "fusion-lean"
    out = args.work / "modules" / target / "on-fusion-lean"
    given = options(args, PLANS[target].train, 100)
    before = json.loads((below / "module.json").read_text())
    top = Built.of(learn(target, on=str(below), out=out, **given), before["seconds"])
    return replace(top, parameters=top.parameters + before["parameters"])


def on_search(args: argparse.Namespace, target: str) -> Built:
    """A target module on top of the merge whose weights were searched on a few examples."""
    out = args.work / "modules" / target / "searched"
    began = time.monotonic()
    if not out.exists():
        merge(
            NINE,
            how="linear",
            search=True,
            target=target,
            data=str(args.data),
            backbone=args.backbone,
            seed=args.seed,
            out=out,
        )
    built = on_top(str(out), args, target)
    return replace(built, seconds=built.seconds + time.monotonic() - began)


def ways(target: str) -> dict[str, Way]:
    """What is compared, by the name it has on the page."""
    nine = ", ".join(NINE)
    return {
        "alone": partial(on_top, "none"),
        **{f"on {name}": partial(on_top, name) for name in PLANS[target].singles},
        "full fusion": partial(fusion, "full", ""),
        "lean fusion": partial(fusion, "lean", ""),
        "uniform fusion": partial(fusion, "uniform", ""),
        "on lean fusion": on_fusion,
        "alone, LoRA": alone_lora,
        "LoRA fusion": partial(fusion, "lean", "-lora"),
        "on multi-task": partial(on_top, "multitask"),
        "on average": partial(on_top, f"average({nine})"),
        "on TIES": partial(on_top, f"ties({nine})"),
        "on searched merge": on_search,
    }


def measure(args: argparse.Namespace, target: str, name: str) -> None:
    """Trains one way, tries it in every language, and times its forward pass."""
    kept = args.work / f"{target}-{name.replace(' ', '-')}.json"
    if kept.exists():
        return
    plan = PLANS[target]
    built = ways(target)[name](args, target)
    (found,) = evaluate(
        target,
        compositions=[built.path],
        backbone=args.backbone,
        split=plan.split,
        data=str(args.data),
        limit=None if args.full else plan.rows,
        out=args.work / "predictions" / target / name.replace(" ", "-"),
    )
    dev = json.loads(Path(built.path, "module.json").read_text())["scores"]
    row = {
        **asdict(built),
        "name": name,
        "dev": dev[primary(get_target(target).metric)],
        "scores": {
            lang: each[primary(get_target(target).metric)] for lang, each in found.scores.items()
        },
        "forward_ms": forward_ms(args.backbone, built.path),
        "machine": machine(),
    }
    kept.write_text(json.dumps(row))


def forward_ms(backbone: str, composition: str, rounds: int = 9) -> float:
    """Milliseconds for a batch of 16 texts of 128 tokens: the median of several passes."""
    engine = load_engine(find_backbone(backbone), device=default_device())
    load_composition(engine, composition)
    tokens = torch.randint(10, 1000, (16, 128), generator=torch.Generator().manual_seed(0))
    batch = {"input_ids": tokens, "attention_mask": torch.ones_like(tokens)}
    times: list[float] = []
    for _ in range(rounds + 2):
        began = time.perf_counter()
        forward(engine, batch)
        if engine.device.type == "cuda":
            torch.cuda.synchronize()
        times.append(1000 * (time.perf_counter() - began))
    return float(median(times[2:]))


def rows_of(args: argparse.Namespace, target: str) -> Iterator[dict[str, Any]]:
    """What has been measured for a target."""
    for name in ways(target):
        kept = args.work / f"{target}-{name.replace(' ', '-')}.json"
        if kept.exists():
            yield json.loads(kept.read_text())


def others(row: dict[str, Any]) -> float:
    """The average over the languages other than English."""
    return float(mean(value for lang, value in row["scores"].items() if lang != "en"))


def page(args: argparse.Namespace) -> str:
    """What has been measured so far."""
    found = {target: list(rows_of(args, target)) for target in PLANS}
    machines = {row["machine"] for rows in found.values() for row in rows}
    lines = [
        "# Task-specific or general-purpose?",
        "",
        f"Backbone `{args.backbone}`, {args.epochs:g} epoch(s), seed {args.seed}; the nine modules "
        "are those of [the nine tasks](intermediate.md). Averages are over the languages other "
        "than English, none of them seen in training. One seed and few rows: differences below "
        "two points are noise. Parameters are those trained for the target; seconds are those of "
        "their training (and of a search); milliseconds are of one pass over 16 texts of 128 "
        f"tokens. Machine: {', '.join(sorted(machines))}. Made by "
        "`python benchmarks/general_purpose.py --data DATA`.",
    ]
    for target, rows in found.items():
        if rows:
            lines += ["", *table(args, target, rows)]
    lines += ["", *verdict({target: rows for target, rows in found.items() if rows})]
    return "\n".join(lines) + "\n"


def table(args: argparse.Namespace, target: str, rows: list[dict[str, Any]]) -> list[str]:
    """One target's results."""
    plan = PLANS[target]
    bounds = "all rows" if args.full else f"{plan.train:,} rows, {plan.rows} a language tried"
    best = best_single(target, rows)
    return [
        f"## {target}",
        "",
        f"{primary(get_target(target).metric)}; {bounds}; split `{plan.split}`; the best single "
        f"intermediate task by English dev score: {best['name'].removeprefix('on ')}."
        if best
        else f"{primary(get_target(target).metric)}; {bounds}; split `{plan.split}`.",
        "",
        "| way | dev (en) | other languages | parameters | seconds | forward ms | peak memory MB |",
        "|---|---|---|---|---|---|---|",
        *(
            f"| {row['name']} | {row['dev']:.1f} | {others(row):.1f} | {row['parameters']:,} | "
            f"{row['seconds']:.0f} | {row['forward_ms']:.0f} | {row['peak_memory_mb']:,.0f} |"
            for row in rows
        ),
    ]


def best_single(target: str, rows: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The intermediate task to choose: by the English dev score, not by what it turns out to be."""
    singles = [row for row in rows if row["name"].removeprefix("on ") in PLANS[target].singles]
    return max(singles, key=lambda row: row["dev"]) if singles else None


def verdict(found: dict[str, list[dict[str, Any]]]) -> list[str]:
    """The answer, target by target: the best single one against the best general-purpose way."""
    lines = ["## The answer", ""]
    for target, rows in found.items():
        best = best_single(target, rows)
        singles = {f"on {name}" for name in PLANS[target].singles}
        general = [row for row in rows if row["name"] not in {"alone", "alone, LoRA", *singles}]
        if best is None or not general:
            continue
        chosen = max(general, key=lambda row: row["dev"])
        gain = others(chosen) - others(best)
        lines.append(
            f"- **{target}**: {best['name']} {others(best):.1f}; the general-purpose way with the "
            f"best English dev score, {chosen['name']}, {others(chosen):.1f} ({gain:+.1f})."
        )
    return lines


if __name__ == "__main__":
    main()
