"""Examples per second and peak memory of training, against `adapters` and `peft` themselves.

Every candidate trains on the same SQuAD questions in batches of the same number of questions for
the same number of steps, each in a process of its own, in turn, several rounds; the medians count.
Low precision is bf16 where the processor multiplies it in hardware, and else fp32, for all alike.
`--quality N` also trains some of the candidates on N questions to the end and scores them on dev.

    python benchmarks/train_speed.py --data DATA
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from steps import add_row, commit, read_rows

RECORDS = Path("docs/results/records/train_speed.jsonl")
BATCH = 12  # as the question answering example of `adapters` has it
LENGTH, STRIDE = 384, 128


@dataclass(frozen=True)
class Candidate:
    """One way of training the same module."""

    name: str
    method: str
    trainer: str  # adapters, peft, or ours
    pad: bool = True
    low: bool = False
    dropout: bool = True
    low_weights: bool = False
    attention: bool = False
    unfreeze: bool = False
    upper_half: bool = False


AS_CONFIGURED = Candidate("AdapterTrainer as its example configures it", "bottleneck", "adapters")
GROUPED = replace(AS_CONFIGURED, name="+ padding to the longest, grouped by length", pad=False)
CAREFUL = replace(GROUPED, name="+ autocast where it is fast (configured with care)", low=True)
NO_DROPOUT = replace(CAREFUL, name="+ no dropout in the frozen trunk", dropout=False)
LOW_WEIGHTS = replace(NO_DROPOUT, name="+ frozen weights in that precision", low_weights=True)
OURS = replace(
    LOW_WEIGHTS,
    name="+ attention by matrix products (ours, plain)",
    trainer="ours",
    attention=True,
)
OURS_TOP_DOWN = replace(OURS, name="+ top-down gradual unfreezing (ours)", unfreeze=True)
OURS_UPPER = replace(OURS, name="+ adapters in the upper half only (ours)", upper_half=True)
PEFT = Candidate("peft + Trainer as configured there", "lora", "peft")
PEFT_CAREFUL = replace(PEFT, name="peft + Trainer configured with care", pad=False, low=True)
OURS_LORA = replace(OURS, name="ours, LoRA, plain", method="lora")
OURS_LORA_TOP_DOWN = replace(OURS_TOP_DOWN, name="ours, LoRA, top-down", method="lora")

CANDIDATES = (
    AS_CONFIGURED,
    GROUPED,
    CAREFUL,
    NO_DROPOUT,
    LOW_WEIGHTS,
    OURS,
    OURS_TOP_DOWN,
    OURS_UPPER,
    PEFT,
    PEFT_CAREFUL,
    OURS_LORA,
    OURS_LORA_TOP_DOWN,
)
TRAINED = (CAREFUL, OURS, OURS_UPPER, PEFT_CAREFUL, OURS_LORA)


def main() -> None:
    """Runs one candidate (in a child process), or what is missing of all, and writes the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", help="folder with SQuAD, or sample; needed unless --page")
    parser.add_argument("--backbone", default="embedded")
    parser.add_argument("--steps", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quality", type=int, default=0, help="questions to train on to the end")
    parser.add_argument("--epochs", type=float, default=2)
    parser.add_argument("--records", type=Path, default=RECORDS)
    parser.add_argument("--out", type=Path, default=Path("docs/results/train_speed.md"))
    parser.add_argument("--page", action="store_true", help="the page alone")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one is not None:
        print(json.dumps(measure(args, CANDIDATES[args.one])))
        return
    if not args.page:
        measure_all(args)
    args.out.write_text(page(read_rows(args.records)), encoding="utf-8")


def measure_all(args: argparse.Namespace) -> None:
    """Adds a record for every measurement that has none, each made in a process of its own."""
    asked = [(number, each, 0) for number in range(args.rounds) for each in CANDIDATES]
    asked += [(0, each, args.quality) for each in TRAINED if args.quality]
    from adapter_stilts.environment import machine

    rows = [row for row in read_rows(args.records) if row["machine"] == machine()]
    done = {(row["round"], row["candidate"], row["quality"]) for row in rows}
    for number, candidate, quality in asked:
        if (number, candidate.name, quality) in done:
            continue
        command = [
            *(sys.executable, __file__, "--data", args.data, "--backbone", args.backbone),
            *("--steps", str(args.steps), "--epochs", str(args.epochs)),
            *("--quality", str(quality), "--one", str(CANDIDATES.index(candidate))),
        ]
        process = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
        found = json.loads(process.stdout.splitlines()[-1])
        key = {"round": number, "candidate": candidate.name, "quality": quality}
        row = {**key, "backbone": args.backbone, **found, "commit": commit()}
        add_row(args.records, row)
        print(row, file=sys.stderr)


def measure(args: argparse.Namespace, candidate: Candidate) -> dict[str, Any]:
    """Trains one candidate; a timing leaves out the first steps, in which memory is laid out."""
    import numpy as np
    from transformers import Trainer, TrainerCallback, set_seed

    from adapter_stilts import get_task
    from adapter_stilts.backbones import bf16_available, default_device, find_backbone
    from adapter_stilts.data import load_examples
    from adapter_stilts.environment import machine, peak_memory_mb
    from adapter_stilts.features import build_features, collate
    from adapter_stilts.heads.base import Encoding

    set_seed(0)
    backbone = find_backbone(args.backbone)
    questions = args.quality or 20 * BATCH
    task = get_task("squad")
    data = load_examples(task, "train", args.data, limit=questions, seed=0)
    features = build_features(
        "span",
        data.examples,
        data.fingerprint,
        Encoding(backbone.tokenizer, LENGTH, STRIDE),
    )
    pad_id = backbone.tokenizer.pad_token_id
    steps = round(args.epochs * len(features) / BATCH) if args.quality else args.steps
    # Unfreezing makes the early steps cheap: there only the very first is left out.
    clock = _Clock(skip=0 if args.quality else 1 if candidate.unfreeze else 3)
    callback = type("Clock", (TrainerCallback,), {"on_step_end": clock.tick})()
    started = time.monotonic()
    if candidate.trainer == "ours":
        engine, trainer = _ours(candidate, backbone, features, steps, callback)
    else:
        engine, model, kind = _theirs(candidate, backbone)
        with TemporaryDirectory() as folder:
            arguments = _arguments(
                folder,
                candidate,
                steps,
                per_device_train_batch_size=BATCH,
                group_by_length=not candidate.pad,
                length_column_name="length",
            )
            collator: Callable[..., Any] = (
                (lambda rows: _padded(collate(rows, pad_id), pad_id))
                if candidate.pad
                else (lambda rows: collate(rows, pad_id))
            )
            trainer = (kind or Trainer)(
                model=model,
                args=arguments,
                train_dataset=features,
                data_collator=collator,
                callbacks=[callback],
            )
            trainer.train()
    row = {
        "examples_per_second": clock.steps * BATCH / clock.seconds,
        "seconds": time.monotonic() - started,
        "peak_memory_mb": peak_memory_mb(),
        "steps": steps,
        "low": "bf16" if bf16_available(default_device()) else "fp32",
        "machine": machine(),
    }
    if args.quality:
        row["f1"] = _dev_f1(args, engine, task)
    assert np.isfinite(row["examples_per_second"])
    return row


class _Clock:
    """Seconds and steps after the first few."""

    def __init__(self, skip: int) -> None:
        self._skip = skip
        self._begun = time.monotonic()
        self.seconds = 0.0
        self.steps = 0

    def tick(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Called at the end of every step."""
        now = time.monotonic()
        if state.global_step == self._skip:
            self._begun = now
        self.steps = state.global_step - self._skip
        self.seconds = now - self._begun


def _arguments(folder: str, candidate: Candidate, steps: int, **more: Any) -> Any:
    """What every trainer is told alike, and what is told to one kind only."""
    import torch
    from transformers import TrainingArguments

    from adapter_stilts.backbones import bf16_available, default_device
    from adapter_stilts.training.recipe import usual_rate

    return TrainingArguments(
        output_dir=folder,
        max_steps=steps,
        learning_rate=usual_rate(candidate.method, steps),
        warmup_ratio=0.06,
        bf16=candidate.low and bf16_available(default_device()),
        use_cpu=not torch.cuda.is_available(),
        remove_unused_columns=False,
        save_strategy="no",
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
        **more,
    )


def _padded(batch: dict[str, Any], pad_id: int) -> dict[str, Any]:
    """The batch padded to the maximum length, as the examples' default is."""
    from torch.nn.functional import pad

    missing = LENGTH - batch["input_ids"].shape[1]
    batch["input_ids"] = pad(batch["input_ids"], (0, missing), value=pad_id)
    batch["attention_mask"] = pad(batch["attention_mask"], (0, missing))
    return batch


def _theirs(candidate: Candidate, backbone: Any) -> tuple[Any, Any, Any]:
    """Model and trainer class of `adapters` or `peft` with nothing of ours in the training."""
    import torch
    from adapters import AdapterTrainer
    from peft import LoraConfig, TaskType, get_peft_model
    from transformers import AutoModelForQuestionAnswering

    from adapter_stilts.backbones import default_device
    from adapter_stilts.engine.engine import Engine, add_module, load_engine
    from adapter_stilts.engine.methods import MethodOptions, get_method

    if candidate.trainer == "peft":
        model = AutoModelForQuestionAnswering.from_pretrained(
            backbone.path, config=backbone.config, use_safetensors=True
        )
        config = LoraConfig(
            task_type=TaskType.QUESTION_ANS, r=8, lora_alpha=16, target_modules=["query", "value"]
        )
        adapted = get_peft_model(model, config)
        return Engine(adapted, backbone, "", torch.float32), adapted, None
    engine = load_engine(
        backbone,
        precision="auto" if candidate.low_weights else "fp32",
        device=default_device(),
        trunk_dropout=candidate.dropout,
    )
    method = get_method(candidate.method)
    add_module(engine, "squad", method, MethodOptions(), head="span")
    return engine, engine.model, AdapterTrainer


def _ours(
    candidate: Candidate, backbone: Any, features: Any, steps: int, callback: Any
) -> tuple[Any, Any]:
    """Our trainer on the same features, batch size and number of steps."""
    from adapter_stilts.backbones import default_device
    from adapter_stilts.engine.engine import add_module, load_engine
    from adapter_stilts.engine.methods import MethodOptions, get_method
    from adapter_stilts.training.batching import BatchPlan, BatchSource, planned_batches
    from adapter_stilts.training.callbacks import GradualUnfreezing
    from adapter_stilts.training.trainer import ModuleTrainer

    engine = load_engine(backbone, precision="auto", device=default_device())
    method = get_method(candidate.method)
    left_out = range(engine.layers // 2) if candidate.upper_half else ()
    add_module(engine, "squad", method, MethodOptions(leave_out=tuple(left_out)), head="span")
    source = BatchSource("squad", features, len(features))
    drawn = planned_batches(
        source.lengths,
        batch_tokens=LENGTH * BATCH,
        batch_examples=BATCH,
        total=steps,
        seed=0,
    )
    callbacks = [callback]
    if candidate.unfreeze:
        callbacks.append(GradualUnfreezing(engine, "squad", steps // 2))
    with TemporaryDirectory() as folder:
        arguments = _arguments(folder, candidate, steps, per_device_train_batch_size=1)
        trainer = ModuleTrainer(
            engine,
            "squad",
            arguments,
            sources=[source],
            plan=BatchPlan(drawn),
            score=dict,
            callbacks=callbacks,
            on_scores=lambda *_: None,
        )
        trainer.train()
    return engine, trainer


def _dev_f1(args: argparse.Namespace, engine: Any, task: Any) -> float:
    from adapter_stilts.data import load_examples
    from adapter_stilts.features import build_features
    from adapter_stilts.heads.base import Encoding
    from adapter_stilts.inference.predictions import predict_features, score_predictions

    data = load_examples(task, "dev", args.data)
    tokenizer = engine.backbone.tokenizer
    features = build_features(
        "span", data.examples, data.fingerprint, Encoding(tokenizer, LENGTH, STRIDE)
    )
    found = predict_features(engine, features, data.examples, "span")
    return float(score_predictions(task, found, data.examples)["f1"])


def page(rows: Sequence[dict[str, Any]]) -> str:
    """A table for every machine, and scores where there are any."""
    timed = [row for row in rows if not row["quality"]]
    machines = dict.fromkeys(row["machine"] for row in timed)
    lines = [
        "# Training speed",
        "",
        f"SQuAD questions in batches of {BATCH}, windows of {LENGTH} tokens, backbone "
        f"`{told(timed, 'backbone')}`, {' or '.join(sorted({str(row['steps']) for row in timed}))} "
        "steps of which the first three (with unfreezing: the first) are not timed; one process a "
        "measurement, medians of the rounds. Made by `python benchmarks/train_speed.py --data "
        "DATA` of [the records](records/train_speed.jsonl).",
    ]
    for name in machines:
        lines += table([row for row in timed if row["machine"] == name])
    trained = [row for row in rows if row["quality"]]
    if trained:
        lines += [
            "",
            f"Trained to the end on {trained[0]['quality']:,} questions, {trained[0]['steps']} "
            "steps, one seed. After so few questions F1 still rises fast: differences of a few "
            "points tell how soon one learns, not how far.",
            "",
            "| candidate | dev F1 |",
            "|---|---|",
            *(f"| {row['candidate']} | {row['f1']:.1f} |" for row in trained),
        ]
    return "\n".join(lines) + "\n"


def table(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Medians of one machine, and ratios to both baselines."""
    by_name: dict[str, dict[int, dict[str, Any]]] = {each.name: {} for each in CANDIDATES}
    for row in rows:
        by_name[row["candidate"]][row["round"]] = row

    def middle(candidate: Candidate, key: str) -> float:
        return float(median(row[key] for row in by_name[candidate.name].values()))

    def ratio(candidate: Candidate, base: Candidate) -> str:
        """Each round's by itself: the machine is not as fast at every hour."""
        own, other = by_name[candidate.name], by_name[base.name]
        shared = own.keys() & other.keys()
        speed = "examples_per_second"
        return f"{median(own[each][speed] / other[each][speed] for each in shared):.1f}x"

    speeds = [
        [row["examples_per_second"] for row in by_name[each.name].values()] for each in CANDIDATES
    ]
    spread = max(max(each) / min(each) - 1 for each in speeds)
    lines = [
        "",
        f"## {told(rows, 'machine')}",
        "",
        f"The precision that is fast there: {told(rows, 'low')}. "
        f"{len({row['round'] for row in rows})} rounds, which differ by {spread:.0%} at most for a "
        f"candidate; commit {told(rows, 'commit')}.",
        "",
        "| candidate | examples/s | against as configured | against with care | peak memory MB |",
        "|---|---|---|---|---|",
    ]
    for each in CANDIDATES:
        base, care = (PEFT, PEFT_CAREFUL) if each.method == "lora" else (AS_CONFIGURED, CAREFUL)
        lines.append(
            f"| {each.name} | {middle(each, 'examples_per_second'):.1f} | {ratio(each, base)} "
            f"| {ratio(each, care)} | {middle(each, 'peak_memory_mb'):,.0f} |"
        )
    return lines


def told(rows: Sequence[dict[str, Any]], key: str) -> str:
    """The values that the rows have there."""
    return ", ".join(sorted({str(row[key]) for row in rows}))


if __name__ == "__main__":
    main()
