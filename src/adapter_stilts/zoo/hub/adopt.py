"""A downloaded folder becomes a module: our own are compared with their record, others get one."""

from __future__ import annotations

import dataclasses
import datetime
import re
import shutil
from pathlib import Path

from adapter_stilts.backbones import EMBEDDED, hub_id
from adapter_stilts.engine.foreign import PEFT_WEIGHTS, Foreign, read_adapter, read_peft, rename
from adapter_stilts.engine.guard import check_module
from adapter_stilts.engine.methods import is_invertible
from adapter_stilts.engine.native import CONFIG, HEAD_CONFIG, HEAD_WEIGHTS, WEIGHTS, check_files
from adapter_stilts.errors import UserError
from adapter_stilts.hashing import file_sha256, text_digest
from adapter_stilts.heads import PLAIN
from adapter_stilts.paths import atomic_folder, cache_dir
from adapter_stilts.zoo.agreement import check_stored
from adapter_stilts.zoo.hub.ids import is_hub_id
from adapter_stilts.zoo.hub.offer import Offer
from adapter_stilts.zoo.places import has_record
from adapter_stilts.zoo.record import RECORD, ModuleRecord


def adopt(offer: Offer, folder: Path) -> ModuleRecord:
    """Checks what was downloaded and writes down where it comes from.

    Raises:
        UserError: it is damaged, or not what it says, or of a kind that is not known here.
    """
    origin = {"hub": offer.repo, "revision": offer.commit}
    if offer.kind == "module":
        record = ModuleRecord.read(folder)
        record.verify(folder)
        _remove_others(folder, record)
        check_stored(record, folder)
        return dataclasses.replace(record, origin=origin).write(folder)
    made = adopt_foreign(
        folder,
        plain_name(offer.repo.partition("/")[2]),
        source=offer.repo,
        identity=f"{offer.repo}@{offer.commit}",
        peft=offer.kind == "peft",
    )
    return dataclasses.replace(made, origin=origin).write(folder)


def adopt_foreign(
    folder: Path, name: str, *, source: str, identity: str, peft: bool
) -> ModuleRecord:
    """Makes a module of someone else's files, which are changed, and gives it a record.

    Args:
        source: what errors call it; where it is named like AdapterHub's, it tells the language.
        identity: stands for its content.

    Raises:
        UserError: it is damaged, or of a kind that is not known here.
    """
    found = read_peft(folder, name) if peft else read_adapter(folder)
    check_module(folder, found.method)
    if not peft:
        rename(folder, name)
    return _record(found, name, source, identity)


def _remove_others(folder: Path, record: ModuleRecord) -> None:
    """What the record does not name has no business in the module."""
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and name != RECORD and name not in record.files:
            path.unlink()


def plain_name(text: str) -> str:
    """What a module of someone else's is called in compositions."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", text).strip("-") or "module"


def _language(source: str) -> str:
    """That of AdapterHub's language adapters: `xlm-roberta-base-sw-wiki_pfeiffer`."""
    found = re.search(r"(?:^|[-_/])([a-z]{2,3})[-_]wiki([-_@].*)?$", source)
    return found[1] if found else ""


def _record(found: Foreign, name: str, source: str, identity: str) -> ModuleRecord:
    """As much of a record as can be known: no scores, no training."""
    from adapter_stilts.backbones.embedded import is_embedded  # numpy: a mistype need not wait

    if not found.backbone:
        raise UserError(f"'{source}' does not say for which backbone it was made")
    unknown = {"origin": "unknown", "fingerprint": "", "examples": 0, "parts": []}
    return ModuleRecord(
        name=name,
        run=text_digest(identity, 16),
        task="",
        head=found.head or PLAIN,
        method=found.method,
        composition=name,
        # Only the weights of the backbone itself, which nobody has loaded here, give a fingerprint.
        backbone={
            "name": EMBEDDED if is_embedded(found.backbone) else found.backbone,
            "revision": found.revision if is_hub_id(hub_id(found.backbone)) else "",
            "model_type": found.model_type,
            "fingerprint": "",
        },
        recipe={"max_length": 256, "stride": 64, "method": found.method},
        data={
            "train": unknown,
            "dev": unknown,
            "labels": found.labels,
            "language": _language(source) if is_invertible(found.method) else "",
        },
        scores={},
        parameters=found.parameters,
        steps=0,
        best_step=0,
        seconds=0.0,
        peak_memory_mb=0.0,
        versions={},
        machine="",
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    )


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
