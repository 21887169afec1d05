"""From the text of a composition to its modules: their folders, and then these in memory."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from adapter_stilts.backbones import check_precision, find_backbone
from adapter_stilts.compositions import Composition, as_text
from adapter_stilts.engine.composition import (
    FUSING,
    Call,
    Expression,
    canonical,
    expand_names,
    fusions,
    in_order,
    learnt,
    module_names,
    parse,
    rename_modules,
    top,
)
from adapter_stilts.engine.methods import check_methods, is_fusion
from adapter_stilts.errors import UserError
from adapter_stilts.keywords import checks_keywords, text_of
from adapter_stilts.paths import is_folder, zoo_dir
from adapter_stilts.tasks.spec import HeadKind
from adapter_stilts.zoo.adopt import is_foreign
from adapter_stilts.zoo.choice import (
    ModuleReference,
    check_one_backbone,
    choose,
    has_record,
    place_of,
    readable,
    same_backbone,
    usual_folder,
)
from adapter_stilts.zoo.find import find_module, is_language
from adapter_stilts.zoo.record import NO_HEAD, ModuleRecord, check_method_is_known
from adapter_stilts.zoo.resolved_composition import (
    ResolvedComposition,
    as_recorded,
    check_merged_shapes,
    over_runs,
    trained_runs,
)

if TYPE_CHECKING:
    from adapter_stilts.zoo.module import Module


def resolve(text: str, backbone: str | None = None) -> ResolvedComposition:
    """Finds every module of a composition; `backbone` chooses among modules of one name.

    A name alone stands for the module's whole composition: `tydiqa-on-squad` for
    `stack(squad, tydiqa)`. A composition that a module of the zoo was trained in stands for that
    module (of several seeds, for the one in the usual folder); otherwise every name is looked up
    for itself. After a colon, `multitask:squad` chooses a head of a module of several tasks;
    `lang:sw` is the module of a language. Refuses wrong syntax, unknown modules, names that stand
    for several, bases that are not there, and modules of different backbones.
    """
    if is_module_folder(text):
        return resolve_folder(find_module(text))
    if not is_language(text) and (chosen := re.fullmatch(r"(.*\S):([\w+-]+)\s*", text)):
        return resolve(chosen[1], backbone).choosing(chosen[2])
    expression = text.strip() if _is_path(text) else parse(text)
    if isinstance(expression, str):
        return resolve_folder(find_module(expression, backbone))
    if trained := _trained_as(expression, backbone):
        return _whole(trained)
    found: dict[str, ModuleReference] = {}
    for name, reference in _named_in(expression, backbone):
        if found.setdefault(name, reference).record.run != reference.record.run:
            raise UserError(
                f"composition '{canonical(expression)}': '{name}' stands for "
                f"{found[name].folder} and for {reference.folder}: write folders in place of names"
            )
    named = _by_folder_name(expression, found, backbone)
    return check_fit(_with_fusions(_without_names_of_fusions(named), backbone))


def is_module_folder(text: str) -> bool:
    """Whether a text as a whole is a module's folder, whatever signs its path has."""
    return has_record(Path(text)) or (_is_path(text) and is_foreign(Path(text)))


def _is_path(text: str) -> bool:
    """Whether a text is a folder's path rather than a composition of several modules."""
    return is_folder(text) or ("/" in text and not set(text) & set('(),*"'))


def _named_in(
    expression: Expression, backbone: str | None
) -> Iterator[tuple[str, ModuleReference]]:
    """Every name in an expression with its module; a stack that was trained names its own."""
    if isinstance(expression, str):
        yield expression, ModuleReference(find_module(expression, backbone))
        return
    if trained := _trained_as(expression, backbone):
        yield from _as_recorded(trained).modules.items()
        return
    for part in expression.parts:
        yield from _named_in(part, backbone)


def _without_names_of_fusions(resolved: ResolvedComposition) -> ResolvedComposition:
    """A fusion called by its name stands for what it fuses; refuses two modules of a name."""
    learnt_by = {each.by for each in fusions(resolved.expression)}
    wholes = {
        name: _whole(reference)
        for name, reference in resolved.modules.items()
        if is_fusion(reference.record.method) and name not in learnt_by
    }
    found = dict(resolved.modules)
    for name, whole in wholes.items():
        for source, reference in whole.modules.items():
            if found.setdefault(source, reference).record.run != reference.record.run:
                raise UserError(
                    f"'{name}' fuses {reference.folder}, and the composition has another "
                    f"'{source}', {found[source].folder}: only one of them can have that name"
                )
    meaning = {name: whole.expression for name, whole in wholes.items()}
    return ResolvedComposition(in_order(expand_names(resolved.expression, meaning)), found)


def _with_fusions(resolved: ResolvedComposition, backbone: str | None) -> ResolvedComposition:
    """Finds the one module that has learnt each fusion; refuses where none has, or several have."""
    names: dict[str, str] = {}
    modules = dict(resolved.modules)
    for each in fusions(resolved.expression):
        if each.by:
            continue
        written = canonical(each)
        over = over_runs(
            each, {name: resolved.modules[name].record.run for name in module_names(each)}
        )
        found = [
            place
            for place in readable()
            if is_fusion(place.record.method) and trained_runs(place.record) == over
        ]
        if not found:
            sources = " ".join(
                part if isinstance(part, str) else f'"{canonical(part)}"' for part in each.parts
            )
            raise UserError(
                f"no fusion of {sources} has been learnt: `adstilts fuse {sources} --target ...`"
            )
        reference = choose(written, _usual(found), backbone)
        names[written] = reference.name
        modules[reference.name] = reference
    return ResolvedComposition(learnt(resolved.expression, names), modules)


