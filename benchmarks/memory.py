"""Peak memory and seconds a step of training: every weight, or a module on the frozen backbone.

XLM-R Large's exact shape with random weights (memory does not depend on them), written to disk once
and loaded from there as a user's backbone is. One process a row; its peak is the kernel's
high-water mark of resident memory (on a GPU, torch's own peak) between the end of loading and the
end of the last step. Rows that the records hold already are not measured again.

    python benchmarks/memory.py
    python benchmarks/memory.py --device cuda --batches 32x384
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from steps import read_rows

SOURCES = 9
"""Modules that a fusion is over."""
SERVED = 20
"""Modules that lie on one backbone where many are asked."""
LABELS = ("entailment", "neutral", "contradiction")
RECORDS = Path("docs/results/records/memory.jsonl")

What = Literal["full", "bottleneck", "lora", "fusion-lean", "fusion-full", "ask-1", "ask-many"]
Who = Literal["Trainer", "AdapterTrainer", "peft + Trainer", "ours"]
Precision = Literal["fp32", "bf16"]
Taken = Literal[
    "default", "table", "upper-half", "recomputed", "recomputed offloaded", "upper-half recomputed"
]


@dataclass(frozen=True)
class Row:
    """One way of training: what learns, by whose code, in which precision, by which measures.

    `precision` is that of the activations; ours holds the frozen weights in it, too. `taken` says
    what differs from what this package does by itself.
    """

    what: What
    who: Who
    precision: Precision = "fp32"
    taken: Taken = "default"


ROWS = (
    Row("full", "Trainer"),
    Row("bottleneck", "ours"),
    Row("bottleneck", "AdapterTrainer"),
    Row("lora", "peft + Trainer"),
    Row("lora", "ours"),
    Row("fusion-lean", "ours"),
    Row("bottleneck", "ours", taken="table"),
    Row("bottleneck", "ours", taken="upper-half"),
    Row("bottleneck", "ours", taken="recomputed"),
    Row("bottleneck", "ours", taken="recomputed offloaded"),
    Row("ask-1", "ours"),
    Row("ask-many", "ours"),
    Row("fusion-full", "AdapterTrainer"),
    Row("bottleneck", "ours", taken="upper-half recomputed"),
)
"""What is compared in each precision; the rows that matter most come first."""
ALONE = {"table": "cpu", "recomputed offloaded": "cuda"}
"""What makes no difference on the other device."""


def main() -> None:
    """Measures one row (in a child process), or all that are missing."""
    args = arguments()
    if args.make:
        make_trunk(args)
        return
    if args.one:
        row = Row(**json.loads(args.one))
        print(json.dumps(ask(args, row) if row.what.startswith("ask") else train(args, row)))
        return
    import torch
    from fusion_cost import fast_precisions

    args.work.mkdir(parents=True, exist_ok=True)
    args.records.parent.mkdir(parents=True, exist_ok=True)
    child(args, "--make")
    chosen: list[Any] = args.precisions or fast_precisions(torch.device(args.device))
    for batch in args.batches:
        for precision in chosen:
            for row in (replace(each, precision=precision) for each in ROWS):
                if args.only and f"{row.what}/{row.who}/{row.taken}" not in args.only:
                    continue
                if args.device != ALONE.get(row.taken, args.device):
                    continue
                if key(args, row, batch) not in map(key_of, read_rows(args.records)):
                    found = child(args, "--batch", batch, "--one", json.dumps(asdict(row)))
                    with args.records.open("a", encoding="utf-8") as file:
                        file.write(f"{found}\n")
                    print(found, file=sys.stderr, flush=True)


def arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--batches", nargs="+", default=["8x128", "8x256"], help="rows x tokens")
    parser.add_argument("--precisions", nargs="+", choices=("fp32", "bf16"))
    parser.add_argument("--only", nargs="+", help="rows, as bottleneck/ours/default")
    parser.add_argument("--steps", type=int, default=2, help="the last is the one that is timed")
    parser.add_argument("--layers", type=int, default=24, help="fewer for a trial")
    parser.add_argument("--work", type=Path, default=Path("runs/memory"))
    parser.add_argument("--records", type=Path, default=RECORDS)
    parser.add_argument("--make", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--batch", help=argparse.SUPPRESS)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    return parser.parse_args()


def key(args: argparse.Namespace, row: Row, batch: str) -> tuple[Any, ...]:
    """What tells a measurement from the others."""
    return (*asdict(row).values(), batch, args.device, args.layers)


def key_of(record: dict[str, Any]) -> tuple[Any, ...]:
    """The same, of a measurement that was made."""
    names = ("what", "who", "precision", "taken", "batch", "device", "layers")
    return tuple(record[name] for name in names)


def child(args: argparse.Namespace, *more: str) -> str:
    """This script in a process of its own; the last line that it prints."""
    command = [sys.executable, __file__, "--device", args.device, "--work", str(args.work)]
    command += ["--layers", str(args.layers), "--steps", str(args.steps), *more]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    return (done.stdout.splitlines() or [""])[-1]


def trunk_folder(args: argparse.Namespace) -> Path:
    """Where the random backbone lies."""
    return Path(args.work / f"xlm-r-large-{args.layers}")


def make_trunk(args: argparse.Namespace) -> None:
    """Writes XLM-R Large's shape with random weights and its tokenizer, unless it is there."""
    import torch
    from transformers import XLMRobertaConfig, XLMRobertaModel

    from adapter_stilts.backbones import find_backbone
    from adapter_stilts.paths import atomic_folder

    if trunk_folder(args).exists():
        return
    torch.manual_seed(0)
    config = XLMRobertaConfig(
        vocab_size=250_002,
        hidden_size=1024,
        num_hidden_layers=args.layers,
        num_attention_heads=16,
        intermediate_size=4096,
        max_position_embeddings=514,
        type_vocab_size=1,
        layer_norm_eps=1e-5,
    )
    with atomic_folder(trunk_folder(args)) as folder:
        XLMRobertaModel(config, add_pooling_layer=False).save_pretrained(folder)
        find_backbone("embedded").tokenizer.save_pretrained(folder)  # XLM-R's own vocabulary


