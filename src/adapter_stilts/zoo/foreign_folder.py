"""Folders that plain `adapters` or plain `peft` wrote, used as modules without being changed."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

from adapter_stilts.engine.foreign import PEFT_WEIGHTS
from adapter_stilts.engine.native import CONFIG, HEAD_CONFIG, HEAD_WEIGHTS, WEIGHTS, check_files
from adapter_stilts.errors import UserError
from adapter_stilts.hashing import file_sha256, text_digest
from adapter_stilts.paths import atomic_folder, cache_dir
from adapter_stilts.zoo.hub.adopt import adopt_foreign, plain_name
from adapter_stilts.zoo.places import has_record


def is_foreign(folder: Path) -> bool:
    """Whether a folder has the configuration of a module, and no record."""
    return (folder / CONFIG).is_file() and not has_record(folder)


def adopt_folder(folder: Path) -> Path:
    """A copy of the module with a record, in the cache under a hash of its content.

    Raises:
        UserError: it is damaged, a pickle, or of a kind that is not known here.
    """
    peft = (folder / PEFT_WEIGHTS).is_file() and not (folder / WEIGHTS).is_file()
    weights = PEFT_WEIGHTS if peft else WEIGHTS
    check_files(folder, ((weights, CONFIG),))
    names = [CONFIG, weights, *(() if peft else (HEAD_CONFIG, HEAD_WEIGHTS))]
    names = [name for name in names if (folder / name).is_file()]
    called = plain_name(folder.resolve().name)
    identity = " ".join([called, *(f"{name} {file_sha256(folder / name)}" for name in names)])
    key = text_digest(identity, 16)
    target = cache_dir() / "adopted" / key / called
    if has_record(target):
        return target
    with atomic_folder(target) as work:
        for name in names:
            shutil.copyfile(folder / name, work / name)
        try:
            record = adopt_foreign(work, called, source=str(folder), identity=identity, peft=peft)
        except UserError as error:
            raise UserError(str(error).replace(str(work), str(folder))) from error
        dataclasses.replace(record, origin={"folder": str(folder.resolve())}).write(work)
    return target
