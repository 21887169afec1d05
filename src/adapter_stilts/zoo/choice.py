"""What modules are called, where they lie, and which of several of one name is meant."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from adapter_stilts.backbones import EMBEDDED, HUB_IDS, Backbone, hub_id
from adapter_stilts.engine.composition import Call, build_stack, canonical, parse
from adapter_stilts.engine.methods import is_fusion
from adapter_stilts.errors import UserError
from adapter_stilts.paths import is_file, is_folder, pulled_dir, shared_zoos, zoo_dir
from adapter_stilts.zoo.record import RECORD, ModuleRecord

_SEED = r"[1-9][0-9]{0,9}"
"""A seed as it is written at the end of a name; seed 0 is not."""
LARGEST_SEED = 2**32 - 1
ALL_SEEDS = "-s*"
"""The end of a name that stands for every seed of a module: `squad-s*`."""


def folder_name(name: str, base: str = "") -> str:
    """The folder of a module of seed 0: `tydiqa-on-squad` for `stack(squad, tydiqa)`.

    The seed of a module below is written `_s1` there, as `-s1` at the end is the module's own:

    >>> folder_name("tydiqa", "squad-s1")
    'tydiqa-on-squad_s1'
    """
    if not base:
        return name
    plain = re.sub(r"[^A-Za-z0-9_.+-]+", "-", re.sub(rf"-s({_SEED})\b", r"_s\1", base)).strip("-")
    return f"{name}-on-{plain}"


def with_seed(name: str, seed: int) -> str:
    """The name with its seed; seed 0 has the plain name.

    >>> with_seed("squad", 0), with_seed("squad", 2)
    ('squad', 'squad-s2')
    """
    return f"{name}-s{seed}" if seed else name


def without_seed(name: str) -> tuple[str, int]:
    """A name apart from its seed, if it ends as `with_seed` writes one.

    >>> without_seed("squad-s2"), without_seed("squad-s02")
    (('squad', 2), ('squad-s02', 0))
    """
    found = re.fullmatch(rf"(.+)-s({_SEED})", name)
    if found is None or int(found[2]) > LARGEST_SEED:
        return name, 0
    return found[1], int(found[2])


def series_folders(folder: Path, seed: int, seeds: Iterable[int]) -> list[Path]:
    """The folders of the same module with other seeds, beside that of one seed."""
    name = series_name(folder, seed)
    return [folder.with_name(with_seed(name, each)) for each in seeds]


def series_name(folder: Path, seed: int) -> str:
    """The name of a module's folder without the seed that the module is known to have."""
    return folder.name.removesuffix(f"-s{seed}") if seed else folder.name


def usual_folder(record: ModuleRecord) -> str:
    """The folder in which a module lies where nobody chose another, of seed 0."""
    try:
        return folder_name(record.name, below(record))
    except UserError:  # a composition that cannot be read: loading says so
        return record.name


def below(record: ModuleRecord) -> str:
    """What a module was trained on top of, or fuses; an empty text where it stands alone."""
    if is_fusion(record.method):
        return record.composition
    expression = parse(record.composition)
    if not record.bases or not isinstance(expression, Call) or expression.operator != "stack":
        return ""
    return canonical(build_stack(*expression.parts[:-1]))


_PLAIN = re.compile(r"[A-Za-z0-9_.+-]+")


def plain_name(folder: Path) -> str:
    """The folder's name where it can stand in a composition, else an empty text."""
    own = folder.resolve().name if folder.name in ("", "..") else folder.name
    return own if _PLAIN.fullmatch(own) else ""


STARRED = re.compile(r"([^\s(),*\"]+)-s\*")
"""A name in a composition that stands for every seed of a module."""


Place = Literal["zoo", "shared", "hub"]


