"""The compositions of an evaluation before any weights are loaded, and their heads after."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from adapter_stilts.backbones import Backbone
from adapter_stilts.data.parts import LANG
from adapter_stilts.engine.composition import NONE
from adapter_stilts.engine.native import head_labels, read_labels
from adapter_stilts.errors import UserError
from adapter_stilts.evaluation.files import slug
from adapter_stilts.heads import get_head, has_weights
from adapter_stilts.paths import from_here
from adapter_stilts.tasks.registry import find_either
from adapter_stilts.tasks.spec import TargetSpec
from adapter_stilts.zoo.choice import check_one_backbone, name_with_fingerprint, place_of
from adapter_stilts.zoo.find import each_seed
from adapter_stilts.zoo.record import ModuleRecord
from adapter_stilts.zoo.resolve import resolve
from adapter_stilts.zoo.resolved_composition import ResolvedComposition

if TYPE_CHECKING:
    from adapter_stilts.engine.engine import Engine
    from adapter_stilts.zoo.local import Composed


@dataclass(frozen=True)
class Candidate:
    """One composition whose modules have been found; `resolved` is None for the plain backbone."""

    target: TargetSpec
    resolved: ResolvedComposition | None
    given: str = ""
    """What the user wrote, where others are canonically written in the same way."""
    seeds_of: str = ""
    """The composition with all seeds that this one is one of, as `xnli-on-mnli-s*`."""
    seed: int | None = None

    @property
    def expression(self) -> str:
        """The module's name, or the composition canonically written."""
        return NONE if self.resolved is None else self.given or self.resolved.name

    @property
    def identity(self) -> str:
        """A hash of the modules' runs and how they are composed."""
        return NONE if self.resolved is None else self.resolved.identity

    @property
    def record(self) -> ModuleRecord | None:
        """The record of the module whose head is used."""
        return None if self.resolved is None else self.resolved.record

    @property
    def window(self) -> tuple[int, int]:
        """Tokens a sequence at most, and the stride of windows: as trained for this kind.

        A backbone may have positions for fewer.
        """
        if self.record is None or self.record.head != self.target.head:
            return self.target.max_length, 0
        return int(self.record.recipe["max_length"]), int(self.record.recipe["stride"])

    def load(self, engine: Engine) -> Composed:
        """Loads what is not in the engine yet, and activates the composition."""
        from adapter_stilts.zoo.local import load_composition, load_resolved

        resolved = self.resolved
        composed = load_resolved(engine, resolved) if resolved else load_composition(engine, NONE)
        return dataclasses.replace(composed, expression=self.expression)


def find_candidates(
    target: TargetSpec, compositions: Sequence[str], backbone: str | None = None
) -> list[Candidate]:
    """Finds the modules of every composition; one that is given twice counts once.

    A `backbone` chooses among modules of one name. Refuses unknown modules, modules of several
    backbones, and heads that do not fit the target.
    """
    found: dict[str, Candidate] = {}
    written: dict[str, str] = {}
    given = [
        (text.strip(), seed, one.strip())
        for text in compositions
        for seed, one in each_seed(text, backbone).items()
    ]
    for text, seed, one in given:
        resolved = None
        if one != NONE:
            resolved = resolve(one, backbone).suiting(target.head, target.labels)
        series = "" if seed is None else text
        candidate = Candidate(target, resolved, seeds_of=series, seed=seed)
        check_kind(target, candidate.expression, candidate.record)
        if resolved is not None and (place := resolved.head_folder) and not target.retrieval:
            check_labels(target, candidate.expression, *read_labels(place))
        known = found.get(candidate.identity)
        if known is None or (series and not known.seeds_of):
            found[candidate.identity] = candidate
        written.setdefault(candidate.identity, one)
    if not found:
        raise UserError(f"no composition to evaluate on {target.name}: name one")
    every = list(found.values())
    named = [(each.expression, each.record.backbone) for each in every if each.record]
    check_one_backbone(named, ": evaluate them one at a time")
    # Modules in folders of the same name are called as they were given.
    times = Counter(each.expression for each in every)
    return [
        dataclasses.replace(each, given=written[each.identity])
        if times[each.expression] > 1
        else each
        for each in every
    ]


def backbone_record(candidates: Sequence[Candidate]) -> dict[str, str] | None:
    """What the modules say of their backbone; one with a fingerprint says most."""
    known = [each.record.backbone for each in candidates if each.record is not None]
    return next((each for each in known if each.get("fingerprint")), known[0] if known else None)


def backbone_name(candidates: Sequence[Candidate], given: str | None) -> str:
    """The backbone to load: as given, or as the modules name it; refuses to guess one."""
    named = [each.resolved for each in candidates if each.resolved is not None]
    # A module of another program may name a folder that was its author's.
    for resolved in sorted(named, key=lambda each: not each.record.backbone.get("fingerprint")):
        return place_of(given, resolved.backbone)
    if given is not None:
        return given
    raise UserError("composition 'none' has no module that names a backbone: give --backbone")


