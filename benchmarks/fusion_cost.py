"""Forward time and parameters of fusions over nine modules, against one module.

Nine modules of a kind lie in one frozen trunk with every kind of fusion over them, ours and the
library's own `Fuse`. Every round times each of them once, in turn, forwards in even rounds and
backwards in odd ones; a ratio is taken within a round, and its median over the rounds counts.
Weights are random: the time does not depend on them.

    python benchmarks/fusion_cost.py
    python benchmarks/fusion_cost.py --page       # the page alone, of the records
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from steps import add_row, commit, read_rows

RECORDS = Path("docs/results/records/fusion_cost.jsonl")
TRUNKS = {
    "embedded": "the embedded backbone (12 layers, 384 wide)",
    "large": "XLM-R Large's shape (24 layers, 1,024 wide), random weights",
}
PRECISIONS = ("fp32", "bf16")
GOAL = 1.6
"""A fused forward may take that many times as long as one with a single module."""


@dataclass(frozen=True)
class Candidate:
    """One way of running the trunk: what is active, and whose code runs a fusion."""

    name: str
    family: str = ""
    fusion: str = ""
    library: bool = False

    @property
    def module(self) -> str:
        """What the fusion is called in the engine; without one, the first module."""
        return f"{self.family}-{self.fusion}" if self.fusion else f"{self.family}0"


TRUNK = Candidate("the trunk alone")
ONE = {
    "bottleneck": Candidate("one bottleneck adapter", "bottleneck"),
    "lora": Candidate("one LoRA", "lora"),
}
LIBRARY = Candidate("full fusion, `Fuse` of the library", "bottleneck", "full", library=True)
FUSED = (
    *(
        Candidate(f"{kind} fusion, ours", "bottleneck", kind)
        for kind in ("full", "lean", "shared", "uniform")
    ),
    *(Candidate(f"{kind} fusion of LoRAs, ours", "lora", kind) for kind in ("lean", "uniform")),
)
CANDIDATES = (TRUNK, *ONE.values(), LIBRARY, *FUSED)


def main() -> None:
    """Measures one trunk in one precision (in a child process), or all of them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--trunks", nargs="+", default=list(TRUNKS), choices=list(TRUNKS))
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, help="those that are fast")
    parser.add_argument("--modules", type=int, default=9)
    parser.add_argument("--rows", type=int, default=4)
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--layers", type=int, default=0, help="of the large trunk, for a trial")
    parser.add_argument("--records", type=Path, default=RECORDS)
    parser.add_argument("--out", type=Path, default=Path("docs/results/fusion_cost.md"))
    parser.add_argument("--page", action="store_true", help="the page alone")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one is not None:
        print(json.dumps(measure(args, *args.one)))
        return
    if not args.page:
        measure_all(args)
    args.out.write_text(page(read_rows(args.records)), encoding="utf-8")


def measure_all(args: argparse.Namespace) -> None:
    """Every trunk and precision that the records lack, with these options."""
    from adapter_stilts.backbones import default_device

    options = {key: getattr(args, key) for key in ("modules", "rows", "length", "rounds", "layers")}
    for trunk in args.trunks:
        for precision in args.precisions or fast_precisions(default_device()):
            named = {"trunk": trunk, "precision": precision, **options}
            if any(named.items() <= row.items() for row in read_rows(args.records)):
                continue
            command = [sys.executable, __file__, "--one", trunk, precision]
            command += [each for key, value in options.items() for each in (f"--{key}", str(value))]
            done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
            found = json.loads(done.stdout.splitlines()[-1])
            add_row(args.records, {**named, **found, "commit": commit()})
            for candidate, row in found["candidates"].items():
                told = f"{trunk} {precision}: {candidate}: {median(row['ms']):.1f} ms"
                print(told, file=sys.stderr, flush=True)


def fast_precisions(device: Any) -> list[str]:
    """Those among which a careful user chooses there: bf16 only where the hardware has it."""
    from adapter_stilts.backbones import bf16_available

    return list(PRECISIONS) if bf16_available(device) else ["fp32"]


def measure(args: argparse.Namespace, trunk: str, precision: str) -> dict[str, Any]:
    """Milliseconds of every candidate in every round, and the parameters it adds."""
    import torch

    from adapter_stilts.backbones.tokenizer import quieten
    from adapter_stilts.engine.engine import activate_block, forward
    from adapter_stilts.environment import machine

    quieten()
    engine = load(trunk, precision, args.layers)
    fill(engine, args.modules)
    generator = torch.Generator().manual_seed(0)
    size = int(engine.model.config.vocab_size)
    ids = torch.randint(5, size, (args.rows, args.length), generator=generator)
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    rows: dict[str, dict[str, Any]] = {
        each.name: {"ms": [], "parameters": parameters(engine, each)} for each in CANDIDATES
    }
    for number in range(-2, args.rounds):  # two rounds to warm up
        for each in CANDIDATES if number % 2 == 0 else reversed(CANDIDATES):
            activate_block(engine, block(each, args.modules), "")
            with library_code(engine) if each.library else nullcontext():
                spent = timed(lambda: forward(engine, batch), cuda=engine.device.type == "cuda")
            if number >= 0:
                rows[each.name]["ms"].append(1000 * spent)
    return {"machine": machine(), "candidates": rows}


def timed(run: Callable[[], Any], *, cuda: bool) -> float:
    """Seconds of one call."""
    import torch

    if cuda:
        torch.cuda.synchronize()
    began = time.perf_counter()
    run()
    if cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - began


