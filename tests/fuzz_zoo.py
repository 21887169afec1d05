"""A zoo of modules of every kind, to be spoilt."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from adapter_stilts.engine.engine import Engine, add_head
from adapter_stilts.engine.fusing import FusionShape, add_fusion
from adapter_stilts.engine.native import claim_head, head_name
from adapter_stilts.tasks.spec import HeadKind
from adapter_stilts.zoo.local import save_module
from adapter_stilts.zoo.record import RECORD
from made_modules import LABELS, make_engine, make_module, make_record, save_made

_ALONE: Mapping[str, tuple[str, HeadKind]] = {
    "lora": ("lora", "classification"),
    "bottleneck": ("bottleneck", "span"),
    "choice": ("parallel-bottleneck", "choice"),
    "tagging": ("double-bottleneck", "tagging"),
    "vectors": ("ia3", "embedding"),
    "invertible": ("invertible", "classification"),
}


def make_zoo(backbone: str, root: Path) -> dict[str, Path]:
    """Modules of every kind, each in a folder of its name; `good` is one to lie beside them."""
    engine = make_engine(backbone)
    for number, (name, (method, head)) in enumerate(_ALONE.items()):
        run = f"{number:016x}"
        save_made(engine, name, method, head, root / name, run=run)
    save_made(engine, "good", "lora", "span", root / "good", run="9" * 16)
    _save_merge(engine, root)
    _save_several(engine, root)
    save_fusion(engine, root)
    _save_foreign(engine, root)
    below = ("a", "b", "good")
    return {each.name: each for each in sorted(root.iterdir()) if each.name not in below}


def _save_merge(engine: Engine, root: Path) -> None:
    merged: dict[str, Any] = {"how": "ties", "expression": "ties(squad, mnli)"}
    merged["weights"] = {"squad": 1, "mnli": 2}
    merged["sources"] = {
        name: {"run": name * 4, "path": f"/zoo/{name}", "task": name} for name in ("squad", "mnli")
    }
    more: dict[str, Any] = {"merged": merged, "scores": {}, "run": "8" * 16}
    save_made(engine, "mix", "bottleneck", "span", root / "merged", **more)


def _save_several(engine: Engine, root: Path) -> None:
    """A module of two tasks."""
    make_module(engine, "several", "bottleneck", "embedding")
    one = asdict(make_record(engine, "several", "bottleneck", "embedding"))["data"]["train"]
    heads: dict[str, dict[str, Any]] = {}
    kinds: dict[str, HeadKind] = {"mnli": "classification", "squad": "span"}
    for task, kind in kinds.items():
        add_head(engine, head_name("several", task), kind, labels=LABELS[kind])
        claim_head(engine, "several", head_name("several", task), trainable=False)
        heads[task] = {
            "head": kind,
            "labels": list(LABELS[kind]),
            "max_length": 64,
            "parameters": 99,
            "scores": {"f1": 50.0},
            "train": one,
            "dev": one,
            "no_answer_threshold": None,
        }
    record = make_record(engine, "several", "bottleneck", "embedding", run="7" * 16)
    fields = {**asdict(record), "task": "multitask", "head": "multitask", "heads": heads}
    save_module(engine, type(record)(**fields), "embedding", root / "several")


def save_fusion(engine: Engine, root: Path) -> None:
    """A fusion of two modules, which lie beside it."""
    bases = {}
    for name in ("a", "b"):
        save_made(engine, name, "bottleneck", "span", root / name, run=name * 16)
        bases[name] = {"run": name * 16, "path": str(root / name)}
    add_fusion(engine, "f", ("a", "b"), FusionShape.of("fusion-lean"), head="span")
    above = {"composition": "fuse(a, b)", "bases": bases, "run": "f" * 16}
    record = make_record(engine, "f", "fusion-lean", "span", **above)
    save_module(engine, record, "span", root / "fusion")


def _save_foreign(engine: Engine, root: Path) -> None:
    """As plain `adapters` and plain `peft` write them: no record."""
    make_module(engine, "theirs", "bottleneck", "classification")
    engine.model.save_adapter(
        str(root / "adapters"), "theirs", with_head=True, use_safetensors=True
    )
    (root / "lora" / "peft").rename(root / "peft")
    record = json.loads((root / "lora" / RECORD).read_text("utf-8"))
    record["files"] = {k: v for k, v in record["files"].items() if not k.startswith("peft/")}
    (root / "lora" / RECORD).write_text(json.dumps(record), "utf-8")