def backbone_slug(candidate: Candidate, backbone: str) -> str:
    """The backbone as a folder's name: as the modules name it, wherever it lies now."""
    record = candidate.record
    name = record.backbone["name"] if record is not None else backbone
    slug = Backbone(name.partition("@")[0], Path()).slug
    if candidate.resolved is None or record is None:
        return slug
    # Of two backbones of one name, the zoo has a folder for each, and so have the predictions.
    own = name_with_fingerprint(slug, record.backbone.get("fingerprint", ""))
    zoos = {reference.folder.parent.name for reference in candidate.resolved.modules.values()}
    return own if own in zoos else slug


def folders(
    candidates: Sequence[Candidate],
    out: str | Path | None,
    backbone: str,
    limit: int | None,
    file: Path | None = None,
) -> list[Path]:
    """Where each composition's predictions lie: `predictions/BACKBONE/COMPOSITION`, or in `out`.

    What is limited, or is of a file of the user's own, lies apart from what is complete. `out` is
    the folder of one composition, of several the folder of their folders. Refuses two compositions
    that would share a folder.
    """
    if out is not None and len(candidates) == 1:
        return [Path(out).absolute()]
    known = [each for each in candidates if each.record is not None] or candidates
    usual = Path("predictions") / backbone_slug(known[0], backbone)
    root = Path(out or usual).absolute()  # a caller may change the folder it is in
    apart = f"-{slug(file.stem.replace(LANG, ''))}" if file else ""
    apart += "" if limit is None else f"-limit-{limit}"
    found = [root / f"{slug(each.expression)}{apart}" for each in candidates]
    for place, folder in enumerate(found):
        if folder in found[:place]:
            other = candidates[found.index(folder)].expression
            raise UserError(
                f"'{other}' and '{candidates[place].expression}' would share the folder "
                f"{from_here(folder)}: evaluate them one at a time, each with its own --out"
            )
    return found


def check_kind(target: TargetSpec, expression: str, record: ModuleRecord | None) -> None:
    """Refuses a composition whose head is of another kind; sentence vectors need no head."""
    if target.retrieval is not None or (record is not None and record.head == target.head):
        return
    several = record is not None and bool(record.heads)
    head = record.head if record is not None and (several or has_weights(record.head)) else ""
    what = f"has a {head} head" if head else "has no head"
    raise UserError(
        f"composition '{expression}' {what}, and {target.name} needs a {target.head} one: train "
        f"it with `{_training_command(target)}`"
    )


def _training_command(target: TargetSpec) -> str:
    """The command that trains a module for a target, which a task file may be needed for."""
    try:
        find_either(target.name)
    except UserError:
        return f"adstilts train-target --task {target.name}.yaml"
    return f"adstilts train-target {target.name}"


@dataclass(frozen=True)
class Head:
    """What the head's numbers mean: tags by number, and the target's label by the head's."""

    tags: tuple[str, ...] = ()
    labels: tuple[int, ...] = ()

    def translate(self, values: Sequence[int]) -> list[int]:
        """Label numbers of the head as label numbers of the target."""
        return [self.labels[value] for value in values] if self.labels else list(values)


def fit_head(engine: Engine, target: TargetSpec, composed: Composed) -> Head:
    """The composition's head, which `find_candidates` has checked, as the target task reads it."""
    names = head_labels(engine, composed.name)
    if get_head(target.head).has_tags:
        return Head(tags=names)
    if get_head(target.head).has_labels:
        return Head(labels=tuple(map(target.labels.index, names)))
    return Head()


def check_labels(target: TargetSpec, expression: str, names: Sequence[str], choices: int) -> None:
    """Refuses a head with other labels (`names`, by number), or another number of choices."""
    kind = get_head(target.head)
    if kind.has_tags and target.tags and not set(names) <= set(target.tags):
        foreign = [tag for tag in names if tag not in target.tags]
        raise UserError(
            f"composition '{expression}' has tags that are not {target.name}'s, such as "
            f"{', '.join(foreign[:3])} ({len(foreign)} of {len(names)}): train it with "
            f"`{_training_command(target)}`, or name its tags with --tags"
        )
    if kind.has_labels and set(names) != set(target.labels):
        mine, theirs = (", ".join(sorted(each)[:6]) for each in (names, target.labels))
        raise UserError(
            f"composition '{expression}' has the labels {mine}, where {target.name} has "
            f"{theirs}: train it with `{_training_command(target)}`"
        )
    if kind.chooses and choices != target.choices:
        raise UserError(
            f"composition '{expression}' chooses among {choices} options, where {target.name} has "
            f"{target.choices}"
        )
