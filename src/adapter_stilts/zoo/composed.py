"""Compositions over the zoo: which folders they mean, and how they come into an engine."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapter_stilts.errors import UserError
from adapter_stilts.modules.composition import (
    FUSING,
    NONE,
    Call,
    Expression,
    canonical,
    fusings,
    fusions,
    in_order,
    learnt,
    leaves,
    merges,
    parse,
    renamed,
    top,
)
from adapter_stilts.modules.engine import Engine, activate_block, block_of
from adapter_stilts.modules.fusing import add_uniform
from adapter_stilts.modules.heads import head_name
from adapter_stilts.modules.merged import with_merges
from adapter_stilts.modules.methods import is_fusion
from adapter_stilts.modules.stacking import check_fusable, check_stackable
from adapter_stilts.paths import zoo_dir
from adapter_stilts.tasks.registry import get_trained
from adapter_stilts.zoo.local import find_module, load_module, same_backbone
from adapter_stilts.zoo.merged import check_merged_kinds, check_merged_shapes, merged_record
from adapter_stilts.zoo.places import has_record, readable
from adapter_stilts.zoo.record import NO_HEAD, ModuleRecord


@dataclass(frozen=True)
class Leaf:
    """One module of a composition: where it lies and what it says of itself."""

    folder: Path
    record: ModuleRecord


@dataclass(frozen=True)
class Resolved:
    """A composition whose modules have been found; no weights are loaded yet.

    `expression` is over names that are unique within it, `leaves` has each of them. `task` chooses
    a head of the topmost module, where that has one for each of several tasks.
    """

    expression: Expression
    leaves: Mapping[str, Leaf]
    task: str = ""

    @property
    def record(self) -> ModuleRecord:
        """The record of the module whose head is used, with that head's task if one is chosen.

        Where there is no head, one that stands for the whole: sentence vectors are all it is good
        for, of texts as long as any of its modules takes.
        """
        name = top(self.expression)
        if name in self.leaves:
            record = self.leaves[name].record
            return record.at(self.task) if self.task else record
        for merge in merges(self.expression):
            if canonical(merge) == name:
                return merged_record(merge, self.records)
        records = [leaf.record for leaf in self.leaves.values()]
        longest = max(records, key=lambda each: int(each.recipe["max_length"]))
        return dataclasses.replace(longest, name=name, head=NO_HEAD, run=self.identity, heads={})

    @property
    def records(self) -> dict[str, ModuleRecord]:
        """The record of every module."""
        return {name: leaf.record for name, leaf in self.leaves.items()}

    @property
    def text(self) -> str:
        """The composition, canonically written, with the task that is chosen."""
        return head_name(canonical(self.expression), self.task)

    def choosing(self, task: str | None) -> Resolved:
        """With the head for a task; None leaves open which.

        Raises:
            UserError: no such task, or the topmost module has no head for it.
        """
        if task is None or (name := get_trained(task).name) == self.record.task:
            return self
        self.record.at(name)
        return dataclasses.replace(self, task=name)

    def suiting(self, head: str, labels: Sequence[str] = ()) -> Resolved:
        """With the head that suits, where the topmost module has several and none is chosen."""
        return self.choosing(self.record.suited(head, labels)) if self.record.heads else self

    @property
    def methods(self) -> dict[str, str]:
        """The method of every module, from the bottom up."""
        return {name: self.leaves[name].record.method for name in leaves(self.expression)}

    @property
    def backbone(self) -> str:
        """The backbone the modules were trained on, at the same revision."""
        name = self.record.backbone["name"]
        revision = self.record.backbone.get("revision", "")
        return name if not revision or "@" in name else f"{name}@{revision}"

    @property
    def identity(self) -> str:
        """A hash of the modules' runs and how they are composed."""
        tree = _tree(renamed(self.expression, lambda name: self.leaves[name].record.run))
        tree = [tree, self.task] if self.task else tree
        return hashlib.sha256(json.dumps(tree).encode()).hexdigest()[:16]

    @property
    def bases(self) -> dict[str, dict[str, str]]:
        """What a module trained on top of this composition records of it."""
        known = {
            name: {"run": leaf.record.run, "path": str(leaf.folder), **_hub(leaf)}
            for name, leaf in self.leaves.items()
        }
        for each in fusions(self.expression):
            if each.by:
                known[each.by]["fuses"] = canonical(each)
        return known


@dataclass(frozen=True)
class Composed:
    """A composition in an engine's memory.

    `expression` is its canonical text, `inside` the same over names inside the engine, `name` what
    the topmost module's head is called there, `block` what the engine activates. The composition
    `none` has no record, no name and no block.
    """

    expression: str
    identity: str
    record: ModuleRecord | None
    name: str
    inside: Expression
    block: Any


def _tree(expression: Expression) -> Any:
    if isinstance(expression, str):
        return expression
    terms = expression.terms and dataclasses.asdict(expression.terms)
    return [expression.operator, terms or expression.by, *map(_tree, expression.parts)]


