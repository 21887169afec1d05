"""What modules are called: their folders here, and their repositories on the Hub."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from huggingface_hub import constants

from adapter_stilts.engine.composition import Call, canonical
from adapter_stilts.engine.composition_text import parse
from adapter_stilts.engine.methods import is_fusion
from adapter_stilts.errors import UserError
from adapter_stilts.paths import pulled_dir
from adapter_stilts.zoo.choice import found_modules, has_record, is_of
from adapter_stilts.zoo.record import ModuleRecord

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


def seeded(name: str, seed: int) -> str:
    """The name with its seed; seed 0 has the plain name.

    >>> seeded("squad", 0), seeded("squad", 2)
    ('squad', 'squad-s2')
    """
    return f"{name}-s{seed}" if seed else name


def without_seed(name: str) -> tuple[str, int]:
    """A name apart from its seed, if it ends as `seeded` writes one.

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
    return [folder.with_name(seeded(name, each)) for each in seeds]


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
    parts = expression.parts[:-1]
    return canonical(parts[0] if len(parts) == 1 else Call("stack", parts))


_PLAIN = re.compile(r"[A-Za-z0-9_.+-]+")


def called(folder: Path, record: ModuleRecord, *, pulled: bool) -> str:
    """What a module is called in compositions, tables and folders: by its folder's name.

    Inside a composition, one in its usual folder has the short name of its record, as in
    `stack(squad, tydiqa)`; by itself that one is `tydiqa-on-squad`, as `ResolvedComposition.name`
    says. What was pulled lies in a folder that is named after a commit.
    """
    own = plain_name(folder)
    return record.name if pulled or own in ("", record.name, usual_folder(record)) else own


def plain_name(folder: Path) -> str:
    """The folder's name where it can stand in a composition, else an empty text."""
    own = folder.resolve().name if folder.name in ("", "..") else folder.name
    return own if _PLAIN.fullmatch(own) else ""


_STARRED = re.compile(r"([^\s(),*\"]+)-s\*")


def names_seeds(text: str) -> bool:
    """Whether a composition names all seeds of a module."""
    return bool(_STARRED.search(text))


def each_seed(text: str, backbone: str | None = None) -> dict[int | None, str]:
    """A composition for every seed; one that names no seeds stands for itself, under None.

    `squad-s*` is `squad`, which is seed 0, and every `squad-sSEED`. Of several such names in one
    composition, the seeds are the same.

    Raises:
        UserError: there is no module of that name, or the modules do not have the same seeds.
    """
    names = list(dict.fromkeys(_STARRED.findall(text)))
    if not names:
        return {None: text}
    known = {name: dict(sorted(_seeds(name, backbone))) for name in names}
    for name, found in known.items():
        if not found:
            raise UserError(
                f"no module '{name}' and no '{name}-s1' is here for '{name}{ALL_SEEDS}'"
            )
        if found.keys() != known[names[0]].keys():
            raise UserError(
                f"'{text}': {names[0]} has the seeds {_listed(known[names[0]])}, {name} has "
                f"{_listed(found)}"
            )
    return {
        seed: _STARRED.sub(lambda match, seed=seed: known[match[1]][seed], text)  # type: ignore[misc]
        for seed in known[names[0]]
    }


def _seeds(name: str, backbone: str | None) -> Iterator[tuple[int, str]]:
    """The seeds of a module, with what finds each."""
    place = Path(name).parent
    if "/" in name and place.is_dir():
        for folder in place.iterdir():
            if (seed := _seed_of(folder, folder.name, Path(name).name)) is not None:
                yield seed, str(place / folder.name)
    for found in found_modules():
        if found.place == "hub" or (backbone and not is_of(found, backbone)):
            continue
        for full in (found.folder.name, found.name):
            if (seed := _seed_of(found.folder, full, name)) is not None:
                yield seed, full


def _seed_of(folder: Path, full: str, name: str) -> int | None:
    """The seed of the module in a folder, if it is one of that name.

    A module's own name may end in what looks like a seed: of `mine-s5`, `mine-s5-s1` is seed 1.
    """
    base, seed = (name, 0) if full == name else without_seed(full)
    return seed if base == name and has_record(folder) else None


def _listed(seeds: dict[int, str]) -> str:
    return ", ".join(map(str, seeds))


_PART = r"[A-Za-z0-9](?:[\w.-]*[A-Za-z0-9_])?"
_ID = re.compile(rf"(?P<repo>{_PART}/{_PART})(?:@(?P<revision>[\w.][\w./-]*))?", re.ASCII)


@dataclass(frozen=True)
class HubId:
    """A repository at a revision (a branch, a tag or a commit)."""

    repo: str
    revision: str = constants.DEFAULT_REVISION

    @classmethod
    def parse(cls, text: str) -> HubId:
        """What a person typed.

        Raises:
            UserError: it is no id.
        """
        found = _ID.fullmatch(text)
        if found is None or ".." in text or "--" in found["repo"]:
            raise UserError(
                f"'{text}' is no id of the Hub: ids look like someone/xlmr-large-squad, with "
                "@revision if need be"
            )
        return cls(found["repo"], found["revision"] or constants.DEFAULT_REVISION)

    @property
    def folder(self) -> Path:
        """Where its commits lie."""
        return pulled_dir() / self.repo.replace("/", "--")

    @property
    def note(self) -> Path:
        """The file with the commit that the revision was when it was last asked for."""
        return self.folder / ".refs" / quote(self.revision, safe="")


def is_hub_id(text: str) -> bool:
    """Whether a text may be the id of a module on the Hub."""
    try:
        HubId.parse(text)
    except UserError:
        return False
    return True
