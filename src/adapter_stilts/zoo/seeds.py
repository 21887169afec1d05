"""All seeds of a module in a composition: `xnli-on-mnli-s*`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from adapter_stilts.errors import UserError
from adapter_stilts.zoo.choice import is_of
from adapter_stilts.zoo.names import ALL_SEEDS, without_seed
from adapter_stilts.zoo.places import found_modules, has_record

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