Tick = tuple[float, float]
"""Seconds by the clock, and those that the processors worked for this process."""


def train(args: argparse.Namespace, row: Row) -> dict[str, Any]:
    """Trains a few steps and reports peak memory and time."""
    import torch
    from transformers import TrainerCallback, set_seed

    bare = prepare(args, holds_tokenizer=row.who != "ours")
    set_seed(0)
    ticks: list[Tick] = []

    def tick(self: Any, arguments: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if args.device == "cuda":
            torch.cuda.synchronize()
        ticks.append((time.monotonic(), time.process_time()))

    clock = type("Clock", (TrainerCallback,), {"on_step_end": tick})()
    with TemporaryDirectory() as folder:
        trainer = BUILD[row.who](args, row, clock, folder)
        forget_peak(args.device)
        trainer.train()
    learning = [each.numel() for each in trainer.model.parameters() if each.requires_grad]
    return record(args, row, bare, trainer.model, ticks[-2:], sum(learning))


def ask(args: argparse.Namespace, row: Row) -> dict[str, Any]:
    """Asks modules on one backbone in memory, the first and the last of them."""
    from adapter_stilts.engine.engine import add_module, forward
    from adapter_stilts.engine.methods import MethodOptions, get_method

    bare = prepare(args, holds_tokenizer=True)
    engine = our_engine(args, row)
    names = [f"module{number}" for number in range(SERVED if row.what == "ask-many" else 1)]
    for name in names:
        bottleneck = get_method("bottleneck")
        add_module(engine, name, bottleneck, MethodOptions(), head="classification", labels=LABELS)
    engine.model.to(engine.device).eval()
    columns = texts(args).with_format("torch")[: int(args.batch.split("x")[0])]
    batch = {name: columns[name] for name in ("input_ids", "attention_mask")}
    forget_peak(args.device)
    ticks: list[Tick] = [(time.monotonic(), time.process_time())]
    for name in (names[0], names[-1]):
        engine.model.set_active_adapters(name)
        engine.model.active_head = name
        forward(engine, batch)
        ticks.append((time.monotonic(), time.process_time()))
    return record(args, row, bare, engine.model, ticks[-2:], 0)


def record(
    args: argparse.Namespace, row: Row, bare: float, model: Any, ticks: list[Tick], learning: int
) -> dict[str, Any]:
    """What is kept of a measurement; memory in MB."""
    import torch

    from adapter_stilts.environment import machine

    used = torch.cuda.max_memory_allocated() / 1e6 if args.device == "cuda" else status("VmHWM")
    held = sum(each.numel() * each.element_size() for each in model.parameters())
    (wall, worked), (later, worked_later) = ticks
    return {
        **asdict(row),
        "batch": args.batch,
        "device": args.device,
        "layers": args.layers,
        "bare_mb": round(bare),
        "parameters_mb": round(held / 1e6),
        "peak_mb": round(used),
        "seconds": round(later - wall, 1),
        "cpu_seconds": round(worked_later - worked, 1),
        "learning": learning,
        "machine": machine(),
    }


def prepare(args: argparse.Namespace, *, holds_tokenizer: bool) -> float:
    """Imports what every side needs and reads the tokenizer; the memory of that, in MB.

    A training of this package puts the tokenizer away once its texts are encoded.
    """
    import adapters
    import peft
    import transformers

    from adapter_stilts.backbones import find_backbone
    from adapter_stilts.backbones.tokenizer import quieten
    from adapter_stilts.environment import return_freed
    from adapter_stilts.training.trainer import ModuleTrainer

    quieten()
    assert all((adapters, peft, transformers.Trainer, ModuleTrainer))
    args.backbone = find_backbone(str(trunk_folder(args)))
    assert args.backbone.pad_id
    if not holds_tokenizer:
        args.backbone.put_tokenizer_away()
        return_freed()
    return 0.0 if args.device == "cuda" else status("VmRSS")


def forget_peak(device: str) -> None:
    """Sets the high-water mark back to what is in use now."""
    import gc

    import torch

    gc.collect()
    if device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    else:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def status(field: str) -> float:
    """What the kernel says of this process's memory, in MB."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    (line,) = (each for each in lines if each.startswith(f"{field}:"))
    return int(line.split()[1]) * 1024 / 1e6


def texts(args: argparse.Namespace) -> Any:
    """Random token ids as features of a classification, enough for all steps.

    Random ids are the worst case for what is read on demand: a text repeats its words.
    """
    import datasets
    import numpy as np

    rows, length = map(int, args.batch.split("x"))
    generator = np.random.default_rng(0)
    ids = generator.integers(10, 250_000, size=(rows * (args.steps + 1), length))
    return datasets.Dataset.from_dict(
        {
            "input_ids": ids.tolist(),
            "attention_mask": np.ones_like(ids).tolist(),
            "labels": generator.integers(0, len(LABELS), size=len(ids)).tolist(),
            "length": [length] * len(ids),
        }
    )


def training_arguments(args: argparse.Namespace, row: Row, folder: str, batch: int) -> Any:
    """The same for all; one optimizer, AdamW."""
    from transformers import TrainingArguments

    return TrainingArguments(
        output_dir=folder,
        max_steps=args.steps,
        per_device_train_batch_size=batch,
        learning_rate=1e-5,
        use_cpu=args.device == "cpu",
        bf16=row.precision == "bf16",
        remove_unused_columns=False,
        save_strategy="no",
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )


def full(args: argparse.Namespace, row: Row, clock: Any, folder: str) -> Any:
    """Every weight, by transformers' Trainer as its examples configure it."""
    from transformers import AutoModelForSequenceClassification, Trainer

    model = AutoModelForSequenceClassification.from_pretrained(
        trunk_folder(args), num_labels=len(LABELS)
    )
    return theirs(Trainer, args, row, clock, folder, model)


def peft(args: argparse.Namespace, row: Row, clock: Any, folder: str) -> Any:
    """A LoRA by peft in transformers' Trainer."""
    from peft import LoraConfig, TaskType, get_peft_model
    from transformers import AutoModelForSequenceClassification, Trainer

    model = AutoModelForSequenceClassification.from_pretrained(
        trunk_folder(args), num_labels=len(LABELS)
    )
    config = LoraConfig(
        task_type=TaskType.SEQ_CLS, r=8, lora_alpha=16, target_modules=["query", "value"]
    )
    return theirs(Trainer, args, row, clock, folder, get_peft_model(model, config))


def adapters(args: argparse.Namespace, row: Row, clock: Any, folder: str) -> Any:
    """A bottleneck adapter or a fusion, by `adapters` with nothing of ours in the training."""
    from adapters import AdapterTrainer, AutoAdapterModel
    from adapters.composition import Fuse

    model = AutoAdapterModel.from_pretrained(trunk_folder(args))
    model.add_classification_head("task", num_labels=len(LABELS), layers=2)
    if row.what == "fusion-full":
        names = [f"source{number}" for number in range(SOURCES)]
        for name in names:
            model.add_adapter(name, config="seq_bn")
        model.add_adapter_fusion(Fuse(*names))
        model.train_adapter_fusion(Fuse(*names))
        model.heads["task"].requires_grad_(True)
    else:
        model.add_adapter("task", config="seq_bn")
        model.train_adapter("task")
    model.active_head = "task"
    return theirs(AdapterTrainer, args, row, clock, folder, model)


def theirs(
    kind: Any, args: argparse.Namespace, row: Row, clock: Any, folder: str, model: Any
) -> Any:
    """A trainer of the libraries over the same texts."""
    from transformers import default_data_collator

    return kind(
        model=model,
        args=training_arguments(args, row, folder, int(args.batch.split("x")[0])),
        train_dataset=texts(args).remove_columns("length"),
        data_collator=default_data_collator,
        callbacks=[clock],
    )


def our_engine(args: argparse.Namespace, row: Row) -> Any:
    """The frozen trunk as this package loads it."""
    import torch

    from adapter_stilts.engine.engine import load_engine

    device = torch.device(args.device)
    offload = "offloaded" in row.taken
    engine = load_engine(args.backbone, precision=row.precision, device=device, offload=offload)
    if row.taken == "table":
        whole = engine.model.get_input_embeddings().weight.detach().clone()
        engine.model.set_input_embeddings(torch.nn.Embedding.from_pretrained(whole, padding_idx=1))
    return engine


def ours(args: argparse.Namespace, row: Row, clock: Any, folder: str) -> Any:
    """The module as this package trains it."""
    from adapter_stilts.engine.attention import recompute_activations
    from adapter_stilts.engine.engine import return_memory
    from adapter_stilts.training.batching import BatchPlan, BatchSource, planned_batches
    from adapter_stilts.training.trainer import ModuleTrainer

    engine = our_engine(args, row)
    if "recomputed" in row.taken:
        recompute_activations(engine.model)
    add_ours(engine, row)
    return_memory(engine)  # as a training does before its first step
    rows, length = map(int, args.batch.split("x"))
    source = BatchSource("task", texts(args), rows * (args.steps + 1))
    drawn = planned_batches(
        source.lengths, batch_tokens=rows * length, batch_examples=rows, total=args.steps, seed=0
    )
    return ModuleTrainer(
        engine,
        "task",
        training_arguments(args, row, folder, 1),
        sources=[source],
        plan=BatchPlan(drawn),
        score=dict,
        callbacks=[clock],
        on_scores=lambda *_: None,
    )


def add_ours(engine: Any, row: Row) -> None:
    """The new module, or fusion, with its head."""
    from adapter_stilts.engine.engine import add_module
    from adapter_stilts.engine.fusing import FusionShape, add_fusion
    from adapter_stilts.engine.methods import MethodOptions, get_method

    if row.what == "fusion-lean":
        names = [f"source{number}" for number in range(SOURCES)]
        for name in names:
            add_module(engine, name, get_method("bottleneck"), MethodOptions(), head="embedding")
        shape = FusionShape.of(row.what)
        add_fusion(engine, "task", names, shape, head="classification", labels=LABELS)
        return
    left_out = tuple(range(engine.layers // 2)) if "upper-half" in row.taken else ()
    options = MethodOptions(leave_out=left_out)
    add_module(engine, "task", get_method(row.what), options, head="classification", labels=LABELS)


BUILD: dict[Who, Callable[[argparse.Namespace, Row, Any, str], Any]] = {
    "Trainer": full,
    "AdapterTrainer": adapters,
    "peft + Trainer": peft,
    "ours": ours,
}


if __name__ == "__main__":
    main()