def resolve(text: str) -> Resolved:
    """Finds every module of a composition.

    A name alone stands for the module's whole composition: `tydiqa-on-squad` for
    `stack(squad, tydiqa)`. A composition that a module of the zoo was trained in stands for that
    module; otherwise every name is looked up for itself. After a colon, `multitask:squad` chooses
    a head of a module of several tasks.

    Raises:
        UserError: a syntax error, an unknown module, a base that is not there, or modules of
            different backbones.
    """
    if has_record(Path(text)):
        return resolve_folder(Path(text))
    if chosen := re.fullmatch(r"(.*\S):([\w+-]+)\s*", text):
        return resolve(chosen[1]).choosing(chosen[2])
    expression = parse(text)
    if isinstance(expression, str):
        return resolve_folder(find_module(expression))
    trained = list(_trained_as(expression))
    if len(trained) > 1:
        options = ", ".join(str(leaf.folder) for leaf in trained)
        raise UserError(f"several modules are '{canonical(expression)}': choose from {options}")
    if trained:
        return _whole(trained[0])
    found: dict[str, Leaf] = {}
    for name, leaf in _named_in(expression):
        if found.setdefault(name, leaf).record.run != leaf.record.run:
            raise UserError(
                f"composition '{canonical(expression)}': '{name}' stands for "
                f"{found[name].folder} and for {leaf.folder}: write folders in place of names"
            )
    named = _by_record_name(expression, found)
    return checked(_with_fusions(named))


def _named_in(expression: Expression) -> Iterator[tuple[str, Leaf]]:
    """Every name in an expression with its module; a stack that was trained names its own."""
    if isinstance(expression, str):
        yield expression, _leaf(find_module(expression))
        return
    trained = list(_trained_as(expression))
    if len(trained) == 1:
        yield from _whole(trained[0]).leaves.items()
        return
    for part in expression.parts:
        yield from _named_in(part)


def _with_fusions(resolved: Resolved) -> Resolved:
    """Finds, for every fusion in the expression, the one module that has learnt it.

    Raises:
        UserError: nobody has, or several have.
    """
    names: dict[str, str] = {}
    leaves_ = dict(resolved.leaves)
    for each in fusions(resolved.expression):
        written = canonical(each)
        runs = {resolved.leaves[name].record.run for name in leaves(each) if name != each.by}
        found = [
            leaf
            for leaf in zoo_modules()
            if leaf.record.composition == written
            and {base["run"] for base in leaf.record.bases.values()} == runs
        ]
        if not found:
            sources = " ".join(map(_argument, each.parts))
            raise UserError(
                f"no fusion of {sources} has been learnt: `adstilts fuse {sources} --target ...`"
            )
        if len(found) > 1:
            options = ", ".join(leaf.folder.name for leaf in found)
            raise UserError(f"several fusions are '{written}': choose from {options}")
        names[written] = found[0].record.name
        leaves_[found[0].record.name] = found[0]
    return Resolved(learnt(resolved.expression, names), leaves_)


def _argument(part: Expression) -> str:
    """A source as it is written on a command line."""
    return part if isinstance(part, str) else f'"{canonical(part)}"'


def resolve_folder(folder: Path) -> Resolved:
    """The module in a folder, in the composition it was trained in.

    Raises:
        UserError: there is no module, or not what it stands on.
    """
    return _whole(_leaf(folder))


def _leaf(folder: Path) -> Leaf:
    return Leaf(folder, ModuleRecord.read(folder))


def _hub(leaf: Leaf) -> dict[str, str]:
    return {"hub": leaf.record.hub} if leaf.record.hub else {}


def zoo_modules() -> Iterator[Leaf]:
    """Every module in the zoo."""
    for folder, record in readable():
        yield Leaf(folder, record)


def _trained_as(expression: Call) -> Iterator[Leaf]:
    """Modules of the zoo that were trained in exactly this composition."""
    written = canonical(expression)
    for leaf in zoo_modules():
        if leaf.record.composition == written and leaf.record.name == top(expression):
            yield leaf


def _whole(leaf: Leaf) -> Resolved:
    """The module in the composition it was trained in."""
    record = leaf.record
    fused = {base["fuses"]: name for name, base in record.bases.items() if "fuses" in base}
    if is_fusion(record.method):
        fused[record.composition] = record.name
    expression = learnt(parse(record.composition), fused)
    found = {
        name: leaf if name == record.name else _base(leaf, name) for name in leaves(expression)
    }
    return checked(Resolved(expression, found))


def _base(leaf: Leaf, name: str) -> Leaf:
    """The module that another one was trained on top of: the same run, wherever it lies now."""
    known = leaf.record.bases.get(name, {})
    run = known.get("run")
    for folder in (leaf.folder.parent / name, Path(known.get("path", "."))):
        if has_record(folder) and (found := _leaf(folder)).record.run == run:
            return found
    for found in zoo_modules():
        if found.record.run == run:
            return found
    if known.get("hub") and (found := _leaf(find_module(known["hub"]))).record.run == run:
        return found
    raise UserError(
        f"module {leaf.folder} was trained on top of '{name}' (run {run}), which is neither beside "
        f"it nor at {known.get('path')} nor in {zoo_dir()}: copy it there or train it again"
    )


