"""The folder of a module by its name; no weights are read, so nothing heavy is imported."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

from adapter_stilts.errors import UserError, hint
from adapter_stilts.paths import zoo_dir
from adapter_stilts.tasks.languages import known_language
from adapter_stilts.tasks.registry import get_target, get_task, is_task_file
from adapter_stilts.zoo.adopt import adopt_folder, is_foreign
from adapter_stilts.zoo.choice import (
    Found,
    by_name,
    choose,
    found_modules,
    has_record,
    is_of,
    same_backbone,
)
from adapter_stilts.zoo.names import is_hub_id
from adapter_stilts.zoo.record import LANGUAGE, RECORD, ModuleRecord

_NAME = re.compile(r"\s*(?:([^/]+)/)?lang:([A-Za-z0-9-]+)\s*")


def is_language(name: str) -> bool:
    """Whether a name is of that form."""
    return bool(_NAME.fullmatch(name))


def find_language(name: str, backbone: str | None = None) -> Path:
    """The folder of a language's module: one that was trained here, else one that was pulled.

    Of several for one backbone, the one with the usual name goes before others.

    Raises:
        UserError: no such language, none for it, or several.
    """
    match = _NAME.fullmatch(name)
    assert match
    slug, code = match[1], known_language(match[2])
    found = [
        each
        for each in _modules(code, slug or "")
        if not backbone or is_of(each, backbone) or Path(backbone).expanduser().is_dir()
    ]
    if not found:
        where = slug or backbone
        raise UserError(
            f"no module for the language '{code}'{f' and {where}' if where else ''}: train "
            f"one with `adstilts train-language {code} --text FILE`, or name one of AdapterHub's"
        )
    return choose(name.strip(), found, backbone).folder


def _modules(code: str, backbone: str) -> list[Found]:
    """Those of the first place that has any, for each backbone; the usual name goes first."""
    groups: list[list[tuple[Found, ModuleRecord]]] = []
    for found in found_modules():
        record = found.record()
        if record is None or _language(record) != code:
            continue
        if backbone and found.folder.parent.name != backbone:
            continue
        alike = (each for each in groups if same_backbone(each[0][1].backbone, record.backbone))
        near = next(alike, None)
        if near is None:
            groups.append([(found, record)])
        elif near[0][0].place == found.place and record.run not in {each.run for _, each in near}:
            near.append((found, record))
    chosen = []
    for group in groups:
        modules = [each for each, _ in group]
        chosen += [each for each in modules if each.folder.name == f"{LANGUAGE}{code}"] or modules
    return chosen


def _language(record: ModuleRecord) -> str:
    """The language that a module is for, not merely trained in."""
    return record.language or ("" if record.task else str(record.data.get("language", "")))


def find_module(name: str, backbone: str | None = None) -> Path:
    """The folder of a module: a path, a name in a zoo (`squad`, `embedded/squad`), a Hub id.

    `backbone` chooses among modules of one name.

    `lang:sw` is the module of a language. A folder that plain `adapters` or `peft` wrote is copied
    to the cache, where it gets a record. A Hub id (`someone/xlmr-squad`, with `@revision` if need
    be) is pulled where it is not here.

    Raises:
        UserError: there is none, none for the backbone, or several backbones have one of that
            name and none was chosen.
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
    if Path(name).is_dir():
        raise UserError(f"folder {name} has no {RECORD}: not a module")
    known = list(found_modules())
    local = [each for each in known if each.place != "hub"]
    if is_hub_id(name) and name.partition("/")[0] not in {
        each.folder.parent.name for each in local
    }:
        from adapter_stilts.zoo.pull import fetch

        return fetch(name)
    meant = hint(name, [each.folder.name for each in local])
    if meant := meant or hint(name, [each.name for each in known]):
        raise UserError(f"no module '{name}': {meant}")
    raise UserError(f"no module '{name}' in {zoo_dir()} and no such folder: {_way_to_have(name)}")


def _way_to_have(name: str) -> str:
    """The command that trains a task's module; for other names, the one that shows what is here."""
    if is_task_file(name):  # never read: a composition may be a module's, not the user's
        return "a composition names modules, not task files; `adstilts zoo list` shows them"
    for command, get in (("train-adapter", get_task), ("train-target", get_target)):
        with contextlib.suppress(UserError):
            return f"train it with `adstilts {command} {get(name).name}`"
    return "`adstilts zoo list` shows what is here"
