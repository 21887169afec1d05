"""Modules as folders: writing and loading them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from adapter_stilts.engine.composition import Expression
from adapter_stilts.engine.engine import Engine, activate_block, copy_weights
from adapter_stilts.engine.fusing import load_fusion, save_fusion
from adapter_stilts.engine.guard import check_widths
from adapter_stilts.engine.heads import load_heads, save_heads
from adapter_stilts.engine.methods import get_method, is_fusion
from adapter_stilts.engine.native import (
    FILES,
    check_files,
    fusion_files,
    has_peft_format,
    load_native,
    save_native,
    save_peft,
)
from adapter_stilts.errors import UserError
from adapter_stilts.heads import PLAIN
from adapter_stilts.paths import atomic_folder
from adapter_stilts.safety import brief
from adapter_stilts.tasks.spec import HeadKind
from adapter_stilts.zoo.agreement import check_lengths, check_stored
from adapter_stilts.zoo.card import write_card
from adapter_stilts.zoo.choice import same_backbone
from adapter_stilts.zoo.record import ModuleRecord, write_recipe


def save_module(engine: Engine, record: ModuleRecord, head: HeadKind, folder: Path) -> ModuleRecord:
    """Writes weights, head, record and card; the folder appears whole or not at all.

    A module of several tasks has the heads of its record, whatever `head`.
    """
    with atomic_folder(folder) as work:
        if is_fusion(record.method):
            save_fusion(engine, record.name, work, called=record.bases)
        else:
            save_native(engine, record.name, work)
            save_heads(engine, record.name, record.heads, work)
        peft = get_method(record.method).peft and has_peft_format(engine.model.config.model_type)
        if peft:
            # Of several heads peft's format can hold none: it has the LoRA for the plain trunk.
            kind: HeadKind = PLAIN if record.heads or not record.has_head else head
            save_peft(engine, record.name, kind, work / "peft")
        write_recipe(record, work)
        write_card(record, work, peft=peft)
        return record.write(work)


def load_module(
    engine: Engine, folder: Path, *, name: str | None = None, sources: Sequence[Expression] = ()
) -> ModuleRecord:
    """Adds a module from its folder to an engine and activates it with its head.

    `sources` are what a fusion is over, as expressions over names in the engine.

    Raises:
        UserError: no module there, made for another backbone, or damaged.
    """
    record = ModuleRecord.read(folder)
    _check_backbone(engine, record, folder)
    fusion, name = is_fusion(record.method), name or record.name
    own = record.has_head
    check_files(folder, fusion_files(folder, head=own) if fusion else FILES[: 1 + own])
    check_stored(record, folder)
    check_lengths(record, folder, engine.backbone.max_length)
    with _one_line(folder):
        if fusion:
            load_fusion(engine, folder, name, sources, head=own)
        else:
            config = engine.model.config
            check_widths(folder, int(config.hidden_size), int(config.intermediate_size))
            load_native(engine, folder, name, head=own)
            load_heads(engine, name, record.heads, folder)
    return record


@contextmanager
def _one_line(folder: Path) -> Iterator[None]:
    """Whatever the library makes of a folder that nobody could have expected."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        why = brief(error) or type(error).__name__
        raise UserError(f"{folder}: cannot be loaded ({why})") from error


def _check_backbone(engine: Engine, record: ModuleRecord, folder: Path) -> None:
    if same_backbone(record.backbone, engine.identity):
        return
    made_for, revision = record.backbone.get("name"), record.backbone.get("revision")
    raise UserError(
        f"module {folder} was made for backbone '{made_for}'"
        f"{f' at revision {revision}' if revision else ''} (fingerprint "
        f"{record.backbone.get('fingerprint')}), not for '{engine.backbone.name}' "
        f"({engine.fingerprint}): load it with --backbone {made_for}"
    )


def start_from(engine: Engine, name: str, folder: Path) -> None:
    """Sets a new module's weights, and its head's, to those of a module on disk.

    Raises:
        UserError: the module there has another shape.
    """
    active, head = engine.model.active_adapters, engine.model.active_head
    other = f"{name}-start"
    load_module(engine, folder, name=other)
    same = copy_weights(engine, other, name, head_only=False)
    engine.model.delete_adapter(other)
    if other in engine.model.heads:
        engine.model.delete_head(other)
    del engine.modules[other]
    activate_block(engine, active, head or name)
    if not same:
        raise UserError(f"{folder} has another shape than the module that is to start from it")
