"""Makes docs/results/memory.md of the committed records of `memory.py`.

python benchmarks/memory_page.py
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from memory import RECORDS, ROWS, SERVED, SOURCES, Row
from steps import read_rows

LAYERS, SHAPE = 24, "24 layers, 1,024 wide, 250,002 words"
GOALS = {("cpu", "8x128"): 4, ("cuda", "32x384"): 8}
"""A module may take one part in so many of what full fine-tuning takes."""
WHAT = {
    "full": "full fine-tuning, AdamW",
    "bottleneck": "bottleneck adapter",
    "lora": "LoRA",
    "fusion-lean": f"lean fusion of {SOURCES}",
    "fusion-full": f"full fusion of {SOURCES}",
}
TAKEN = {
    "table": "all word embeddings in memory",
    "default": "default (on a CPU, only the words in use are in memory)",
    "upper-half": "default, and adapters in the upper half only: no gradient below",
    "recomputed": "default, and activations computed again (`--activations recomputed`)",
    "upper-half recomputed": "default, upper half only, and computed again",
    "recomputed offloaded": "default, computed again, layer inputs and words off the GPU "
    "(`--activations offloaded`)",
}
BATCHES = ("8x128", "8x256")
ASKED = {"ask-1": 1, "ask-many": SERVED}
TASKS = 9

Record = dict[str, Any]


def main() -> None:
    """Writes the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--records", type=Path, default=RECORDS)
    parser.add_argument("--out", type=Path, default=Path("docs/results/memory.md"))
    args = parser.parse_args()
    records = [each for each in read_rows(args.records) if each["layers"] == LAYERS]
    args.out.write_text(page(records), encoding="utf-8")


def page(records: Sequence[Record]) -> str:
    """A section for each device, batch and precision, then what the disk holds."""
    machines = ", ".join(sorted({each["machine"] for each in records}))
    bare = [each["bare_mb"] for each in records if each["device"] == "cpu"] or [0]
    lines = [
        "# Memory: every weight, or a module",
        "",
        f"XLM-R Large's exact shape ({SHAPE}) with random weights, a classification of random "
        "tokens, AdamW, two steps; one process a row. `Trainer`, `AdapterTrainer` and `peft` are "
        "as their examples configure them. Peak is the most that the process held between the "
        "end of loading and the end of the last step, by the kernel's high-water mark (on a GPU, "
        "by torch). *Without the model* leaves out the weights that lie in memory, new modules "
        "among them, and what Python, the libraries and the tokenizer take before there is a model "
        f"(on a CPU {min(bare):,.0f} MB where the tokenizer is put away, else up to "
        f"{max(bare):,.0f}): gradients, optimizer and activations "
        "remain. "
        f"Machine: {machines}; other work ran beside it, so processor seconds of the second step "
        "stand beside those of the clock. Ours leaves the words on disk that "
        "no text has asked for, computes the attention weights of short texts and the outputs of "
        "layer norms again, gives large blocks back to the machine as soon as they are freed, and "
        "holds no tokenizer once the texts are encoded. The "
        "tokens are random, so that few words come twice: "
        "real text needs fewer of them. Made by `python benchmarks/memory.py`, the page by `python "
        "benchmarks/memory_page.py` from [the records](records/memory.jsonl).",
    ]
    if not any(each["precision"] == "bf16" for each in records):
        lines += ["", "This processor has no bf16, so that precision was not measured."]
    if not any(each["device"] == "cuda" for each in records):
        lines += [
            "",
            "There was no GPU: the goal there (1/8 at 32 x 384, `python benchmarks/memory.py "
            "--device cuda --batches 32x384`) is open.",
        ]
    missing = [each for each in BATCHES if not any(row["batch"] == each for row in records)]
    rows = [each for each in ROWS if not any(each_is(each, record) for record in records)]
    if missing or rows:
        named = [*missing, *(f"{each.what}, {each.who}, {each.taken}" for each in rows)]
        lines += ["", f"Not measured yet: {'; '.join(named)}. The script goes on where it stopped."]
    groups = sorted({(each["device"], each["precision"], each["batch"]) for each in records})
    for group in groups:
        lines += section(*group, [each for each in records if group_of(each) == group])
    return "\n".join([*lines, *disk(records)]) + "\n"


def each_is(row: Row, record: Record) -> bool:
    """Whether a record is of that way of training."""
    return (row.what, row.who, row.taken) == (record["what"], record["who"], record["taken"])


def group_of(record: Record) -> tuple[str, str, str]:
    """What is compared in one section."""
    return record["device"], record["precision"], record["batch"]


