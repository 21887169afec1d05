"""The modules that the service offers: found at the start, loaded when they are first asked for."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from adapter_stilts.backbones import find_backbone
from adapter_stilts.engine.engine import Engine, load_engine
from adapter_stilts.errors import UserError, unknown
from adapter_stilts.heads import get_head
from adapter_stilts.safety import first_line, json_text, printable
from adapter_stilts.serving.schema import About
from adapter_stilts.tasks.registry import target_tasks
from adapter_stilts.zoo.choice import (
    ModuleReference,
    distinct_modules,
    find_modules,
    is_of,
    place_of,
    same_backbone,
)
from adapter_stilts.zoo.local import load_resolved
from adapter_stilts.zoo.module import Module
from adapter_stilts.zoo.provenance import is_own, licence_of, task_of
from adapter_stilts.zoo.record import NO_HEAD, ModuleRecord
from adapter_stilts.zoo.resolve import resolve, resolve_folder
from adapter_stilts.zoo.resolved_composition import ResolvedComposition

logger = logging.getLogger(__name__)


class ModuleError(Exception):
    """Why a module does not answer; `name` is the one that was asked for."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(why)
        self.name = name


class ModulePoolFullError(ModuleError):
    """As many modules are in memory as may be."""


@dataclass(frozen=True)
class Offer:
    """A module or composition by the name that requests call it."""

    name: str
    resolved: ResolvedComposition

    @property
    def record(self) -> ModuleRecord:
        """The record of the module whose head answers."""
        return self.resolved.record

    @property
    def choices(self) -> int:
        """How many options its head chooses among; 0 for other heads."""
        return self.resolved.choices

    def about(self) -> About:
        """What `GET /modules` says of it."""
        record = self.record
        head = get_head(record.head)
        return About(
            name=self.name,
            kind=record.head,
            task=record.task,
            method=record.method,
            composition=self.resolved.text,
            needs=list(head.needs),
            takes=list(head.takes),
            aliases={field: list(names) for field, names in head.aliases.items()},
            choices=self.choices,
            languages=list(_languages(record)),
            scores=record.scores,
            parameters=record.parameters,
            licence=licence_of(record),
            loaded=False,
        )


def _languages(record: ModuleRecord) -> tuple[str, ...]:
    """The languages that the module's target is evaluated in; none for an intermediate task."""
    if is_own(record):
        return task_of(record).languages
    task = record.task
    target = target_tasks().get(task.partition(".")[0])
    return target.languages if target else ()


class ModulePool:
    """One engine and what can be loaded into it.

    Only one thread may load and run; any may ask what is offered.
    """

    def __init__(self, engine: Engine, offers: Sequence[Offer], *, most: int) -> None:
        self.engine = engine
        self.offers: dict[str, Offer] = {}
        self.about: dict[str, About] = {}
        self._most = most
        self._loaded: dict[str, Module] = {}
        self.add(offers)

    def add(self, offers: Iterable[Offer]) -> None:
        """Offers what is not offered yet, by a free name; refuses what cannot be shown."""
        known = {offer.resolved.identity for offer in self.offers.values()}
        for offer in offers:
            if offer.resolved.identity in known or offer.name in self.offers:
                continue
            try:
                about = offer.about()
                json_text(about.model_dump()).encode("utf-8")
            except UserError:
                raise
            except Exception as error:
                why = f"its record cannot be shown ({first_line(error)})"
                raise UserError(f"module '{offer.name}': {why}") from error
            self.about[offer.name], self.offers[offer.name] = about, offer
            known.add(offer.resolved.identity)

    def offer(self, name: str) -> Offer:
        """What is offered by that name; refuses an unknown one."""
        if name not in self.offers:
            raise unknown("module", name[:100], self.offers)
        return self.offers[name]

    def module(self, name: str) -> Module:
        """That module, loaded if it is not yet, unless no more may be (ModulePoolFullError)."""
        if name not in self._loaded:
            if len(self._loaded) >= self._most:
                raise ModulePoolFullError(
                    name,
                    f"{len(self._loaded)} modules are in memory, which is the limit: ask for one "
                    "of these, or start the service with a larger --max-modules",
                )
            resolved = self.offers[name].resolved
            composed = load_resolved(self.engine, resolved)
            self._loaded[name] = Module(self.engine, resolved.record, composed.name, composed)
        return self._loaded[name]

    def offer_name(self, inside: str) -> str | None:
        """Which offer a module in memory is, by what it is called in the engine."""
        return next((name for name, each in self._loaded.items() if each.name == inside), None)

    @property
    def loaded(self) -> tuple[str, ...]:
        """The names of what is in memory."""
        return tuple(self._loaded)


