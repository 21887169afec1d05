"""Examples per second of evaluation, against a plain loop over the same examples.

The plain loop pads to the maximum length, takes 32 windows at a time, in fp32, as the examples of
transformers do, or in the precision that ours chooses on this machine. Every measurement is a
process of its own, in turn, several rounds; the medians count. A module is trained first, briefly,
so that predictions mean something; where three compositions are evaluated together, the weights of
the others are random. Predictions are compared one by one.

    python benchmarks/eval_speed.py --data DATA
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

BATCH = 32
LONG_ENOUGH = 30.0
"""Seconds a measurement lasts at least: what is faster is repeated, and the median counts."""


@dataclass(frozen=True)
class Workload:
    """What is evaluated: a target, its split and languages, and how its module is trained."""

    target: str
    split: str
    languages: tuple[str, ...]
    max_length: int
    training: int


LANGUAGES = ("en", "de", "zh")
WORKLOADS = (
    Workload("xquad", "test", LANGUAGES, 384, 1500),
    Workload("xnli", "dev", LANGUAGES, 256, 3000),
    Workload("panx", "dev", LANGUAGES, 256, 3000),
)


@dataclass(frozen=True)
class Candidate:
    """One way of evaluating."""

    name: str
    plain: bool = False
    attention: str = "sdpa"
    precision: str = "fp32"
    compositions: int = 1
    upper: bool = False


PLAIN = Candidate("plain loop", plain=True)
EAGER = replace(PLAIN, name="plain loop, eager attention", attention="eager")
PLAIN_LOW = replace(PLAIN, name="plain loop in the precision of ours", precision="auto")
FP32 = Candidate("ours, fp32")
OURS = Candidate("ours", precision="auto")
THREE = replace(OURS, name="ours, three compositions", compositions=3)
UPPER = replace(THREE, name="ours, three compositions in the upper half", upper=True)
CANDIDATES = (PLAIN, EAGER, FP32, OURS, THREE, UPPER, PLAIN_LOW)
COMPARED = (EAGER, FP32, OURS)


def main() -> None:
    """Runs one candidate (in a child process) or all of them."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", required=True, help="folder with the data sets of the targets")
    parser.add_argument("--backbone", default="embedded")
    parser.add_argument("--examples", type=int, default=48, help="of each language")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--work", type=Path, default=Path("runs/eval_speed"))
    parser.add_argument("--out", type=Path, default=Path("docs/results/eval_speed.md"))
    parser.add_argument("--one", type=int, nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--train", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.train is not None:
        train(args, WORKLOADS[args.train])
        return
    if args.one is not None:
        workload, candidate = WORKLOADS[args.one[0]], CANDIDATES[args.one[1]]
        print(json.dumps(measure(args, workload, candidate)))
        return
    for number in range(len(WORKLOADS)):
        # In a process of its own, whose peak memory those that measure would inherit.
        subprocess.run([*command(args), "--train", str(number)], check=True)
    rounds = [
        {
            (workload.target, each.name): child(args, number, place, each, repeat)
            for number, workload in enumerate(WORKLOADS)
            for place, each in enumerate(CANDIDATES)
        }
        for repeat in range(args.rounds)
    ]
    args.out.write_text(page(args, rounds), encoding="utf-8")


def command(args: argparse.Namespace) -> list[str]:
    """This script, to be run again with the same options."""
    return [
        *(sys.executable, __file__, "--data", args.data, "--backbone", args.backbone),
        *("--examples", str(args.examples), "--work", str(args.work)),
    ]


def module_folder(args: argparse.Namespace, workload: Workload) -> Path:
    """Where the trained module lies."""
    folder: Path = args.work / "zoo" / workload.target
    return folder


def train(args: argparse.Namespace, workload: Workload) -> None:
    """Trains the module, unless an earlier call did."""
    from adapter_stilts import train_target

    folder = module_folder(args, workload)
    if not (folder / "module.json").exists():
        train_target(
            workload.target,
            backbone=args.backbone,
            data=args.data,
            limit=workload.training,
            dev_limit=64,
            epochs=1,
            evaluations=1,
            max_length=workload.max_length,
            out=folder,
            resume=True,
        )


def child(
    args: argparse.Namespace, workload: int, candidate: int, named: Candidate, repeat: int
) -> dict[str, Any]:
    """One measurement in a process of its own, or what an earlier call kept of it."""
    kept = args.work / f"{WORKLOADS[workload].target}-{candidate}-{repeat}.json"
    if kept.exists():
        found: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8"))
        return found
    one = [*command(args), "--one", str(workload), str(candidate)]
    done = subprocess.run(one, stdout=subprocess.PIPE, check=True, text=True)
    row: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    kept.write_text(json.dumps(row), encoding="utf-8")
    speed = f"{row['examples_per_second']:.1f} examples/s"
    print(f"{WORKLOADS[workload].target}: {named.name}: {speed}", file=sys.stderr)
    return row


def measure(args: argparse.Namespace, workload: Workload, candidate: Candidate) -> dict[str, Any]:
    """Evaluates, again and again if it is quick.

    Loading the backbone and converting data are not timed, tokenising is.
    """
    from adapter_stilts import get_target
    from adapter_stilts.data import load_examples
    from adapter_stilts.environment import machine, peak_memory_mb

    target = get_target(workload.target)
    split: Any = workload.split
    sets = {
        language: load_examples(target.at(language), split, args.data, limit=args.examples)
        for language in workload.languages
    }
    engine, names = prepare(args, workload, candidate)
    run = plain_loop if candidate.plain else ours
    times: list[float] = []
    while sum(times) < LONG_ENOUGH:
        with tempfile.TemporaryDirectory() as cache:
            os.environ["ADSTILTS_CACHE"] = cache  # tokenised anew every time
            began = time.monotonic()
            predictions = run(engine, target, names, sets, workload.max_length)
            times.append(time.monotonic() - began)
    seconds = median(times)
    count = sum(len(data.examples) for data in sets.values()) * candidate.compositions
    return {
        "examples_per_second": count / seconds,
        "seconds": seconds,
        "peak_memory_mb": peak_memory_mb(),
        "machine": machine(),
        "precision": str(engine.dtype).removeprefix("torch."),
        "predictions": predictions,
    }


def prepare(
    args: argparse.Namespace, workload: Workload, candidate: Candidate
) -> tuple[Any, list[str]]:
    """The backbone with the trained module in it, and as many more as are evaluated together."""
    import torch

    from adapter_stilts.backbones import default_device, find_backbone
    from adapter_stilts.engine.engine import add_module, load_engine, module_parameters
    from adapter_stilts.engine.methods import MethodOptions, get_method
    from adapter_stilts.engine.native import head_labels
    from adapter_stilts.tasks.registry import get_target
    from adapter_stilts.zoo.local import load_module

    backbone = find_backbone(args.backbone)
    backbone.config._attn_implementation = candidate.attention
    engine = load_engine(backbone, precision=candidate.precision, device=default_device())
    load_module(engine, module_folder(args, workload), name="trained")
    names = [] if candidate.upper else ["trained"]
    left_out = tuple(range(engine.layers // 2)) if candidate.upper else ()
    for number in range(len(names), candidate.compositions):
        names.append(f"made{number}")
        add_module(
            engine,
            names[-1],
            get_method("bottleneck"),
            MethodOptions(leave_out=left_out),
            head=get_target(workload.target).head,
            labels=head_labels(engine, "trained"),
        )
        generator = torch.Generator().manual_seed(number)
        with torch.no_grad():
            for parameter in module_parameters(engine, names[-1]).values():
                parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.05)
    engine.model.eval()
    assert backbone.tokenizer  # read here, where time is not taken
    return engine, names


def composed(engine: Any, name: str, head: str) -> Any:
    """A module in the engine's memory as a composition; what it says of itself does not matter."""
    from adapter_stilts.engine.engine import block_of
    from adapter_stilts.zoo.local import Composed
    from adapter_stilts.zoo.record import ModuleRecord

    fields = dict.fromkeys(ModuleRecord.__dataclass_fields__, "")
    record = ModuleRecord(**{**fields, "head": head})  # type: ignore[arg-type]
    return Composed(name, name, name, record, name, name, block_of(name))


def ours(
    engine: Any, target: Any, names: list[str], sets: Mapping[str, Any], length: int
) -> dict[str, list[str]]:
    """As `adstilts evaluate` does it: the first composition's predictions by language."""
    from adapter_stilts.evaluation.labels import evaluate_labels
    from adapter_stilts.inference.predictions import default_batch_tokens

    found = {}
    for language, number, result in evaluate_labels(
        engine,
        target,
        [composed(engine, name, target.head) for name in names],
        {language: (data, True) for language, data in sets.items()},
        max_length=length,
        stride=128,
        batch_tokens=default_batch_tokens(engine.device),
    ):
        if number == 0:
            found[language] = result.predictions
    return found


def plain_loop(
    engine: Any, target: Any, names: list[str], sets: Mapping[str, Any], length: int
) -> dict[str, list[str]]:
    """One language after the other, 32 windows at a time as they come, padded to the maximum."""
    import torch

    from adapter_stilts.evaluation.candidates import fit_head
    from adapter_stilts.evaluation.labels import Stream
    from adapter_stilts.features.batch import collate
    from adapter_stilts.features.build import encoder
    from adapter_stilts.heads import get_head
    from adapter_stilts.zoo.local import activate

    module = composed(engine, names[0], target.head)
    activate(engine, module)
    head = fit_head(engine, target, module)
    tokenizer = engine.backbone.tokenizer
    encode = encoder(target.head, tokenizer, max_length=length, stride=128)
    found = {}
    for language, data in sets.items():
        features = encode(data.examples[:])
        outputs: list[Any] = []
        rows = len(features["input_ids"])
        for first in range(0, rows, BATCH):
            ids = features["input_ids"][first : first + BATCH]
            longest = [{"input_ids": [0] * length}]  # pads the others to its length
            batch = collate([{"input_ids": each} for each in ids] + longest, tokenizer.pad_token_id)
            batch = {key: value[:-1].to(engine.device) for key, value in batch.items()}
            autocast = torch.autocast(
                engine.device.type, torch.bfloat16, enabled=engine.dtype == torch.bfloat16
            )
            with torch.no_grad(), autocast:
                output = engine.model(**batch)
            columns = {key: values[first : first + BATCH] for key, values in features.items()}
            outputs += get_head(target.head).split(output, columns)
        stream = Stream(target, language, head, True)
        stream.add(outputs, features, data.examples)
        found[language] = stream.result().predictions
    return found


def page(args: argparse.Namespace, rounds: list[dict[tuple[str, str], dict[str, Any]]]) -> str:
    """Medians, ratios to the plain loop, and how many predictions differ from its."""
    machine = next(iter(rounds[0].values()))["machine"]
    precision = rounds[0][WORKLOADS[0].target, OURS.name]["precision"]
    lines = [
        "# Evaluation speed",
        "",
        f"{args.examples} examples of each of three languages, backbone `{args.backbone}`, "
        f"{args.rounds} round(s), medians; one process a measurement of half a minute at least, "
        f"tokenising included, loading the backbone not. The plain loop pads every window to the "
        f"maximum length and takes {BATCH} at a time, in fp32 where nothing else is said. "
        "Of several compositions, every one "
        f"counts its examples. Ours runs in {precision} where nothing else is said. "
        f"Machine: {machine}. Made by "
        "`python benchmarks/eval_speed.py --data DATA`.",
    ]
    for workload in WORKLOADS:
        lines += [
            "",
            f"## {workload.target}, {workload.split}, windows of {workload.max_length} tokens",
            "",
            "| way | examples/s | against the plain loop | peak memory MB |",
            "|---|---|---|---|",
            *(_row(workload, each, rounds) for each in CANDIDATES),
            "",
            *_differences(workload, rounds[0]),
        ]
    return "\n".join(lines) + "\n"


def _row(
    workload: Workload, each: Candidate, rounds: list[dict[tuple[str, str], dict[str, Any]]]
) -> str:
    mine = [found[workload.target, each.name] for found in rounds]
    plain = [found[workload.target, PLAIN.name] for found in rounds]
    rate = median(row["examples_per_second"] for row in mine)
    ratio = median(
        row["examples_per_second"] / base["examples_per_second"]
        for row, base in zip(mine, plain, strict=True)
    )
    memory = median(row["peak_memory_mb"] for row in mine)
    return f"| {each.name} | {rate:.1f} | {ratio:.1f}x | {memory:,.0f} |"


def _differences(workload: Workload, found: dict[tuple[str, str], dict[str, Any]]) -> list[str]:
    """How many predictions are not the plain loop's, and the first few of them."""
    plain = _flat(found[workload.target, PLAIN.name]["predictions"])
    lines = []
    for each in COMPARED:
        mine = _flat(found[workload.target, each.name]["predictions"])
        pairs = zip(plain, mine, strict=True)
        other = [(a, b) for a, b in pairs if a != b]
        lines.append(f"- {each.name}: {len(plain) - len(other)} of {len(plain)} predictions equal")
        lines += [f"  - `{a}` / `{b}`" for a, b in other[:3]]
    return lines


def _flat(predictions: dict[str, list[str]]) -> list[str]:
    return [line for lines in predictions.values() for line in lines]


if __name__ == "__main__":
    main()
