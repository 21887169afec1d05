"""From the name of a module to the module in memory; nothing heavy is imported for a wrong name."""

from __future__ import annotations

import os
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from adapter_stilts.backbones import check_precision, find_backbone
from adapter_stilts.compositions import Composition, as_text
from adapter_stilts.errors import UserError
from adapter_stilts.keywords import checks_keywords, text_of
from adapter_stilts.tasks.spec import HeadKind
from adapter_stilts.zoo.choice import place_of
from adapter_stilts.zoo.record import NO_HEAD, ModuleRecord
from adapter_stilts.zoo.resolve import resolve, resolve_folder
from adapter_stilts.zoo.resolved_composition import ResolvedComposition

if TYPE_CHECKING:
    from adapter_stilts.zoo.module import Module


AnyModule = Composition | ResolvedComposition
"""What stands for a module: its name, folder or id, a composition, or what `find` made of one."""


def find(
    name: AnyModule, *, task: str | None = None, backbone: str | None = None
) -> ResolvedComposition:
    """The modules that a name, a folder or an expression stands for; see `load`."""
    if isinstance(name, ResolvedComposition):
        return name.choosing(task)
    if isinstance(name, os.PathLike):
        return resolve_folder(Path(name)).choosing(task)
    return resolve(as_text(name), backbone).choosing(task)


def kind_of(record: ModuleRecord) -> HeadKind:
    """The kind of the head that answers.

    Raises:
        UserError: the module has one for each of several tasks, and none has been chosen; or it has
            none, like a merge that was given none.
    """
    if record.head == NO_HEAD:
        raise UserError(
            f"'{record.name}' has no head: train a target on top with `adstilts "
            "train-target --on`, or merge with that of a module, `adstilts merge --head MODULE`"
        )
    if record.heads:
        raise UserError(
            f"module '{record.name}' has a head for each of its tasks: choose --task from "
            f"{', '.join(record.heads)}"
        )
    return record.head


@checks_keywords
def load(
    name: AnyModule,
    *,
    task: str | PathLike[str] | None = None,
    backbone: str | PathLike[str] | None = None,
    precision: str = "auto",
) -> Module:
    """Loads a module or a composition onto its backbone.

    Args:
        name: a folder, a name in the zoo, or an expression such as `stack(squad, tydiqa)`. A
            module trained on top of others brings these with it. Or what `find` made of one.
        task: whose head is used, of a module of several tasks.
        backbone: chooses among modules of one name; and where the backbone lies, if not where it
            lay when the module was trained.
        precision: of the trunk: `fp32`, `bf16` or `auto`.

    Raises:
        UserError: no such module, a damaged one, one for another backbone, or one that has no
            head for the task.
    """
    check_precision(precision)
    backbone = text_of(backbone)
    resolved = find(name, task=text_of(task), backbone=backbone)
    found = find_backbone(place_of(backbone, resolved.backbone))
    from adapter_stilts.engine.engine import load_engine
    from adapter_stilts.zoo.local import load_resolved
    from adapter_stilts.zoo.module import Module

    engine = load_engine(found, precision=precision)
    composed = load_resolved(engine, resolved)
    return Module(engine, resolved.record, composed.name, composed, resolved.over_folders)