def stock(
    names: Sequence[str], *, backbone: str | None, zoo: bool, most: int, precision: str = "auto"
) -> ModulePool:
    """Loads the backbone and finds the modules to offer; those that are named are loaded too.

    `backbone` says which one, and so which of several modules of one name (None: that of the
    modules); with `zoo` all that are here for it are offered as well; `most` are in memory at the
    same time. Refuses no module, a damaged one, one without a head, and several backbones.
    """
    offers = [offer for name in names for offer in offers_of(name, backbone)]
    if len(offers) > most:
        raise UserError(f"{len(offers)} modules are more than --max-modules {most}: raise it")
    chosen = place_of(backbone, offers[0].resolved.backbone) if offers else _zoo_backbone(backbone)
    engine = load_engine(find_backbone(chosen), precision=precision)
    pool = ModulePool(engine, offers, most=most)
    for name in list(pool.offers):
        pool.module(name)
    if zoo:
        _add_zoo(pool)
    if not pool.offers:
        raise UserError(
            f"no module for backbone '{chosen}' is here: train one, or name one (--with)"
        )
    return pool


def offers_of(name: str, backbone: str | None = None) -> list[Offer]:
    """What a name, folder, Hub id or composition offers: one module, or one a task it has.

    `backbone` chooses among modules of one name. Refuses as `resolve`, and what has no head.
    """
    resolved = resolve(name, backbone)
    record = resolved.record
    if record.head == NO_HEAD:
        raise UserError(
            f"'{name}' has no head to answer with: train a target on top (`adstilts train-target "
            "--on`), or merge with that of a module (`adstilts merge --head`)"
        )
    return list(_heads(name, resolved))


def _heads(name: str, resolved: ResolvedComposition) -> Iterator[Offer]:
    """One offer, or one a task of a module of several tasks."""
    tasks = resolved.record.heads
    if not tasks:
        yield Offer(name, resolved)
    for task in tasks:
        yield Offer(f"{name}:{task}", resolved.choosing(task))


def _with_heads() -> Iterator[ModuleReference]:
    for found in find_modules():
        with _leave_out_failures(found.full_name):
            if found.record.head != NO_HEAD:
                yield found


@contextmanager
def _leave_out_failures(name: str) -> Iterator[None]:
    """Whatever is wrong with one module of the zoo, the others are offered."""
    try:
        yield
    except Exception as error:
        logger.warning("module %s is left out: %s", printable(name), first_line(error))


def _zoo_backbone(wanted: str | None) -> str:
    """The backbone of the modules that are here; where they have several, the one wanted."""
    found: set[str] = set()
    for each in _with_heads():
        if wanted and not is_of(each, wanted):
            continue
        with _leave_out_failures(each.full_name):
            name = each.record.name
            found.add(ResolvedComposition(name, {name: each}).backbone)
    if wanted:
        return place_of(wanted, min(found)) if found else wanted
    if len(found) != 1:
        what = f"modules are here for {', '.join(sorted(found))}" if found else "no module is here"
        raise UserError(f"{what}: choose with --backbone, or name modules (--with)")
    return found.pop()


def _add_zoo(pool: ModulePool) -> None:
    """Adds all modules that are here for the backbone, by their short names if these differ."""
    identity = pool.engine.identity
    fitting = distinct_modules(
        [each for each in _with_heads() if same_backbone(each.record.backbone, identity)]
    )
    short = Counter(each.folder.name for each in fitting)
    for each in fitting:
        is_short = each.place != "hub" and short[each.folder.name] == 1
        name = each.folder.name if is_short else each.full_name
        with _leave_out_failures(name):
            pool.add(_heads(name, resolve_folder(each.folder)))
