"""The folder of a module by its name; no weights are read, so nothing heavy is imported."""

from __future__ import annotations

import contextlib
from pathlib import Path

from adapter_stilts.errors import UserError, suggest
from adapter_stilts.paths import zoo_dir
from adapter_stilts.tasks.registry import get_target, get_task, is_task_file
from adapter_stilts.zoo.choice import choose
from adapter_stilts.zoo.hub.adopt import adopt_folder, is_foreign
from adapter_stilts.zoo.hub.ids import is_hub_id
from adapter_stilts.zoo.languages import find_language, is_language
from adapter_stilts.zoo.places import by_name, found_modules, has_record
from adapter_stilts.zoo.record import RECORD


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
        from adapter_stilts.zoo.hub.pull import fetch

        return fetch(name)
    near = suggest(name, [each.folder.name for each in local])
    near = near or suggest(name, [each.name for each in known])
    if near:
        raise UserError(f"no module '{name}': did you mean '{near[0]}'?")
    raise UserError(f"no module '{name}' in {zoo_dir()} and no such folder: {_way_to_have(name)}")


def _way_to_have(name: str) -> str:
    """The command that trains a task's module; for other names, the one that shows what is here."""
    if is_task_file(name):  # never read: a composition may be a module's, not the user's
        return "a composition names modules, not task files; `adstilts zoo list` shows them"
    for command, get in (("train-adapter", get_task), ("train-target", get_target)):
        with contextlib.suppress(UserError):
            return f"train it with `adstilts {command} {get(name).name}`"
    return "`adstilts zoo list` shows what is here"