def section(device: str, precision: str, batch: str, records: Sequence[Record]) -> list[str]:
    """The ways of training, what each measure brings, and the ways of asking."""
    base = next((each for each in records if each["what"] == "full"), None)
    ways = [each for each in records if each["what"] in WHAT and each["taken"] == "default"]
    lines = ["", f"## {batch.replace('x', ' x ')} tokens, {precision}, {device}", ""]
    lines += [
        "| what learns | by | peak MB | of full | without the model MB | of full | seconds, "
        "processors | by the clock |",
        "|---|---|---|---|---|---|---|---|",
        *(
            f"| {WHAT[each['what']]} | {each['who']} {shares(each, base)} | "
            f"{each['cpu_seconds']:,.3g} | {each['seconds']:,.3g} |"
            for each in sorted(ways, key=lambda each: list(WHAT).index(each["what"]))
        ),
    ]
    lines += ["", *whose(ways)]
    goal = GOALS.get((device, batch))
    if base and goal:
        lines += ["", *reached(goal, base, trained_by_ours(records))]
    return [*lines, *measures(records, base), *asked(records)]


def whose(records: Sequence[Record]) -> list[str]:
    """The machine of the rows, or that of each of them where they differ."""
    rows: dict[str, list[str]] = {}
    for each in records:
        rows.setdefault(each["machine"], []).append(f"{WHAT[each['what']]} by {each['who']}")
    if len(rows) == 1:
        return [f"Machine: {next(iter(rows))}."]
    return [f"{machine}: {'; '.join(named)}." for machine, named in rows.items()]


def trained_by_ours(records: Sequence[Record]) -> list[Record]:
    """The bottleneck adapters that ours trains, by the measures taken."""
    found = [each for each in records if (each["what"], each["who"]) == ("bottleneck", "ours")]
    return sorted(found, key=lambda each: list(TAKEN).index(each["taken"]))


def reached(goal: int, base: Record, ours: Sequence[Record]) -> list[str]:
    """Whether a bottleneck adapter takes as little as it should, by default or with an option."""
    parts = {each["taken"]: peak(base) / peak(each) for each in ours}
    said = [
        f"1/{parts[taken]:.1f} {how}"
        for taken, how in (
            ("default", "by default"),
            ("recomputed", "with `--activations recomputed`"),
            ("recomputed offloaded", "with `--activations offloaded`"),
        )
        if taken in parts
    ]
    met = "reached" if max(parts.values(), default=0.0) >= goal else "not reached"
    return [f"The goal, 1/{goal} of full fine-tuning's peak, is {met}: {', '.join(said)}."]


def shares(record: Record, base: Record | None) -> str:
    """Peak, with and without the model, and as parts of full fine-tuning's."""
    cells = []
    for measure in (peak, without_model):
        mine = measure(record)
        part = f"1/{measure(base) / mine:.1f}" if base and base is not record else ""
        cells += [f"{mine:,.0f}", part]
    return " | ".join(["", *cells]).strip()


def peak(record: Record) -> float:
    """The most that the process held."""
    return float(record["peak_mb"])


def without_model(record: Record) -> float:
    """The same without the libraries and the weights."""
    return float(record["peak_mb"] - record["bare_mb"] - record["parameters_mb"])


def measures(records: Sequence[Record], base: Record | None) -> list[str]:
    """What each measure of ours brings to a bottleneck adapter."""
    ours = trained_by_ours(records)
    if len(ours) < 2:
        return []
    return [
        "",
        "What each measure brings to a bottleneck adapter, trained by ours:",
        "",
        "| measure | peak MB | of full | without the model MB | of full | seconds, processors |",
        "|---|---|---|---|---|---|",
        *(
            f"| {TAKEN[each['taken']]} {shares(each, base)} | {each['cpu_seconds']:,.3g} |"
            for each in ours
        ),
    ]


def asked(records: Sequence[Record]) -> list[str]:
    """One module and many on one backbone, when they are asked."""
    found = [each for each in records if each["what"] in ASKED]
    if not found:
        return []
    return [
        "",
        "Bottleneck adapters with their heads on one backbone, asked without gradients, by a "
        "version that gave freed blocks back at once there, too, and not in trainings alone:",
        "",
        "| modules in memory | peak MB |",
        "|---|---|",
        *(f"| {ASKED[each['what']]} | {each['peak_mb']:,.0f} |" for each in found),
    ]


def disk(records: Sequence[Record]) -> list[str]:
    """What nine tasks take on disk, by the number of weights that each of them learns."""
    whole = [each for each in records if each["taken"] == "default"]
    learnt = {each["what"]: each["learning"] for each in whole if each["who"] != "AdapterTrainer"}
    kinds = [each for each in ("full", "bottleneck", "lora", "fusion-lean") if each in learnt]
    return [
        "",
        f"## On disk, {TASKS} tasks",
        "",
        "What learns is what is kept, in float32, the head of 1.1 million weights included.",
        "",
        "| kept of each task | weights | MB | nine tasks, MB |",
        "|---|---|---|---|",
        *(
            f"| {WHAT[each]} | {learnt[each]:,} | {learnt[each] * 4e-6:,.0f} "
            f"| {learnt[each] * 4e-6 * TASKS:,.0f} |"
            for each in kinds
        ),
    ]


if __name__ == "__main__":
    main()