def load(trunk: str, precision: str, layers: int) -> Any:
    """The trunk in memory: the embedded one, or a random one of XLM-R Large's shape."""
    import torch
    from adapters import AutoAdapterModel
    from transformers import XLMRobertaConfig

    from adapter_stilts.backbones import Backbone, default_device, find_backbone
    from adapter_stilts.engine.engine import Engine, load_engine
    from adapter_stilts.engine.patches import patch_layers

    if trunk == "embedded":
        return load_engine(find_backbone("embedded"), precision=precision, device=default_device())
    config = XLMRobertaConfig(
        vocab_size=250_002,
        hidden_size=1024,
        num_hidden_layers=layers or 24,
        num_attention_heads=16,
        intermediate_size=4096,
        max_position_embeddings=514,
        type_vocab_size=1,
        layer_norm_eps=1e-5,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    model = AutoAdapterModel.from_config(config)
    patch_layers(model)
    dtype = torch.float32 if precision == "fp32" else torch.bfloat16
    model.to(device=default_device(), dtype=dtype)
    model.requires_grad_(False).eval()
    return Engine(model, Backbone("random", Path()), "random", dtype)


def fill(engine: Any, modules: int) -> None:
    """So many bottleneck modules and LoRAs, and every fusion over them, none of it at zero."""
    import torch

    from adapter_stilts.engine.engine import add_module, module_parameters
    from adapter_stilts.engine.fusing import FusionShape, add_fusion
    from adapter_stilts.engine.methods import MethodOptions, get_method

    for family in ONE:
        for name in names(family, modules):
            add_module(engine, name, get_method(family), MethodOptions(), head="embedding")
    for each in FUSED:
        sources = names(each.family, modules)
        shape = FusionShape.of(f"fusion-{each.fusion}")
        add_fusion(engine, each.module, sources, shape, head="embedding")
    with torch.no_grad():
        for name in engine.modules:
            for parameter in module_parameters(engine, name).values():
                parameter.add_(torch.randn_like(parameter), alpha=0.01)
    engine.model.requires_grad_(False)
    engine.model.eval()


def names(family: str, modules: int) -> list[str]:
    """What the modules are called in the engine."""
    return [f"{family}{number}" for number in range(modules)]


def block(candidate: Candidate, modules: int) -> Any:
    """What the engine activates."""
    from adapters.composition import Fuse

    if not candidate.family:
        return None
    if not candidate.fusion:
        return candidate.module
    return Fuse(*names(candidate.family, modules), name=candidate.module)


@contextmanager
def library_code(engine: Any) -> Any:
    """Inside the block, the library's own code runs the fusions of bottleneck modules."""
    from adapters.methods.bottleneck import BottleneckLayer

    layers = [each for each in engine.model.modules() if isinstance(each, BottleneckLayer)]
    ours = [
        (each, vars(each).pop("compose_fuse")) for each in layers if "compose_fuse" in vars(each)
    ]
    yield
    for each, function in ours:
        each.compose_fuse = function


def parameters(engine: Any, candidate: Candidate) -> int:
    """What a candidate adds to learn: the module, or the fusion over modules that stay."""
    from adapter_stilts.engine.engine import module_parameters

    if not candidate.family:
        return 0
    return sum(each.numel() for each in module_parameters(engine, candidate.module).values())


def page(records: Sequence[dict[str, Any]]) -> str:
    """One table a trunk and precision."""
    machines = ", ".join(sorted({each["machine"] for each in records}))
    commits = ", ".join(sorted({each["commit"] for each in records}))
    one = records[0]
    lines = [
        "# What a fusion costs",
        "",
        f"Forward pass in evaluation mode of {one['rows']} rows of {one['length']} tokens; fusions "
        f"over {one['modules']} modules (reduction factor 16; LoRA of rank 8 on query and value). "
        f"Medians of {one['rounds']} rounds in which all take turns, so that a ratio compares what "
        "ran side by side; in brackets, the least and the greatest. Parameters are those that "
        "are learnt: the module's, or the fusion's over modules that stay as they are. Machine: "
        f"{machines}; commit {commits}. Made by `python benchmarks/fusion_cost.py` of "
        "[the records](records/fusion_cost.jsonl).",
        "",
        f"The goal is {GOAL} times the forward pass of a single module.",
    ]
    for each in records:
        lines += ["", f"## {TRUNKS[each['trunk']]}, {each['precision']}", ""]
        lines += table(each["candidates"])
    return "\n".join(lines) + "\n"


def table(rows: dict[str, dict[str, Any]]) -> list[str]:
    """A row a candidate; what it is compared with is one module of its kind."""
    full = rows[LIBRARY.name]["parameters"]
    lines = [
        "| active | parameters | of full fusion | ms | against one module |",
        "|---|---|---|---|---|",
    ]
    for each in CANDIDATES:
        row = rows[each.name]
        count = row["parameters"]
        share = f"1/{full / count:.0f}" if each.fusion and 0 < count < full else ""
        base = rows[ONE[each.family or "bottleneck"].name]["ms"]
        ratio = spread([mine / other for mine, other in zip(row["ms"], base, strict=True)])
        lines.append(f"| {each.name} | {count:,} | {share} | {median(row['ms']):,.1f} | {ratio} |")
    return lines


def spread(ratios: Sequence[float]) -> str:
    """The median with the least and the greatest."""
    return f"{median(ratios):.2f}x ({min(ratios):.2f} to {max(ratios):.2f})"


if __name__ == "__main__":
    main()
