"""Modules of languages by code: `lang:sw`, or for one of several backbones `embedded/lang:sw`."""

from __future__ import annotations

import re
from pathlib import Path

from adapter_stilts.errors import UserError
from adapter_stilts.tasks.languages import check_language
from adapter_stilts.zoo.places import Found, found_modules
from adapter_stilts.zoo.record import LANGUAGE, ModuleRecord

_NAME = re.compile(r"\s*(?:([^/]+)/)?lang:([A-Za-z0-9-]+)\s*")


def is_language(name: str) -> bool:
    """Whether a name is of that form."""
    return bool(_NAME.fullmatch(name))


def find_language(name: str) -> Path:
    """The folder of a language's module: one that was trained here, else one that was pulled.

    Of several in one place, the one with the usual name goes before others.

    Raises:
        UserError: no such language, none for it, or several.
    """
    match = _NAME.fullmatch(name)
    assert match
    backbone, code = match[1], check_language(match[2])
    found = _modules(code, backbone or "")
    usual = [each for each in found if each.folder.name == f"{LANGUAGE}{code}"]
    chosen = usual or found
    if len(chosen) > 1:
        options = ", ".join(each.name for each in chosen)
        raise UserError(f"several modules are for the language '{code}': choose from {options}")
    if not chosen:
        raise UserError(
            f"no module for the language '{code}'{f' and {backbone}' if backbone else ''}: train "
            f"one with `adstilts train-language {code} --text FILE`, or name one of AdapterHub's"
        )
    return chosen[0].folder


def _modules(code: str, backbone: str) -> list[Found]:
    """Those of the first place that has any; the same run counts once."""
    places: dict[str, dict[str, Found]] = {}
    for found in found_modules():
        record = found.record()
        if record is None or _language(record) != code:
            continue
        if backbone and found.folder.parent.name != backbone:
            continue
        places.setdefault(found.place, {}).setdefault(record.run, found)
    return list(next(iter(places.values()), {}).values())


def _language(record: ModuleRecord) -> str:
    """The language that a module is for, not merely trained in."""
    return record.language or ("" if record.task else str(record.data.get("language", "")))
