"""Examples per second of evaluation, against a plain loop over the same examples.

The plain loop pads to the maximum length, takes 32 windows at a time, in fp32, as the examples of
transformers do, or in the precision that ours chooses on this machine. Every measurement is a
process of its own, in turn, several rounds; the medians count. A module of the zoo is asked; where
three compositions are evaluated together, the weights of the others are random. Predictions are
compared one by one. Every measurement is a line of the records, and is not made again.

    python benchmarks/eval_speed.py --data DATA
    python benchmarks/eval_speed.py --page      # the page alone, of the records
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from steps import add_row, commit, read_rows

RECORDS = Path("docs/results/records/eval_speed.jsonl")
ZOO = Path(__file__).parents[1] / "adapters_zoo" / "embedded"
BATCH = 32
LONG_ENOUGH = 8.0
"""Seconds a measurement lasts at least: what is faster is repeated, and the median counts."""


@dataclass(frozen=True)
class Workload:
    """What is evaluated: a target, its split and languages, and the module that is asked."""

    target: str
    split: str
    languages: tuple[str, ...]
    max_length: int
    module: str


LANGUAGES = ("en", "de", "zh")
WORKLOADS = (
    Workload("xquad", "test", LANGUAGES, 384, "squad"),
    Workload("xnli", "dev", LANGUAGES, 256, "xnli"),
    Workload("panx", "dev", LANGUAGES, 256, "panx"),
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


Row = dict[str, Any]


def main() -> None:
    """Runs one candidate (in a child process), or all that the records lack; writes the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", help="folder with the data sets of the targets; not for --page")
    parser.add_argument("--examples", type=int, default=16, help="of each language")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--records", type=Path, default=RECORDS)
    parser.add_argument("--out", type=Path, default=Path("docs/results/eval_speed.md"))
    parser.add_argument("--page", action="store_true", help="the page alone")
    parser.add_argument("--one", type=int, nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one is not None:
        workload, candidate = WORKLOADS[args.one[0]], CANDIDATES[args.one[1]]
        print(json.dumps(measure(args, workload, candidate)))
        return
    if not args.page:
        if not args.data:
            parser.error("--data is needed, or --page")
        for repeat in range(args.rounds):
            for number in range(len(WORKLOADS)):
                measure_round(args, number, repeat)
    args.out.write_text(page(read_rows(args.records)), encoding="utf-8")


def measure_round(args: argparse.Namespace, number: int, repeat: int) -> None:
    """One round of a workload, the plain loop first: its predictions are what others' are beside.

    A round is measured whole, since what is compared in it ran in one go.
    """
    target = WORKLOADS[number].target
    if any((row["target"], row["round"]) == (target, repeat) for row in read_rows(args.records)):
        return
    rows, plain = [], list[str]()
    for place, each in enumerate(CANDIDATES):
        command = [sys.executable, __file__, "--data", args.data, "--examples", str(args.examples)]
        command += ["--one", str(number), str(place)]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
        row = json.loads(done.stdout.splitlines()[-1])
        mine = [line for lines in row.pop("predictions").values() for line in lines]
        plain = plain or mine
        other = [(a, b) for a, b in zip(plain, mine, strict=True) if a != b]
        row |= {"predictions": len(mine), "differ": len(other), "others": other[:3]}
        named = {"target": target, "way": each.name, "round": repeat, "examples": args.examples}
        rows.append({**named, **row, "commit": commit()})
        speed = f"{row['examples_per_second']:.1f} examples/s"
        print(f"{target}: {each.name}: {speed}", file=sys.stderr, flush=True)
    for row in rows:
        add_row(args.records, row)


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
    engine, names = prepare(workload, candidate)
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


def prepare(workload: Workload, candidate: Candidate) -> tuple[Any, list[str]]:
    """The backbone with the trained module in it, and as many more as are evaluated together."""
    import torch

    from adapter_stilts.backbones import default_device, find_backbone
    from adapter_stilts.engine.engine import add_module, load_engine, module_parameters
    from adapter_stilts.engine.methods import MethodOptions, get_method
    from adapter_stilts.engine.native import head_labels
    from adapter_stilts.tasks.registry import get_target
    from adapter_stilts.zoo.local import load_module

    backbone = find_backbone("embedded")
    backbone.config._attn_implementation = candidate.attention
    engine = load_engine(backbone, precision=candidate.precision, device=default_device())
    load_module(engine, ZOO / workload.module, name="trained")
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
    from adapter_stilts.features import collate
    from adapter_stilts.heads import get_head
    from adapter_stilts.heads.base import Encoding
    from adapter_stilts.zoo.local import activate

    module = composed(engine, names[0], target.head)
    activate(engine, module)
    head = fit_head(engine, target, module)
    tokenizer = engine.backbone.tokenizer
    how = Encoding(tokenizer, length)
    found = {}
    for language, data in sets.items():
        features = get_head(target.head).encode(data.examples[:], how)
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


def page(rows: Sequence[Row]) -> str:
    """Medians, ratios to the plain loop, and how many predictions differ from its."""
    machines = ", ".join(sorted({row["machine"] for row in rows}))
    commits = ", ".join(sorted({row["commit"] for row in rows}))
    examples, rounds = rows[0]["examples"], len({row["round"] for row in rows})
    precision = next(row["precision"] for row in rows if row["way"] == OURS.name)
    lines = [
        "# Evaluation speed",
        "",
        f"{examples} examples of each of three languages, backbone `embedded`, {rounds} round(s), "
        f"medians and what they lie between; a process a measurement of {LONG_ENOUGH:.0f} seconds "
        "at least, tokenising included, loading the backbone not. The plain loop pads every window "
        f"to the maximum length and takes {BATCH} at a time, in fp32 where nothing else is said. "
        f"Of several compositions, every one counts its examples. Ours runs in {precision} where "
        f"nothing else is said. Machine: {machines}; commit {commits}. Made by "
        "`python benchmarks/eval_speed.py --data DATA` of [the records](records/eval_speed.jsonl).",
    ]
    for workload in WORKLOADS:
        own = [row for row in rows if row["target"] == workload.target]
        lines += [
            "",
            f"## {workload.target}, {workload.split}, windows of {workload.max_length} tokens",
            "",
            "| way | examples/s | against the plain loop | between | peak memory MB |",
            "|---|---|---|---|---|",
            *(_line(own, each) for each in CANDIDATES),
            "",
            *_differences(own),
        ]
    return "\n".join(lines) + "\n"


def _line(rows: Sequence[Row], each: Candidate) -> str:
    mine = [row for row in rows if row["way"] == each.name]
    plain = {row["round"]: row["examples_per_second"] for row in rows if row["way"] == PLAIN.name}
    rate = median(row["examples_per_second"] for row in mine)
    ratios = [row["examples_per_second"] / plain[row["round"]] for row in mine]
    memory = median(row["peak_memory_mb"] for row in mine)
    return (
        f"| {each.name} | {rate:.1f} | {median(ratios):.1f}x | "
        f"{min(ratios):.1f} to {max(ratios):.1f} | {memory:,.0f} |"
    )


def _differences(rows: Sequence[Row]) -> list[str]:
    """How many predictions are not the plain loop's, and the first few of them."""
    lines = []
    for each in COMPARED:
        row = next(row for row in rows if row["way"] == each.name)
        equal = row["predictions"] - row["differ"]
        lines.append(f"- {each.name}: {equal} of {row['predictions']} predictions equal")
        lines += [f"  - `{plain}` / `{mine}`" for plain, mine in row["others"]]
    return lines


if __name__ == "__main__":
    main()