@dataclass
class ModuleReference:
    """A module: where it lies and what it says of itself, which is read when it is asked for."""

    folder: Path
    known: ModuleRecord | None = None
    place: Place = "zoo"

    @property
    def record(self) -> ModuleRecord:
        """What it says of itself; refuses what cannot be read."""
        if self.known is None:
            self.known = ModuleRecord.read(self.folder)
        return self.known

    @property
    def readable(self) -> ModuleRecord | None:
        """What it says of itself, if that can be read."""
        with suppress(UserError):
            return self.record
        return None

    @property
    def full_name(self) -> str:
        """What finds it: `embedded/squad` in a zoo, `someone/xlmr-squad` from the Hub."""
        if self.place == "hub":
            return self.folder.parent.name.replace("--", "/", 1)
        return f"{self.folder.parent.name}/{self.folder.name}"

    @property
    def name(self) -> str:
        """What it is called in compositions, tables and folders: by its folder's name.

        Inside a composition, one in its usual folder has the short name of its record, as in
        `stack(squad, tydiqa)`; by itself that one is `tydiqa-on-squad`, as
        `ResolvedComposition.name` says.
        """
        own, record = self.own_name, self.record
        return record.name if own in ("", record.name, usual_folder(record)) else own

    @property
    def own_name(self) -> str:
        """Its folder's name, whichever that is; empty where no composition can name it.

        What was pulled lies in a folder that is named after a commit.
        """
        pulled = self.folder.parent.parent.resolve() == pulled_dir().resolve()
        return "" if pulled else plain_name(self.folder)


def has_record(folder: Path) -> bool:
    """Whether a module lies there, whatever text the path was made of."""
    return is_file(folder / RECORD)


def find_modules() -> Iterator[ModuleReference]:
    """Every module, those of the user's zoo first, then the shared and the pulled ones."""
    own, pulled = zoo_dir(), pulled_dir()
    shared = (each for each in shared_zoos() if each.resolve() != own.resolve())
    places: list[tuple[Path, Place]] = [(own, "zoo"), *((each, "shared") for each in shared)]
    for zoo, place in (*places, (pulled, "hub")):
        for path in sorted(zoo.glob(f"*/*/{RECORD}")):
            if not path.parent.name.startswith("."):  # it is being written
                yield ModuleReference(path.parent, place=place)


def by_name(name: str) -> list[ModuleReference]:
    """The modules of a name (`squad`, `embedded/squad`), those of the user's zoo first."""
    return [
        found
        for found in find_modules()
        if found.place != "hub" and name in (found.folder.name, found.full_name)
    ]


def readable() -> Iterator[ModuleReference]:
    """Every module that can be read; the same run in a second place is passed over."""
    seen: dict[str, Place] = {}
    for found in find_modules():
        record = found.readable
        if record and seen.setdefault(record.run, found.place) == found.place:
            yield found


def same_backbone(one: Mapping[str, str], other: Mapping[str, str]) -> bool:
    """Whether two modules were made for the same weights, as far as is known.

    Modules of other programs have no fingerprint: the Hub's names decide, and then the shapes.
    """
    prints = {each.get("fingerprint", "") for each in (one, other)}
    if "" not in prints:
        return len(prints) == 1
    names = {hub_id(each.get("name", "")).lower() for each in (one, other)}
    local = any("/" not in name or name.startswith((".", "/", "~")) for name in names)
    return len(names) == 1 or (local and EMBEDDED not in names)


def check_one_backbone(made_for: Sequence[tuple[str, Mapping[str, str]]], remedy: str = "") -> None:
    """Refuses modules that cannot be in one model: names two beside the backbones they have.

    All pairs are compared: a module of another program, without a fingerprint, can go with
    either of two that do not go together.
    """
    for place, (name, backbone) in enumerate(made_for):
        for earlier, other in made_for[:place]:
            if not same_backbone(other, backbone):
                raise UserError(
                    f"'{earlier}' was made for backbone {_called(other)}, '{name}' for "
                    f"{_called(backbone)}{remedy}"
                )


