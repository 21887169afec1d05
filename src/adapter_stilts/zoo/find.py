"""The modules that are here: found by name, listed, removed; no weights are read for it."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from adapter_stilts.errors import UserError, hint
from adapter_stilts.hub import is_hub_id
from adapter_stilts.paths import is_folder, pulled_dir, zoo_dir
from adapter_stilts.tasks.languages import known_language
from adapter_stilts.tasks.registry import get_target, get_task, is_task_file
from adapter_stilts.zoo.adopt import adopt_folder, is_foreign
from adapter_stilts.zoo.choice import (
    ALL_SEEDS,
    STARRED,
    ModuleReference,
    by_name,
    choose,
    find_modules,
    has_record,
    is_of,
    same_backbone,
    without_seed,
)
from adapter_stilts.zoo.provenance import at_chance, licence_of, tasks_of
from adapter_stilts.zoo.record import LANGUAGE, RECORD, ModuleRecord

_WHERE = {"zoo": "local", "shared": "shared zoo", "hub": "Hub"}
_NAME = re.compile(r"\s*(?:([^/]+)/)?lang:([A-Za-z0-9-]+)\s*")


def is_language(name: str) -> bool:
    """Whether a name is of that form."""
    return bool(_NAME.fullmatch(name))


def find_language(name: str, backbone: str | None = None) -> Path:
    """The folder of a language's module: one that was trained here, else one that was pulled.

    Of several for one backbone, the one with the usual name goes before others. Refuses none,
    and several otherwise.
    """
    match = _NAME.fullmatch(name)
    assert match
    slug, code = match[1], known_language(match[2])
    found = [
        each
        for each in _modules(code, slug or "")
        if not backbone or is_of(each, backbone) or is_folder(Path(backbone).expanduser())
    ]
    if not found:
        where = slug or backbone
        raise UserError(
            f"no module for the language '{code}'{f' and {where}' if where else ''}: train "
            f"one with `adstilts train-language {code} --text FILE`, or name one of AdapterHub's"
        )
    return choose(name.strip(), found, backbone).folder


def _modules(code: str, backbone: str) -> list[ModuleReference]:
    """Those of the first place that has any, for each backbone; the usual name goes first."""
    groups: list[list[ModuleReference]] = []
    for found in find_modules():
        record = found.readable
        if record is None:
            continue
        # What it is for, not merely trained in.
        own = record.language or ("" if record.task else str(record.data.get("language", "")))
        if own != code:
            continue
        if backbone and found.folder.parent.name != backbone:
            continue
        alike = (each for each in groups if same_backbone(each[0].record.backbone, record.backbone))
        near = next(alike, None)
        if near is None:
            groups.append([found])
        elif near[0].place == found.place and record.run not in {each.record.run for each in near}:
            near.append(found)
    chosen = []
    for group in groups:
        chosen += [each for each in group if each.folder.name == f"{LANGUAGE}{code}"] or group
    return chosen


def find_module(name: str, backbone: str | None = None) -> Path:
    """The folder of a module: a path, a name in a zoo (`squad`, `embedded/squad`), a Hub id.

    `backbone` chooses among modules of one name; none, and several, are refused.

    `lang:sw` is the module of a language. A folder that plain `adapters` or `peft` wrote is copied
    to the cache, where it gets a record. A Hub id (`someone/xlmr-squad`, with `@revision` if need
    be) is pulled where it is not here.
    """
    if has_record(Path(name)):
        return Path(name)
    if is_language(name):
        return find_language(name, backbone)
    found = by_name(name)
    if found:
        return choose(name, found, backbone).folder
    if is_foreign(Path(name)):
        return adopt_folder(Path(name))
    if is_folder(name):
        raise UserError(f"folder {name} has no {RECORD}: not a module")
    known = list(find_modules())
    local = [each for each in known if each.place != "hub"]
    if is_hub_id(name) and name.partition("/")[0] not in {
        each.folder.parent.name for each in local
    }:
        from adapter_stilts.zoo.pull import fetch

        try:
            return fetch(name)
        except UserError as error:
            if meant := hint(name, [each.full_name for each in local]):
                raise UserError(f"no module '{name}': {meant} ({error})") from None
            raise
    meant = hint(name, [each.folder.name for each in local])
    if meant := meant or hint(name, [each.full_name for each in known]):
        raise UserError(f"no module '{name}': {meant}")
    raise UserError(f"no module '{name}' in {zoo_dir()} and no such folder: {_way_to_have(name)}")


def _way_to_have(name: str) -> str:
    """The command that trains a task's module; for other names, the one that shows what is here."""
    if is_task_file(name):  # never read: a composition may be a module's, not the user's
        return "a composition names modules, not task files; `adstilts zoo list` shows them"
    for command, get in (("train-adapter", get_task), ("train-target", get_target)):
        with suppress(UserError):
            return f"train it with `adstilts {command} {get(name).name}`"
    return "`adstilts zoo list` shows what is here"


