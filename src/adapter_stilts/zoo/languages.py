"""Modules of languages by code: `lang:sw`, or for one of several backbones `embedded/lang:sw`."""

from __future__ import annotations

import re
from pathlib import Path

from adapter_stilts.errors import UserError
from adapter_stilts.tasks.languages import check_language
from adapter_stilts.zoo.choice import choose, is_of, same_backbone
from adapter_stilts.zoo.places import Found, found_modules
from adapter_stilts.zoo.record import LANGUAGE, ModuleRecord

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
    slug, code = match[1], check_language(match[2])
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
    groups: list[list[Found]] = []
    for found in found_modules():
        record = found.record()
        if record is None or _language(record) != code:
            continue
        if backbone and found.folder.parent.name != backbone:
            continue
        near = next((group for group in groups if _alike(group[0], record)), None)
        if near is None:
            groups.append([found])
        elif near[0].place == found.place and not any(_runs_as(each, record) for each in near):
            near.append(found)
    chosen = []
    for group in groups:
        usual = [each for each in group if each.folder.name == f"{LANGUAGE}{code}"]
        chosen += usual or group
    return chosen


def _alike(found: Found, record: ModuleRecord) -> bool:
    other = found.record()
    return other is not None and same_backbone(other.backbone, record.backbone)


def _runs_as(found: Found, record: ModuleRecord) -> bool:
    other = found.record()
    return other is not None and other.run == record.run


def _language(record: ModuleRecord) -> str:
    """The language that a module is for, not merely trained in."""
    return record.language or ("" if record.task else str(record.data.get("language", "")))