def _called(backbone: Mapping[str, str]) -> str:
    known = backbone.get("fingerprint", "")
    return f"'{backbone.get('name')}'" + (f" ({known})" if known else "")


def choose(
    name: str,
    found: Sequence[ModuleReference],
    backbone: str | None = None,
    *,
    strict: bool = False,
) -> ModuleReference:
    """The one module that is meant; of equal ones, one of the user's zoo before a shared one.

    `backbone` may be the folder that one has been moved to: then a module that is the only one of
    its name is taken, and its fingerprint is compared when it is loaded. Not so where `strict`
    says that nothing is loaded. Refuses other backbones' modules, and several, by full names.
    """
    distinct = distinct_modules(found)
    if backbone:
        fitting = [each for each in distinct if is_of(each, backbone)]
        # Where the backbone itself is known, one that may have been moved is not meant.
        fitting = [each for each in fitting if _lies_at(each, backbone)] or fitting
        if not fitting and (strict or len(distinct) > 1 or _differs(distinct[0], backbone)):
            raise UserError(
                f"no module '{name}' is here for backbone '{backbone}': there "
                f"{'are' if len(distinct) > 1 else 'is'} {full_names(distinct)}"
            )
        distinct = fitting or distinct
    if len(distinct) > 1:
        several = len({each.folder.parent.name for each in distinct}) > 1
        what = "exists for several backbones" if several else "stands for several"
        raise UserError(f"module '{name}' {what}: choose from {full_names(distinct)}")
    return distinct[0]


def is_of(found: ModuleReference, backbone: str) -> bool:
    """Whether a module was made for a backbone, by the names of both; the revision is left out."""
    record = found.readable
    made_for = record.backbone.get("name", "") if record else ""
    local = Path(backbone).expanduser()
    if backbone != EMBEDDED and is_folder(local):
        there = Path(made_for).expanduser()
        if there.is_absolute() and there.exists():
            return _lies_at(found, backbone)
        own = found.folder.parent.name
        return found.place != "hub" and local.resolve().name in (own, name_without_fingerprint(own))
    if backbone == EMBEDDED and made_for:
        return made_for == EMBEDDED
    wanted, name = hub_id(backbone), hub_id(made_for)
    in_zoo = found.place != "hub" and found.folder.parent.name in (_slug(backbone), _slug(wanted))
    return in_zoo or (bool(name) and wanted.lower() in (name.lower(), _last(name).lower()))


def _lies_at(found: ModuleReference, backbone: str) -> bool:
    """Whether a module was trained on the backbone in that very folder."""
    record, local = found.readable, Path(backbone).expanduser()
    there = Path(record.backbone.get("name", "") if record else "").expanduser()
    return there.is_absolute() and is_folder(local) and there.resolve() == local.resolve()


def full_names(found: Iterable[ModuleReference]) -> str:
    """The modules as BACKBONE/NAME, where that tells them apart, else their folders."""
    every = list(found)
    names = [each.full_name for each in every]
    return ", ".join(
        str(each.folder) if names.count(each.full_name) > 1 else each.full_name for each in every
    )


def place_of(backbone: str | None, made_for: str) -> str:
    """The backbone to load: where the user says that it lies, else as the modules name it.

    A short name, or the name of the zoo's folder, chooses modules; these know the revision.
    """
    if not backbone or backbone == made_for:
        return made_for
    local = Path(backbone).expanduser()
    if is_folder(local) or "@" in backbone or backbone == EMBEDDED:
        return backbone
    names = {hub_id(made_for).lower(), _last(hub_id(made_for)).lower(), _slug(made_for).lower()}
    given = {hub_id(backbone).lower(), _slug(backbone), name_without_fingerprint(backbone)}
    return made_for if given & names else backbone


def distinct_modules(found: Sequence[ModuleReference]) -> list[ModuleReference]:
    """One of each full name and backbone, in the order of places; the same run counts once."""
    kept: list[ModuleReference] = []
    for each in found:
        if not any(_replaces(earlier, each) for earlier in kept):
            kept.append(each)
    return kept


