"""Modules for tests, made by hand instead of trained: random weights, true records."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from adapter_stilts.backbones import find_backbone
from adapter_stilts.engine.engine import Engine, add_module, load_engine, module_parameters
from adapter_stilts.engine.methods import BUILT_IN_METHODS, MethodOptions, get_method
from adapter_stilts.tasks.spec import HeadKind
from adapter_stilts.zoo.local import save_module
from adapter_stilts.zoo.record import ModuleRecord

TASKS: Mapping[HeadKind, str] = {
    "classification": "mnli",
    "choice": "hellaswag",
    "span": "squad",
    "tagging": "ccg",
    "embedding": "lareqa",
}
LABELS: Mapping[HeadKind, tuple[str, ...]] = {
    "classification": ("entailment", "neutral", "contradiction"),
    "choice": (),
    "span": (),
    "tagging": ("N", "NP", "S/NP", "(S\\NP)/NP", "."),
    "embedding": (),
    "regression": (),
}
MODULE_METHODS = [name for name, method in BUILT_IN_METHODS.items() if method.config]
"""Those that train a module by itself, not a fusion of others."""


def make_engine(backbone: str, precision: str = "fp32") -> Engine:
    """A backbone on the CPU."""
    return load_engine(find_backbone(backbone), precision=precision, device=torch.device("cpu"))


def make_module(
    engine: Engine,
    name: str,
    method: str,
    head: HeadKind,
    *,
    leave_out: Sequence[int] = (),
    seed: int = 0,
) -> None:
    """Adds a module whose weights, its head's among them, are all far from where they begin."""
    with torch.random.fork_rng(devices=[]):
        # Or what other tests have drawn would decide where it begins.
        torch.manual_seed(zlib.crc32(f"{name} {seed}".encode()))
        add_module(
            engine,
            name,
            get_method(method),
            MethodOptions(leave_out=leave_out),
            head=head,
            labels=LABELS[head],
            choices=4 if head == "choice" else 0,
        )
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module_parameters(engine, name).values():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.05)
    engine.model.eval()


def make_record(
    engine: Engine, name: str, method: str, head: HeadKind, **changes: Any
) -> ModuleRecord:
    """The record of such a module."""
    part = {"origin": "sample", "fingerprint": "0" * 16, "examples": 24, "parts": []}
    fields: dict[str, Any] = {
        "name": name,
        "run": "0123456789abcdef",
        "task": TASKS.get(head, "qqp"),  # none of ours has scores: those of a user's own do
        "head": head,
        "method": method,
        "composition": name,
        "backbone": {
            "name": engine.backbone.name,
            "revision": engine.backbone.revision,
            "model_type": str(engine.model.config.model_type),
            "fingerprint": engine.fingerprint,
        },
        "recipe": {"max_length": 64, "stride": 16, "method": method, "seed": 0},
        "data": {"train": part, "dev": part, "labels": len(LABELS[head])},
        "scores": {"accuracy": 61.2345, "f1": 59.5},
        "parameters": sum(p.numel() for p in module_parameters(engine, name).values()),
        "steps": 10,
        "best_step": 8,
        "seconds": 12.5,
        "peak_memory_mb": 900.0,
        "versions": {"python": "3.11"},
        "machine": "a CPU",
        "created": "2025-01-01T00:00:00+00:00",
    }
    return ModuleRecord(**{**fields, **changes})


def save_made(
    engine: Engine, name: str, method: str, head: HeadKind, folder: Path, **changes: Any
) -> ModuleRecord:
    """Makes a module and saves it; it stays in the engine."""
    make_module(engine, name, method, head)
    return save_module(engine, make_record(engine, name, method, head, **changes), head, folder)


def remove_module(engine: Engine, name: str) -> None:
    """Takes a module and its head out of the engine again."""
    engine.model.delete_adapter(name)
    if name in engine.model.heads:
        engine.model.delete_head(name)
    engine.modules.pop(name, None)


def token_batch(engine: Engine, head: HeadKind) -> dict[str, torch.Tensor]:
    """Random tokens in sequences of four lengths, padded; for choice, two groups of four."""
    generator = torch.Generator().manual_seed(7)
    rows, longest = (8, 16) if head == "choice" else (4, 16)
    size = int(engine.model.config.vocab_size)
    pad = int(engine.backbone.tokenizer.pad_token_id)
    ids = torch.randint(5, size, (rows, longest), generator=generator)
    mask = torch.ones_like(ids)
    for row in range(rows):
        length = longest - 3 * (row % 4)
        ids[row, length:] = pad
        mask[row, length:] = 0
    ids[:, 0] = 0
    shape = (2, 4, longest) if head == "choice" else (rows, longest)
    return {"input_ids": ids.view(shape), "attention_mask": mask.view(shape)}


def logits_of(output: Any, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """A head's logits (without one: the hidden states) with those of the padding set to 0."""
    if hasattr(output, "start_logits"):
        logits = torch.stack([output.start_logits, output.end_logits], -1)
    elif hasattr(output, "last_hidden_state"):
        logits = output.last_hidden_state
    else:
        logits = output.logits
    logits = logits.detach().float()
    if logits.ndim == 3:
        logits = logits * batch["attention_mask"][..., None]
    return logits
