"""Pulling a module on purpose: into the place of pulled ones, or into a folder of one's own."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from adapter_stilts.errors import UserError
from adapter_stilts.paths import atomic_folder, check_replaceable
from adapter_stilts.zoo.hub.fetch import fetch
from adapter_stilts.zoo.record import RECORD, ModuleRecord


@dataclass(frozen=True)
class Pulled:
    """A module from the Hub on this disk."""

    path: Path
    record: ModuleRecord


def pull(
    name: str,
    *,
    out: str | Path | None = None,
    backbone: str | None = None,
    overwrite: bool = False,
) -> Pulled:
    """Downloads a module of the Hub, if it is not here, and checks it.

    Its id then names it wherever a module is named; so does the folder `out`, if given.

    Args:
        name: `someone/xlmr-large-squad`, with `@revision` for a branch, a tag or a commit. Also
            modules of AdapterHub and LoRAs of `peft`, if they are safetensors.
        out: a folder to copy it to.
        backbone: refuse a module that was made for another one (`name@revision`).
        overwrite: replace another module at `out`.

    Raises:
        UserError: no such module, no access, no connection, or a module that is refused.
        FailureError: the disk is full, or the download was damaged again and again.
    """
    if out is not None:
        check_replaceable(Path(out))
    folder = fetch(name)
    record = ModuleRecord.read(folder)
    if backbone:
        _check_backbone(name, record, backbone)
    if out is None:
        return Pulled(folder, record)
    target = Path(out)
    _check_free(target, record, overwrite=overwrite)
    with atomic_folder(target) as work:
        shutil.copytree(folder, work, symlinks=True, dirs_exist_ok=True)
    return Pulled(target, record)


def _check_backbone(name: str, record: ModuleRecord, wanted: str) -> None:
    from adapter_stilts.backbones import hub_id

    own, revision = record.backbone.get("name", ""), record.backbone.get("revision", "")
    asked = wanted.partition("@")[2]
    if hub_id(own) != hub_id(wanted) or (asked and revision and asked != revision):
        at = f" at revision {revision}" if revision else ""
        raise UserError(f"'{name}' was made for backbone '{own}'{at}, not for '{wanted}'")


def _check_free(target: Path, record: ModuleRecord, *, overwrite: bool) -> None:
    check_replaceable(target)
    if overwrite or not target.exists():
        return
    if (target / RECORD).is_file():
        if ModuleRecord.read(target).run == record.run:
            return
        raise UserError(f"another module lies at {target}: choose --out or add --overwrite")
    if any(target.iterdir()):
        raise UserError(f"{target} is not empty: choose another --out")
