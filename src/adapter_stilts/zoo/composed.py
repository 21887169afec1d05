"""Compositions in an engine: their modules loaded, activated together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from adapter_stilts.engine.composition import (
    NONE,
    UNLEARNT,
    Expression,
    fusings,
    fusions,
    module_names,
    renamed,
    top,
)
from adapter_stilts.engine.engine import Engine, activate_block, block_of
from adapter_stilts.engine.fusing import add_unlearnt
from adapter_stilts.engine.heads import head_name
from adapter_stilts.engine.merged import with_merges
from adapter_stilts.engine.trunk import free_name
from adapter_stilts.zoo.local import load_module
from adapter_stilts.zoo.record import ModuleRecord
from adapter_stilts.zoo.resolve import resolve
from adapter_stilts.zoo.resolved_composition import ResolvedComposition


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
    """Loads the modules that are not in the engine yet and activates the composition.

    Raises:
        UserError: a module is damaged or was made for another backbone.
    """
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

    Merges are computed; what comes of one stands in its place.

    Raises:
        UserError: a module is damaged or was made for another backbone.
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
            sources = [renamed(part, inside.__getitem__) for part in parts]
            load_module(engine, reference.folder, name=free, sources=sources)
            engine.names[content] = free
        inside[name] = engine.names[content]
    expression = renamed(resolved.expression, inside.__getitem__)
    for each in fusings(expression):
        if each.operator in UNLEARNT:
            add_unlearnt(engine, each)
    return with_merges(engine, expression)


def load_composition(engine: Engine, text: str) -> Composed:
    """Finds a composition's modules, loads them and activates it; `none` is the plain backbone.

    Raises:
        UserError: as `resolve` and `load_resolved`.
    """
    if text.strip() == NONE:
        composed = Composed(NONE, NONE, NONE, None, "", "", None)
        activate(engine, composed)
        return composed
    return load_resolved(engine, resolve(text))


def activate(engine: Engine, composed: Composed) -> None:
    """Makes the engine run this composition, with its topmost module's head if that is chosen."""
    activate_block(engine, composed.block, composed.name)