def _by_record_name(expression: Expression, found: Mapping[str, Leaf]) -> Resolved:
    """The expression over the modules' own names, where these are distinct."""
    own = {given: leaf.record.name for given, leaf in found.items()}
    if len(set(own.values())) < len(own):
        own = {given: given for given in found}
    named = in_order(renamed(expression, own.__getitem__))
    return Resolved(named, {own[given]: leaf for given, leaf in found.items()})


def checked(resolved: Resolved) -> Resolved:
    """The composition, if its modules fit together.

    Raises:
        UserError: a module twice, or modules of different backbones, or of kinds that do not stack.
    """
    check_merged_kinds(resolved.expression, resolved.methods)
    check_fusable(resolved.expression, resolved.methods)
    check_stackable(resolved.expression, resolved.methods)
    named = leaves(resolved.expression)
    twice = _twice(renamed(resolved.expression, lambda name: resolved.leaves[name].record.run))
    for name in named:
        if resolved.leaves[name].record.run in twice:
            raise UserError(
                f"composition '{canonical(resolved.expression)}': '{name}' is in it twice"
            )
    first = resolved.leaves[named[0]].record
    for name in named[1:]:
        other = resolved.leaves[name].record
        if not same_backbone(other.backbone, first.backbone):
            raise UserError(
                f"composition '{canonical(resolved.expression)}': '{named[0]}' was made for "
                f"backbone '{first.backbone.get('name')}' "
                f"({first.backbone.get('fingerprint')}), '{name}' for "
                f"'{other.backbone.get('name')}' ({other.backbone.get('fingerprint')})"
            )
    folders = {name: leaf.folder for name, leaf in resolved.leaves.items()}
    check_merged_shapes(resolved.expression, resolved.records, folders)
    return resolved


def _twice(expression: Expression) -> set[str]:
    """Runs that are in an expression twice.

    Several sources of a fusion may stand on the same module, as on one for a language.
    """
    if isinstance(expression, str):
        return set()
    inner = [_twice(part) for part in expression.parts]
    side_by_side = expression.operator in FUSING
    own = [{top(part)} if side_by_side else set(leaves(part)) for part in expression.parts]
    counts = Counter(run for each in own for run in each)
    return set().union(*inner, (run for run, times in counts.items() if times > 1))


def load_resolved(engine: Engine, resolved: Resolved) -> Composed:
    """Loads the modules that are not in the engine yet and activates the composition.

    Raises:
        UserError: a module is damaged or was made for another backbone.
    """
    expression = load_leaves(engine, resolved)
    composed = Composed(
        expression=resolved.text,
        identity=resolved.identity,
        record=resolved.record,
        name=head_name(top(expression), resolved.task),
        inside=expression,
        block=block_of(expression),
    )
    activate(engine, composed)
    return composed


def load_leaves(engine: Engine, resolved: Resolved) -> Expression:
    """Loads the modules that are not in the engine yet; the expression over names inside it.

    Merges are computed; what comes of one stands in its place.

    Raises:
        UserError: a module is damaged or was made for another backbone.
    """
    inside: dict[str, str] = {}
    fused = {each.by: each for each in fusions(resolved.expression)}
    for name in leaves(resolved.expression):
        leaf = resolved.leaves[name]
        run = leaf.record.run
        if run not in engine.names:
            free = leaf.record.name
            while free in engine.modules:
                free = f"{free}_"
            # A fusion comes after the modules that it is over.
            parts = fused[name].parts if name in fused else ()
            sources = [renamed(part, inside.__getitem__) for part in parts]
            load_module(engine, leaf.folder, name=free, sources=sources)
            engine.names[run] = free
        inside[name] = engine.names[run]
    expression = renamed(resolved.expression, inside.__getitem__)
    for each in fusings(expression):
        if each.operator == "uniform":
            add_uniform(engine, each)
    return with_merges(engine, expression)


def load_composition(engine: Engine, text: str) -> Composed:
    """Finds a composition's modules, loads them and activates it; `none` is the plain backbone.

    Raises:
        UserError: as `resolve` and `load_resolved`.
    """
    if text.strip() == NONE:
        composed = Composed(NONE, NONE, None, "", "", None)
        activate(engine, composed)
        return composed
    return load_resolved(engine, resolve(text))


def activate(engine: Engine, composed: Composed) -> None:
    """Makes the engine run this composition, with its topmost module's head if that is chosen."""
    activate_block(engine, composed.block, composed.name)


def backbone_of(text: str) -> str:
    """The backbone that a composition's modules were trained on.

    Raises:
        UserError: as `resolve`; or the composition is `none`, which says nothing of a backbone.
    """
    if text.strip() == NONE:
        raise UserError("composition 'none' has no module that names a backbone: give --backbone")
    return resolve(text).backbone