def resolve_folder(folder: Path) -> ResolvedComposition:
    """The module in a folder, in the composition it was trained in; refuses it without that."""
    return _whole(ModuleReference(folder))


def _trained_as(expression: Call, backbone: str | None) -> ModuleReference | None:
    """The module trained in exactly this composition; refuses several, if none is usual."""
    written = canonical(expression)
    found = [
        each
        for each in readable()
        if each.record.composition == written and each.record.name == top(expression)
    ]
    return choose(written, _usual(found), backbone) if found else None


def _usual(found: Sequence[ModuleReference]) -> list[ModuleReference]:
    """Of several modules for one backbone, those in the usual folder, if there are any."""
    usual = [each for each in found if each.folder.name == usual_folder(each.record)]

    def beside_usual(each: ModuleReference) -> bool:
        own = each.record.backbone
        return any(same_backbone(own, other.record.backbone) for other in usual)

    return [each for each in found if each in usual or not beside_usual(each)]


def _whole(reference: ModuleReference) -> ResolvedComposition:
    """The module in the composition it was trained in."""
    return _called_by_folders(_as_recorded(reference))


def _as_recorded(reference: ModuleReference) -> ResolvedComposition:
    """The same, over the names that its record has."""
    record = reference.record
    expression = as_recorded(record)
    found = {
        name: reference if name == record.name else _base(reference, name)
        for name in module_names(expression)
    }
    return check_fit(ResolvedComposition(expression, found))


def _called_by_folders(resolved: ResolvedComposition) -> ResolvedComposition:
    """The same over the modules' own names, where these are distinct.

    A folder's name that the user wrote is kept: in `uniform(squad, tydiqa-on-squad)` the short
    name `tydiqa` would be another module's.
    """
    own = {
        name: name if name == reference.own_name else reference.name
        for name, reference in resolved.modules.items()
    }
    if len(set(own.values())) < len(own):
        return resolved
    named = in_order(rename_modules(resolved.expression, own.__getitem__))
    return ResolvedComposition(
        named, {own[name]: reference for name, reference in resolved.modules.items()}
    )


def _base(reference: ModuleReference, name: str) -> ModuleReference:
    """The module that another one was trained on top of: the same run, wherever it lies now."""
    known = reference.record.bases.get(name, {})
    run = known.get("run")
    for folder in (reference.folder.parent / name, Path(known.get("path", "."))):
        if has_record(folder) and (found := ModuleReference(folder)).record.run == run:
            return found
    for found in readable():
        if found.record.run == run:
            return found
    if known.get("hub") and (found := ModuleReference(find_module(known["hub"]))).record.run == run:
        return found
    raise UserError(
        f"module {reference.folder} was trained on top of '{name}' (run {run}), which is neither "
        f"beside it nor at {known.get('path')} nor in {zoo_dir()}: copy it there or train it again"
    )


def _by_folder_name(
    expression: Expression, found: Mapping[str, ModuleReference], backbone: str | None
) -> ResolvedComposition:
    """The expression over the modules' own names, where these are distinct and mean the same."""
    given = ResolvedComposition(in_order(expression), found)
    named = _called_by_folders(given)
    if isinstance(named.expression, Call) and named.expression != given.expression:
        runs = {reference.record.run for reference in named.modules.values()}
        try:
            trained = _trained_as(named.expression, backbone)
        except UserError:
            return given
        if trained and trained.record.run not in runs:
            return given
    return named


def check_fit(resolved: ResolvedComposition) -> ResolvedComposition:
    """The composition, if its modules fit: refuses one twice, and unlike kinds or backbones."""
    for reference in resolved.modules.values():
        check_method_is_known(reference.record, reference.folder)
    check_methods(resolved.expression, resolved.methods)
    named = module_names(resolved.expression)
    twice = _twice(
        rename_modules(resolved.expression, lambda name: resolved.modules[name].record.run)
    )
    same = [name for name in named if resolved.modules[name].record.run in twice]
    if same:
        others = [name for name in same[1:] if name != same[0]]
        why = f", as {', '.join(map(repr, others))} too: they are one training" if others else ""
        raise UserError(
            f"composition '{canonical(resolved.expression)}': '{same[0]}' is in it twice{why}"
        )
    try:
        check_one_backbone([(name, resolved.modules[name].record.backbone) for name in named])
    except UserError as error:
        raise UserError(f"composition '{canonical(resolved.expression)}': {error}") from None
    check_merged_shapes(resolved)
    return resolved


def _twice(expression: Expression) -> set[str]:
    """Runs that are in an expression twice.

    Several sources of a fusion may stand on the same module, as on one for a language.
    """
    if isinstance(expression, str):
        return set()
    inner = [_twice(part) for part in expression.parts]
    side_by_side = expression.operator in FUSING
    own = [{top(part)} if side_by_side else set(module_names(part)) for part in expression.parts]
    counts = Counter(run for each in own for run in each)
    return set().union(*inner, (run for run, times in counts.items() if times > 1))


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
    """The kind of the head that answers; refuses none, and several of which none is chosen."""
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
