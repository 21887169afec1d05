"""Modules as folders and compositions in an engine: written, loaded, activated together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapter_stilts.engine.composition import (
    NONE,
    UNLEARNT,
    Expression,
    fusings,
    fusions,
    module_names,
    rename_modules,
    top,
)
from adapter_stilts.engine.engine import Engine, activate_block, block_of, copy_weights, free_name
from adapter_stilts.engine.fusing import add_unlearnt, load_fusion, save_fusion
from adapter_stilts.engine.guard import check_widths
from adapter_stilts.engine.merged import with_merges
from adapter_stilts.engine.methods import get_method, is_fusion
from adapter_stilts.engine.native import (
    FILES,
    check_files,
    fusion_files,
    has_peft_format,
    head_name,
    load_heads,
    load_native,
    save_heads,
    save_native,
    save_peft,
)
from adapter_stilts.errors import UserError
from adapter_stilts.heads import PLAIN
from adapter_stilts.paths import atomic_folder
from adapter_stilts.safety import brief
from adapter_stilts.tasks.spec import HeadKind
from adapter_stilts.zoo.card import write_card
from adapter_stilts.zoo.choice import same_backbone
from adapter_stilts.zoo.provenance import write_recipe
from adapter_stilts.zoo.record import ModuleRecord
from adapter_stilts.zoo.resolve import resolve
from adapter_stilts.zoo.resolved_composition import ResolvedComposition
from adapter_stilts.zoo.verify import check_lengths, check_stored


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

    `sources` are what a fusion is over, as expressions over names in the engine. Refuses what is
    damaged, or made for another backbone.
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
    """Sets the weights of a new module and its head to a module's on disk of the same shape."""
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


@dataclass(frozen=True)
class Composed:
    """A composition in an engine's memory.

    `expression` is its canonical text, `identity` and `content` are hashes of the modules' runs and
    files, `inside` is the expression over names inside the engine, `name` what the topmost module's
    head is called there, `block` what the engine activates. The composition `none` has no record,
    no name and no block.
    """

    expression: str
    identity: str
    content: str
    record: ModuleRecord | None
    name: str
    inside: Expression
    block: Any


def load_resolved(engine: Engine, resolved: ResolvedComposition) -> Composed:
    """Loads modules that are not in the engine yet, as `load_leaves`, and activates the whole."""
    expression = load_leaves(engine, resolved)
    composed = Composed(
        expression=resolved.text,
        identity=resolved.identity,
        content=resolved.content,
        record=resolved.record,
        name=head_name(top(expression), resolved.task),
        inside=expression,
        block=block_of(expression),
    )
    activate(engine, composed)
    return composed


def load_leaves(engine: Engine, resolved: ResolvedComposition) -> Expression:
    """Loads the modules that are not in the engine yet; the expression over names inside it.

    Merges are computed; what comes of one stands in its place. Refuses as `load_module`.
    """
    inside: dict[str, str] = {}
    fused = {each.by: each for each in fusions(resolved.expression)}
    for name in module_names(resolved.expression):
        reference = resolved.modules[name]
        content = reference.record.content
        if content not in engine.names:
            free = free_name(engine, reference.record.name)
            # A fusion comes after the modules that it is over.
            parts = fused[name].parts if name in fused else ()
            sources = [rename_modules(part, inside.__getitem__) for part in parts]
            load_module(engine, reference.folder, name=free, sources=sources)
            engine.names[content] = free
        inside[name] = engine.names[content]
    expression = rename_modules(resolved.expression, inside.__getitem__)
    for each in fusings(expression):
        if each.operator in UNLEARNT:
            add_unlearnt(engine, each)
    return with_merges(engine, expression)


def load_composition(engine: Engine, text: str) -> Composed:
    """Finds a composition's modules, loads and activates them; `none` is the plain backbone."""
    if text.strip() == NONE:
        composed = Composed(NONE, NONE, NONE, None, "", "", None)
        activate(engine, composed)
        return composed
    return load_resolved(engine, resolve(text))


def activate(engine: Engine, composed: Composed) -> None:
    """Makes the engine run this composition, with its topmost module's head if that is chosen."""
    activate_block(engine, composed.block, composed.name)
