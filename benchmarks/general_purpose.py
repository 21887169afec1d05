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
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from statistics import mean, median
from typing import Any

import torch
from general_purpose_page import Found, page
from steps import apart, options, take_over, target_arguments

from adapter_stilts import Trained, evaluate, explain, fuse, merge, train_multitask
from adapter_stilts import train_target as learn
from adapter_stilts.backbones import default_device, find_backbone
from adapter_stilts.engine.engine import forward, load_engine
from adapter_stilts.metrics import primary
from adapter_stilts.tasks.registry import get_target, intermediate_tasks
from adapter_stilts.training.environment import machine
from adapter_stilts.zoo.composed import activate, load_composition

NINE = tuple(intermediate_tasks())
MULTITASK = 600
"""Examples of each task that the one module for all of them learns from."""


FULL_RATE = 1e-3
"""The learning rate of full fusions: the default is for thousands of steps, and these are few."""


@dataclass(frozen=True)
class Plan:
    """How a target is measured: rows to learn from and to try in each language, and the singles.

    `shown` are the languages in the pictures of what its fusions attend to.
    """

    train: int
    rows: int
    split: str
    singles: tuple[str, ...]
    shown: str


PLANS = {
    "tydiqa": Plan(800, 60, "test", ("squad", "squad-v2", "cosmos-qa"), "en,ko,sw"),
    "xnli": Plan(1200, 100, "dev", ("anli-plus", "qqp", "commonsense-qa"), "en,de,sw,zh"),
    "xcopa": Plan(400, 80, "test", ("commonsense-qa", "cosmos-qa"), "id,it,sw,zh"),
    "udpos": Plan(800, 30, "dev", ("ccg", "mnli"), "en,de,ar,zh"),
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


LEARNT = ("full fusion", "lean fusion", "LoRA fusion")
"""Those of which a picture shows what they attend to."""

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
        for name in LEARNT:
            apart(attention, args, target, name)
        apart(timed, args, target)
        found = {each: found_of(args, each) for each in PLANS}
        args.out.write_text(page(args, found), encoding="utf-8")


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
    rate = FULL_RATE if kind == "full" else None
    sources = [f"{task}{suffix}" for task in NINE]
    return Built.of(fuse(sources, target, kind=kind, out=out, lr=rate, **given))


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
    """Trains one way and tries it in every language."""
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
        "machine": machine(),
    }
    kept.write_text(json.dumps(row))


def attention(args: argparse.Namespace, target: str, name: str) -> None:
    """Draws what a learnt fusion attends to, and keeps the weight of every source."""
    kept = args.work / f"{target}-{name.replace(' ', '-')}.attention.json"
    if kept.exists():
        return
    plan = PLANS[target]
    found = explain(
        row_of(args, target, name)["path"],
        langs=plan.shown,
        split=plan.split,
        data=str(args.data),
        limit=20,
        backbone=args.backbone,
    )
    drawing = picture_of(args, target, name)
    drawing.parent.mkdir(parents=True, exist_ok=True)
    drawing.write_text(found.plot().svg, encoding="utf-8")
    by_language = [found.over_layers(language) for language in found.weights]
    weights = {source: mean(each[source] for each in by_language) for source in found.sources}
    kept.write_text(json.dumps(weights))


def picture_of(args: argparse.Namespace, target: str, name: str) -> Path:
    """Where the picture of a fusion's attention lies, beside the page."""
    folder: Path = args.out.with_suffix("")
    return folder / f"{target}-{name.replace(' ', '-').lower()}.svg"


def timed(args: argparse.Namespace, target: str, rounds: int = 7) -> None:
    """Keeps the milliseconds of every way's forward pass, each once a round: the medians.

    A pass takes 16 texts of 128 tokens.
    """
    kept = args.work / f"{target}.forward.json"
    if kept.exists():
        return
    engine = load_engine(find_backbone(args.backbone), device=default_device())
    tokens = torch.randint(10, 1000, (16, 128), generator=torch.Generator().manual_seed(0))
    batch = {"input_ids": tokens, "attention_mask": torch.ones_like(tokens)}
    loaded = {row["name"]: load_composition(engine, row["path"]) for row in rows_of(args, target)}
    times: dict[str, list[float]] = {name: [] for name in loaded}
    for _ in range(rounds + 1):
        for name, composed in loaded.items():
            activate(engine, composed)
            began = time.perf_counter()
            forward(engine, batch)
            if engine.device.type == "cuda":
                torch.cuda.synchronize()
            times[name].append(1000 * (time.perf_counter() - began))
    kept.write_text(json.dumps({name: median(each[1:]) for name, each in times.items()}))


def row_of(args: argparse.Namespace, target: str, name: str) -> dict[str, Any]:
    """What has been measured of one way; empty where it has not been."""
    kept = args.work / f"{target}-{name.replace(' ', '-')}.json"
    return dict(json.loads(kept.read_text())) if kept.exists() else {}


def rows_of(args: argparse.Namespace, target: str) -> list[dict[str, Any]]:
    """What has been measured for a target."""
    rows = [row for name in ways(target) if (row := row_of(args, target, name))]
    kept = args.work / f"{target}.forward.json"
    times = json.loads(kept.read_text()) if kept.exists() else {}
    return [
        {**row, "forward_ms": f"{times[row['name']]:.0f}" if row["name"] in times else "–"}
        for row in rows
    ]


def found_of(args: argparse.Namespace, target: str) -> Found:
    """What has been measured for a target, as the page takes it."""
    heard = {}
    for name in LEARNT:
        kept = args.work / f"{target}-{name.replace(' ', '-')}.attention.json"
        if kept.exists():
            link = picture_of(args, target, name).relative_to(args.out.parent)
            heard[name] = (link.as_posix(), json.loads(kept.read_text()))
    plan = PLANS[target]
    bounds = f"{plan.train:,} rows, {plan.rows} a language tried"
    return Found(
        metric=primary(get_target(target).metric),
        bounds=f"{'all rows' if args.full else bounds}; split `{plan.split}`",
        singles=tuple(f"on {name}" for name in plan.singles),
        rows=rows_of(args, target),
        missing=tuple(name for name in ways(target) if not row_of(args, target, name)),
        heard=heard,
    )


if __name__ == "__main__":
    main()
