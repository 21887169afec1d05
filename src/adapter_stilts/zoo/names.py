"""What a module's folder is called: after its task, what it stands on, and its seed."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from adapter_stilts.engine.composition import Call, canonical
from adapter_stilts.engine.composition_text import parse
from adapter_stilts.engine.methods import is_fusion
from adapter_stilts.errors import UserError
from adapter_stilts.zoo.record import ModuleRecord

_SEED = r"[1-9][0-9]{0,9}"
"""A seed as it is written at the end of a name; seed 0 is not."""
LARGEST_SEED = 2**32 - 1
ALL_SEEDS = "-s*"
"""The end of a name that stands for every seed of a module: `squad-s*`."""


def folder_name(name: str, below: str = "") -> str:
    """The folder of a module of seed 0: `tydiqa-on-squad` for `stack(squad, tydiqa)`.

    The seed of a module below is written `_s1` there, as `-s1` at the end is the module's own:

    >>> folder_name("tydiqa", "squad-s1")
    'tydiqa-on-squad_s1'
    """
    if not below:
        return name
    plain = re.sub(r"[^A-Za-z0-9_.+-]+", "-", re.sub(rf"-s({_SEED})\b", r"_s\1", below)).strip("-")
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
        return folder_name(record.name, _below(record))
    except UserError:  # a composition that cannot be read: loading says so
        return record.name


def _below(record: ModuleRecord) -> str:
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
    `stack(squad, tydiqa)`; by itself that one is `tydiqa-on-squad` (`Resolved.name`). What was
    pulled lies in a folder that is named after a commit.
    """
    own = plain_name(folder)
    return record.name if pulled or own in ("", record.name, usual_folder(record)) else own


def plain_name(folder: Path) -> str:
    """The folder's name where it can stand in a composition, else an empty text."""
    own = folder.resolve().name if folder.name in ("", "..") else folder.name
    return own if _PLAIN.fullmatch(own) else ""
