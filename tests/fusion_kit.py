"""Fusions for tests, made by hand instead of trained, over modules that are on disk."""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from adapter_stilts.engine.composition import Call, canonical
from adapter_stilts.engine.engine import Engine, module_parameters
from adapter_stilts.engine.fusing import FusionShape, add_fusion
from adapter_stilts.tasks.spec import HeadKind
from adapter_stilts.training.target import resolve_sources
from adapter_stilts.zoo.local import load_leaves, save_module
from adapter_stilts.zoo.record import ModuleRecord
from made_modules import LABELS, make_engine, make_module, make_record, remove_module


def shake(engine: Engine, name: str, *, seed: int = 5, by: float = 0.3) -> None:
    """Moves every parameter of a fusion and its head far from where it began."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module_parameters(engine, name).values():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=by)
    engine.model.eval()


def save_fused(
    engine: Engine,
    name: str,
    sources: Sequence[str],
    kind: str,
    head: HeadKind,
    folder: Path,
    **changes: Any,
) -> None:
    """Makes a fusion over modules of the zoo and saves it; it stays in the engine."""
    on = resolve_sources(sources)
    expression = load_leaves(engine, on)
    assert isinstance(expression, Call)
    method = f"fusion-{kind}"
    add_fusion(
        engine,
        name,
        expression.parts,
        FusionShape.of(method),
        head=head,
        labels=LABELS[head],
        choices=4 if head == "choice" else 0,
    )
    shake(engine, name)
    fields = {"composition": canonical(on.expression), "bases": on.bases, **changes}
    save_module(engine, make_record(engine, name, method, head, **fields), head, folder)


def run_of(name: str) -> str:
    """The run that a module of that name records."""
    return name.encode().hex()[:16].ljust(16, "0")


def fill_zoo(backbone: str, folder: Path, method: str) -> Engine:
    """A zoo with `sw`, `squad` on `sw`, `mnli`, and `qa`, all of one method.

    Returns:
        The engine, without any of them.
    """
    engine: Engine = make_engine(backbone)
    for seed, name in enumerate(("sw", "squad", "mnli", "qa")):
        more: dict[str, Any] = {"run": run_of(name)}
        place = folder / name
        if name == "squad":
            bases = {"sw": {"run": run_of("sw"), "path": str(folder / "sw")}}
            more |= {"composition": "stack(sw, squad)", "bases": bases}
            place = folder / "squad-on-sw"
        make_module(engine, name, method, "span", seed=seed)
        save_module(engine, make_record(engine, name, method, "span", **more), "span", place)
        remove_module(engine, name)
    return engine


def copy_zoo(backbone: str, folder: Path, method: str) -> None:
    """The same zoo, copied from one that a test process makes once.

    To make it, a model is loaded and four modules are saved.
    """
    asked = (backbone, method)
    if asked not in _MADE:
        _MADE[asked] = tempfile.TemporaryDirectory()
        fill_zoo(backbone, Path(_MADE[asked].name), method)
    shutil.copytree(_MADE[asked].name, folder, dirs_exist_ok=True)
    above = ModuleRecord.read(folder / "squad-on-sw")
    bases = {"sw": {**above.bases["sw"], "path": str(folder / "sw")}}
    dataclasses.replace(above, bases=bases).write(folder / "squad-on-sw")


_MADE: dict[tuple[str, str], tempfile.TemporaryDirectory[str]] = {}