def each_seed(text: str, backbone: str | None = None) -> dict[int | None, str]:
    """A composition for every seed; one that names no seeds stands for itself, under None.

    `squad-s*` is `squad`, which is seed 0, and every `squad-sSEED`. Of several such names in one
    composition, the seeds must be the same.
    """
    names = list(dict.fromkeys(STARRED.findall(text)))
    if not names:
        return {None: text}
    known = {name: dict(sorted(_seeds(name, backbone))) for name in names}
    for name, found in known.items():
        if not found:
            raise UserError(
                f"no module '{name}' and no '{name}-s1' is here for '{name}{ALL_SEEDS}'"
            )
        if found.keys() != known[names[0]].keys():
            first, other = (", ".join(map(str, known[each])) for each in (names[0], name))
            raise UserError(f"'{text}': {names[0]} has the seeds {first}, {name} has {other}")
    return {
        seed: STARRED.sub(lambda match, seed=seed: known[match[1]][seed], text)  # type: ignore[misc]
        for seed in known[names[0]]
    }


def _seeds(name: str, backbone: str | None) -> Iterator[tuple[int, str]]:
    """The seeds of a module, with what finds each."""
    place = Path(name).parent
    if "/" in name and is_folder(place):
        for folder in place.iterdir():
            if (seed := _seed_of(folder, folder.name, Path(name).name)) is not None:
                yield seed, str(place / folder.name)
    for found in find_modules():
        if found.place == "hub" or (backbone and not is_of(found, backbone)):
            continue
        for full in (found.folder.name, found.full_name):
            if (seed := _seed_of(found.folder, full, name)) is not None:
                yield seed, full


def _seed_of(folder: Path, full: str, name: str) -> int | None:
    """The seed of the module in a folder, if it is one of that name.

    A module's own name may end in what looks like a seed: of `mine-s5`, `mine-s5-s1` is seed 1.
    """
    base, seed = (name, 0) if full == name else without_seed(full)
    return seed if base == name and has_record(folder) else None


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


def list_modules(
    *, backbone: str = "", task: str = "", language: str = ""
) -> Iterator[ModuleReference]:
    """Every module that is here and fits; damaged ones are listed where nothing is asked for."""
    for found in find_modules():
        record = found.readable
        if record is None:
            fits = not (backbone or task or language)
        else:
            fits = not backbone or is_of(found, backbone)
            fits &= not language or language_of(record) == language
            fits &= not task or any(_same_task(task, own) for own in record.heads or [record.task])
        if fits:
            yield found


def _same_task(wanted: str, own: str) -> bool:
    """In any usual spelling; a target's stages belong to the target."""
    plain = [each.lower().replace("_", "-") for each in (wanted, own)]
    return plain[0] == plain[1] or plain[1].startswith(f"{plain[0]}.")


def locate(name: str, backbone: str | None = None) -> list[ModuleReference]:
    """The modules of a name: a folder, a name in a zoo, or what was pulled of a Hub id.

    A Hub id without a commit stands for every commit of it that is here. The Hub is not asked.
    `backbone` chooses among modules of one name; none, and several, are refused.
    """
    if has_record(Path(name)):
        folder = Path(name)
        same = (each for each in find_modules() if each.folder.resolve() == folder.resolve())
        return [next(same, ModuleReference(folder))]  # or one that is in no zoo
    if is_language(name):
        return locate(str(find_language(name, backbone)))
    named = by_name(name)
    if named:
        named = [choose(name, named, backbone, strict=True)]
    else:
        repo, _, commit = name.partition("@")
        named = [
            each
            for each in find_modules()
            if each.place == "hub"
            and each.full_name == repo
            and each.folder.name.startswith(commit)
        ]
        named = [each for each in named if not backbone or is_of(each, backbone)]
    if named:
        return named
    known = list(find_modules())
    names = {each.full_name for each in known}
    names |= {each.folder.name for each in known if each.place != "hub"}
    way = hint(name, names, "`adstilts zoo list` shows what is")
    if is_hub_id(name):
        way += f"; `adstilts pull {name}` gets a module of the Hub"
    raise UserError(f"no module '{name}' is here: {way}")


def one(name: str, backbone: str | None = None) -> ModuleReference:
    """The module of that name; refuses none, and several."""
    found = locate(name, backbone)
    if len(found) > 1:
        options = ", ".join(
            f"{each.full_name}@{each.folder.name[:12]}" if each.place == "hub" else each.full_name
            for each in found
        )
        raise UserError(f"several modules are called '{name}': choose from {options}")
    return found[0]


def standing_on(module: ModuleReference) -> list[str]:
    """The modules here that need this one."""
    run = module.readable.run if module.readable else None
    return [
        other.full_name
        for other in find_modules()
        if other.readable and any(base.get("run") == run for base in other.record.bases.values())
    ]


def remove(module: ModuleReference) -> None:
    """Removes a module of the user's zoo, or a pulled one; refuses others, follows no links."""
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
