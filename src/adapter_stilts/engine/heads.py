"""Several heads of one module: one a task, each in a folder of its own."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from adapter_stilts.engine.native import (
    HEAD_CONFIG,
    HEAD_FILES,
    HEAD_WEIGHTS,
    check_files,
    check_head_whole,
    drop_other_heads,
    is_in_head,
)
from adapter_stilts.errors import UserError

if TYPE_CHECKING:
    from adapter_stilts.engine.engine import Engine

FOLDER = "heads"


def head_name(module: str, task: str) -> str:
    """What a module's head for a task is called in the engine."""
    return f"{module}:{task}" if task else module


def claim_head(engine: Engine, module: str, head: str, *, trainable: bool) -> None:
    """Counts a head that is in the engine among a module's parameters, and makes it the active one.

    Args:
        trainable: whether it learns with the module.
    """
    own = {key: p for key, p in engine.model.named_parameters() if is_in_head(key, head)}
    engine.modules[module] = tuple(dict.fromkeys((*engine.modules[module], *own)))
    for parameter in own.values():
        parameter.data = parameter.data.to(engine.device).float()
        parameter.requires_grad_(trainable)
    engine.model.active_head = head if own else engine.model.active_head


def save_heads(engine: Engine, module: str, tasks: Iterable[str], folder: Path) -> None:
    """Writes a module's heads; plain `model.load_head(folder / "heads" / task)` reads one."""
    for task in tasks:
        head = head_name(module, task)
        place = folder / FOLDER / task
        place.mkdir(parents=True)
        engine.model.save_head(str(place), head, use_safetensors=True)
        drop_other_heads(place / HEAD_WEIGHTS, head)


def load_heads(engine: Engine, module: str, tasks: Iterable[str], folder: Path) -> None:
    """Adds a saved module's heads to the engine, where the module is already.

    Raises:
        UserError: a file is missing or damaged, or the weights do not fit the backbone.
    """
    for task in tasks:
        load_head(engine, module, head_name(module, task), folder / FOLDER / task)


def load_head(engine: Engine, module: str, head: str, folder: Path) -> None:
    """Adds a saved head to the engine, where the module is already.

    Raises:
        UserError: a file is missing or damaged, or the weights do not fit the backbone.
    """
    check_files(folder, HEAD_FILES)
    try:
        engine.model.load_head(str(folder), load_as=head, use_safetensors=True)
    except (RuntimeError, OSError, LookupError, ValueError, TypeError) as error:
        why = " ".join(str(error).split())[-160:]
        raise UserError(
            f"{folder}: the head does not fit backbone '{engine.backbone.name}' ({why})"
        ) from error
    if head not in engine.model.heads:
        raise UserError(f"{folder / HEAD_CONFIG} is not a head for this backbone")
    check_head_whole(engine, head, folder)
    claim_head(engine, module, head, trainable=False)
    engine.model.eval()
