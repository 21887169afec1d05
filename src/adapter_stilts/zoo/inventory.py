"""The modules that are here: listed, found by name, removed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from adapter_stilts.errors import UserError, hint
from adapter_stilts.paths import pulled_dir, zoo_dir
from adapter_stilts.zoo.choice import (
    ModuleReference,
    by_name,
    choose,
    found_modules,
    has_record,
    is_of,
)
from adapter_stilts.zoo.find import find_language, is_language
from adapter_stilts.zoo.known_task import at_chance, licence_of, tasks_of
from adapter_stilts.zoo.names import is_hub_id
from adapter_stilts.zoo.record import ModuleRecord

_WHERE = {"zoo": "local", "shared": "shared zoo", "hub": "Hub"}


def size(module: ModuleReference) -> int:
    """Bytes of all its files; of links, nothing counts."""
    return sum(
        path.lstat().st_size
        for path in module.folder.rglob("*")
        if path.is_file() and not path.is_symlink()
    )


def where(module: ModuleReference) -> str:
    """Where it comes from, in words."""
    commit = module.readable.origin.get("revision") if module.readable else None
    return _WHERE[module.place] + (f", commit {commit[:12]}" if commit else "")


def fields(module: ModuleReference) -> dict[str, Any]:
    """All of it, as JSON has it; of a damaged one, the problem."""
    found = {"name": module.full_name, "where": where(module), "path": str(module.folder)}
    try:
        record = module.record
    except UserError as error:
        return {**found, "size": size(module), "problem": str(error)}
    return {
        **found,
        "task": record.task,
        "method": record.method,
        "composition": record.composition,
        "backbone": record.backbone.get("name", ""),
        "language": language_of(record),
        "scores": record.scores,
        "at_chance": ", ".join(at_chance(record)),
        "size": size(module),
        "parameters": record.parameters,
        "licence": licence_of(record),
        "hub": record.hub,
    }


def language_of(record: ModuleRecord) -> str:
    """The code of the language that a module was trained in; empty where nobody says."""
    own = str(record.data.get("language", ""))
    with suppress(UserError):
        own = own or tasks_of(record)[0].language
    return own


def listed(*, backbone: str = "", task: str = "", language: str = "") -> Iterator[ModuleReference]:
    """Every module that is here and fits; damaged ones are listed where nothing is asked for."""
    for found in found_modules():
        record = found.readable
        if record is None:
            if not (backbone or task or language):
                yield found
        elif (not backbone or is_of(found, backbone)) and _fits(
            record, task=task, language=language
        ):
            yield found


def _fits(record: ModuleRecord, *, task: str, language: str) -> bool:
    if task and not any(_same_task(task, own) for own in record.heads or [record.task]):
        return False
    return not language or language_of(record) == language


def _same_task(wanted: str, own: str) -> bool:
    """In any usual spelling; a target's stages belong to the target."""
    plain = [each.lower().replace("_", "-") for each in (wanted, own)]
    return plain[0] == plain[1] or plain[1].startswith(f"{plain[0]}.")


def locate(name: str, backbone: str | None = None) -> list[ModuleReference]:
    """The modules of a name: a folder, a name in a zoo, or what was pulled of a Hub id.

    A Hub id without a commit stands for every commit of it that is here. The Hub is not asked.

    Args:
        backbone: chooses among modules of one name.

    Raises:
        UserError: there is none, none for that backbone, or several backbones have one of that
            name and none was chosen.
    """
    if has_record(Path(name)):
        folder = Path(name)
        known = (each for each in found_modules() if each.folder.resolve() == folder.resolve())
        return [next(known, ModuleReference(folder))]  # or one that is in no zoo
    if is_language(name):
        return locate(str(find_language(name, backbone)))
    named = by_name(name)
    if named:
        named = [choose(name, named, backbone, strict=True)]
    else:
        repo, _, commit = name.partition("@")
        named = [
            each
            for each in found_modules()
            if each.place == "hub"
            and each.full_name == repo
            and each.folder.name.startswith(commit)
        ]
        named = [each for each in named if not backbone or is_of(each, backbone)]
    if named:
        return named
    names = {each for found in found_modules() for each in _names(found)}
    way = hint(name, names, "`adstilts zoo list` shows what is")
    if is_hub_id(name):
        way += f"; `adstilts pull {name}` gets a module of the Hub"
    raise UserError(f"no module '{name}' is here: {way}")


def one(name: str, backbone: str | None = None) -> ModuleReference:
    """The module of that name.

    Raises:
        UserError: there is none, or several.
    """
    found = locate(name, backbone)
    if len(found) > 1:
        options = ", ".join(_with_commit(each) for each in found)
        raise UserError(f"several modules are called '{name}': choose from {options}")
    return found[0]


def _with_commit(found: ModuleReference) -> str:
    return (
        f"{found.full_name}@{found.folder.name[:12]}" if found.place == "hub" else found.full_name
    )


def _names(found: ModuleReference) -> tuple[str, ...]:
    return (found.full_name,) if found.place == "hub" else (found.full_name, found.folder.name)


def standing_on(module: ModuleReference) -> list[str]:
    """The modules here that need this one."""
    run = module.readable.run if module.readable else None
    return [
        other.full_name
        for other in found_modules()
        if other.readable and any(base.get("run") == run for base in other.record.bases.values())
    ]


def remove(module: ModuleReference) -> None:
    """Removes a module of the user's zoo, or a pulled one; links are removed, not followed.

    Raises:
        UserError: it lies elsewhere.
    """
    folder = module.folder
    inside = [zoo_dir(), pulled_dir()]
    # The folders above it may be links, too; the module itself is removed by its name.
    real = folder.parent.resolve() / folder.name
    if not any(real.is_relative_to(place.resolve()) for place in inside):
        raise UserError(
            f"{folder} is neither in {inside[0]} nor pulled from the Hub: remove it yourself"
        )
    if folder.is_symlink():
        folder.unlink()
        return
    shutil.rmtree(folder)
    if module.place == "hub" and not any(
        has_record(each) for each in folder.parent.iterdir() if each.is_dir()
    ):
        shutil.rmtree(folder.parent)
