"""The folder of a backbone's modules in the zoo: two backbones never share one."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

from adapter_stilts.backbones import Backbone, hub_id
from adapter_stilts.errors import UserError
from adapter_stilts.paths import zoo_dir
from adapter_stilts.zoo.record import RECORD, ModuleRecord

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
