"""Memory of one backbone with many modules, against as many full copies of the model.

Each measurement is a process of its own, which loads what it is to hold, sends an input through
every module or copy, and reports its resident memory. `--modules` are folders that hold trained
modules, at any depth; without them modules of the same shape with random weights are made, whose
memory is the same.

    python benchmarks/serve_memory.py --modules adapters_zoo/embedded
    python benchmarks/serve_memory.py --trunk large --copies 1,2,3
    python benchmarks/serve_memory.py --page      # the pages alone, of the records
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from steps import add_row, commit, read_rows

RECORDS = Path("docs/results/records/serve_memory.jsonl")
PAGES = {"embedded": "serve_memory.md", "large": "serve_memory_large.md"}
TOKENS = 64
TRUNKS = {
    "embedded": "the embedded backbone (12 layers, 384 wide)",
    "large": "XLM-R Large's shape (24 layers, 1,024 wide), random weights",
}
INPUTS: dict[str, dict[str, Any]] = {
    "span": {"question": "Wo steht das Schloss?", "context": "Das Schloss steht über Prag."},
    "classification": {"text_a": "Ana joue du violoncelle.", "text_b": "Ana joue d'un instrument."},
    "choice": {"prompt": "Where would you keep plates?"},
    "tagging": {"words": ["She", "reads", "old", "letters", "."]},
    "embedding": {"text": "Trời hôm nay rất đẹp."},
}


def main() -> None:
    """Measures one thing (in a child process) or everything, and writes the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--trunk", choices=TRUNKS, default="embedded")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="bf16")
    parser.add_argument("--modules", type=Path, nargs="*", default=[], help="folders of modules")
    parser.add_argument("--counts", default="0,1,20", help="modules on one backbone")
    parser.add_argument("--copies", default="1,2,20", help="full models, as many as fit")
    parser.add_argument("--records", type=Path, default=RECORDS)
    parser.add_argument("--out", type=Path, help="by default a page of docs/results for the trunk")
    parser.add_argument("--page", action="store_true", help="the page alone")
    parser.add_argument("--one", nargs=2, metavar=("KIND", "COUNT"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(measure(args, args.one[0], int(args.one[1]))))
        return
    if not args.page:
        asked = [("modules", count) for count in args.counts.split(",")]
        asked += [("copies", count) for count in args.copies.split(",")]
        given = {"trunk": args.trunk, "precision": args.precision, "command": " ".join(shown(args))}
        rows = [{**given, **child(kind, count), "commit": commit()} for kind, count in asked]
        for row in rows:
            add_row(args.records, row)
    rows = [row for row in read_rows(args.records) if row["trunk"] == args.trunk]
    out = args.out or Path("docs/results") / PAGES[args.trunk]
    out.write_text(page(rows), encoding="utf-8")


def child(kind: str, count: str) -> dict[str, Any]:
    """One measurement in a process of its own."""
    command = [sys.executable, __file__, *sys.argv[1:], "--one", kind, count]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    row: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(f"{kind} {count}: {row['resident']:,.0f} MB", file=sys.stderr)
    return row


def measure(args: argparse.Namespace, kind: str, count: int) -> dict[str, Any]:
    """Loads that many, asks each, and reports the memory of this process in MB."""
    from adapter_stilts.backbones.tokenizer import quieten
    from adapter_stilts.environment import machine, peak_memory_mb, return_freed

    quieten()
    if kind == "copies":
        held, files = _copies(args, count), 0
    elif args.modules:
        held, files = _trained(args, count)
    else:
        held, files = _random(args, count), 0
    assert held is not None
    return_freed()  # or the heap keeps, now and then, what a copy took while it was read
    return {
        "kind": kind,
        "count": count,
        "resident": _resident_mb(),
        "peak": peak_memory_mb(),
        "files": files / 1e6,
        "machine": machine(),
    }


def _resident_mb() -> float:
    """Resident memory now; Linux tells it."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    (line,) = (each for each in status.splitlines() if each.startswith("VmRSS:"))
    return int(line.split()[1]) * 1024 / 1e6


def _engine(args: argparse.Namespace) -> Any:
    from fusion_cost import load

    return load(args.trunk, args.precision, 0)


def _ask(engine: Any) -> None:
    """One pass with what is active."""
    import torch

    from adapter_stilts.engine.engine import forward

    ids = torch.randint(5, int(engine.model.config.vocab_size), (1, TOKENS))
    forward(engine, {"input_ids": ids, "attention_mask": torch.ones_like(ids)})


def _copies(args: argparse.Namespace, count: int) -> list[Any]:
    """Full models, each with a head of its own."""
    from adapter_stilts.engine.engine import add_head

    engines = [_engine(args) for _ in range(count)]
    for engine in engines:
        add_head(engine, "head", "span")
        engine.model.active_head = "head"
        _ask(engine)
    return engines


def _random(args: argparse.Namespace, count: int) -> Any:
    """One trunk with new bottleneck modules, each with a head."""
    from adapter_stilts.engine.engine import activate_block, add_module
    from adapter_stilts.engine.methods import MethodOptions, get_method

    engine = _engine(args)
    for number in range(count):
        name = f"module-{number}"
        add_module(engine, name, get_method("bottleneck"), MethodOptions(), head="span")
    engine.model.requires_grad_(False).eval()
    if not count:
        _ask(engine)
    for number in range(count):
        activate_block(engine, f"module-{number}", f"module-{number}")
        _ask(engine)
    return engine


def _trained(args: argparse.Namespace, count: int) -> tuple[Any, int]:
    """One trunk with modules from disk, and the bytes of their weights; all asked in one batch."""
    from adapter_stilts.serving.pool import ModulePool, offers_of
    from adapter_stilts.zoo.together import finish, prepare, run

    engine = _engine(args)
    folders = sorted(path.parent for top in args.modules for path in top.rglob("module.json"))
    if len(folders) < count:
        raise SystemExit(f"{len(folders)} modules in {args.modules}: fewer than {count}")
    folders = folders[:count]
    offers = [offer for folder in folders for offer in offers_of(str(folder))]
    pool = ModulePool(engine, offers, most=len(offers))
    asked = []
    for offer in offers:
        given = dict(INPUTS[offer.record.head])
        if offer.choices:
            given["options"] = [f"cupboard {number}" for number in range(offer.choices)]
        asked.append((pool.module(offer.name), given))
    if not asked:
        _ask(engine)
    prepared = prepare(asked)
    run([(each, number) for each in prepared for number in range(len(each.sizes))])
    assert len(finish(prepared)) == len(asked)
    # LoRAs lie there in the formats of two libraries: one of them is loaded.
    weights = [path for folder in folders for path in folder.glob("*.safetensors")]
    return pool, sum(path.stat().st_size for path in weights)


def page(rows: list[dict[str, Any]]) -> str:
    """The table, and what twenty come to, by the last measurement of each."""
    rows = list({(row["kind"], row["count"]): row for row in rows}.values())
    first = rows[0]
    machines = ", ".join(sorted({row["machine"] for row in rows}))
    commits = ", ".join(sorted({row["commit"] for row in rows}))
    modules = {row["count"]: row for row in rows if row["kind"] == "modules"}
    copies = {row["count"]: row for row in rows if row["kind"] == "copies"}
    most, many = max(modules), max(copies)
    each = (copies[many]["resident"] - copies[min(copies)]["resident"]) / max(1, many - min(copies))
    whole = copies[most]["resident"] if most in copies else 0.0
    how = "measured"
    if not whole:
        whole = copies[many]["resident"] + (most - many) * each
        how = f"not measured: {many} copies, and {most - many} more at {each:,.0f} MB each"
    own = modules[most]["resident"]
    lines = [
        "# Memory of many modules",
        "",
        f"Resident memory of one process, Python and its libraries included, that holds "
        f"{TRUNKS[first['trunk']]} in {first['precision']} and has sent an input through every "
        "module or copy, once what was freed is given back. The peak holds weights in fp32 while "
        "they are read. Machine: "
        f"{machines}; commit {commits}. Made by `{first['command']}` of "
        "[the records](records/serve_memory.jsonl).",
        "",
        f"{most} modules on one backbone take {own:,.0f} MB, {most} full models "
        f"{whole:,.0f} MB ({how}): {whole / own:.1f} times as much.",
        "",
        "| held in memory | MB | peak MB |",
        "|---|---|---|",
    ]
    lines += [f"| {_held(row)} | {row['resident']:,.0f} | {row['peak']:,.0f} |" for row in rows]
    if files := modules[most]["files"]:
        lines += [
            "",
            f"The weights of the {most} modules are {files:,.1f} MB on disk. With the first module "
            "tokenizer and data library come into memory, which the full models go without here.",
        ]
    elif most:
        lines += ["", "The modules are bottleneck adapters with random weights."]
    return "\n".join(lines) + "\n"


def _held(row: dict[str, Any]) -> str:
    many = "" if row["count"] == 1 else "s"
    if row["kind"] == "modules":
        return f"{row['count']} module{many} on one backbone"
    return f"{row['count']} full model{many}"


def shown(args: argparse.Namespace) -> list[str]:
    """The command, with the options that were not left at their defaults."""
    found = ["python benchmarks/serve_memory.py"]
    found += [f"--trunk {args.trunk}"] if args.trunk != "embedded" else []
    found += [f"--precision {args.precision}"] if args.precision != "bf16" else []
    found += ["--modules", *map(str, args.modules)] if args.modules else []
    return found + ([f"--copies {args.copies}"] if args.copies != "1,2,20" else [])


if __name__ == "__main__":
    main()