def _replaces(earlier: ModuleReference, later: ModuleReference) -> bool:
    one, other = earlier.readable, later.readable
    if one is None or other is None:
        return earlier.full_name == later.full_name
    equal = one.run == other.run or earlier.full_name == later.full_name
    elsewhere = earlier.place != later.place
    return equal and elsewhere and same_backbone(one.backbone, other.backbone)


def _differs(found: ModuleReference, backbone: str) -> bool:
    """Whether both backbones are known by name, so that no fingerprint can make them equal."""
    record = found.readable
    names = (hub_id(record.backbone.get("name", "")) if record else "", hub_id(backbone))
    known = {EMBEDDED, *HUB_IDS.values()}
    return all(name in known for name in names)


def _slug(backbone: str) -> str:
    return Backbone(backbone.partition("@")[0], Path()).slug


def _last(name: str) -> str:
    return name.rpartition("/")[2]


NOTE = "run.json"
"""What an unfinished run says of itself, in its folder `NAME.unfinished`."""
_DIGITS = 8


def backbone_folder(backbone: Backbone) -> Path:
    """Where a backbone's modules lie: `ZOO/NAME`, or `ZOO/NAME-FINGERPRINT`.

    A backbone is its weights, whatever it is called. Of two with one name, as in the folders
    `/a/tiny` and `/b/tiny`, the second one's modules lie in a folder with the first digits of its
    fingerprint. Weights are read only where the names do not tell that it is the same backbone.
    """
    usual = zoo_dir() / backbone.slug
    apart = zoo_dir().is_dir() and any(
        name_without_fingerprint(each.name) == usual.name
        for each in zoo_dir().iterdir()
        if each.name != usual.name
    )
    made_for = list(_made_for(usual))
    if not apart and all(_is_same(each, backbone) for each in made_for):
        return usual
    own = usual.with_name(name_with_fingerprint(usual.name, backbone.fingerprint))
    others = {each["fingerprint"] for each in made_for} - {"", backbone.fingerprint}
    return own if others or own.is_dir() else usual


def name_with_fingerprint(name: str, fingerprint: str) -> str:
    """The folder's name where another backbone has the plain one.

    >>> name_with_fingerprint("tiny", "0123456789abcdef")
    'tiny-01234567'
    """
    return f"{name}-{fingerprint[:_DIGITS]}"


def name_without_fingerprint(name: str) -> str:
    """The backbone's own name in that of its folder.

    >>> name_without_fingerprint("tiny-01234567"), name_without_fingerprint("tiny")
    ('tiny', 'tiny')
    """
    return re.sub(rf"-[0-9a-f]{{{_DIGITS}}}\Z", "", name)


def _made_for(folder: Path) -> Iterator[dict[str, str]]:
    """Name, revision and fingerprint of the backbones of all modules and unfinished runs there."""
    keys = ("name", "revision", "fingerprint")
    for path in sorted(folder.glob(f"*/{RECORD}")):
        try:
            known = ModuleRecord.read(path.parent).backbone
        except UserError:  # damaged: it is nobody's
            continue
        yield {key: known.get(key, "") for key in keys}
    for path in sorted(folder.glob(f"*.unfinished/{NOTE}")):
        try:
            note = json.loads(path.read_text(encoding="utf-8"))["backbone"]
            yield {key: str(note.get(key, "")) for key in keys}
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            continue


def _is_same(made_for: dict[str, str], backbone: Backbone) -> bool:
    """Whether names alone tell that it is the same backbone."""
    name = made_for["name"]
    place = Path(backbone.name).expanduser()
    if place.is_dir() and place.is_absolute():
        # A relative path says nothing where it was written elsewhere.
        there = Path(name).expanduser()
        return there.is_absolute() and there.resolve() == place.resolve()
    return hub_id(name) == hub_id(backbone.name) and made_for["revision"] == backbone.revision
