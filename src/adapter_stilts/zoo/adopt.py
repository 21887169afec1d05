"""A downloaded folder becomes a module: our own are compared with their record, others get one."""

from __future__ import annotations

import dataclasses
import datetime
import fnmatch
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Literal

from adapter_stilts.backbones import EMBEDDED, hub_id
from adapter_stilts.engine.foreign import PEFT_WEIGHTS, Foreign, read_adapter, read_peft, rename
from adapter_stilts.engine.guard import check_module
from adapter_stilts.engine.methods import is_invertible
from adapter_stilts.engine.native import (
    CONFIG,
    HEAD_CONFIG,
    HEAD_WEIGHTS,
    PICKLES,
    WEIGHTS,
    check_files,
)
from adapter_stilts.errors import UserError
from adapter_stilts.hashing import file_sha256, text_digest
from adapter_stilts.heads import PLAIN
from adapter_stilts.hub import is_hub_id
from adapter_stilts.paths import atomic_folder, cache_dir, is_file
from adapter_stilts.safety import MAX_JSON, is_plain_path
from adapter_stilts.zoo.choice import has_record
from adapter_stilts.zoo.provenance import RECIPE
from adapter_stilts.zoo.record import RECORD, ModuleRecord
from adapter_stilts.zoo.verify import check_agreement

if TYPE_CHECKING:
    from adapter_stilts.hub.guard import RemoteFile


def adopt(offer: Offer, folder: Path) -> ModuleRecord:
    """Checks what was downloaded and notes where it is from; refuses what is not known here."""
    if offer.kind == "module":
        record = ModuleRecord.read(folder)
        record.verify(folder)
        _remove_others(folder, record)
        check_agreement(record, folder)
    else:
        record = adopt_foreign(
            folder,
            plain_name(offer.repo.partition("/")[2]),
            source=offer.repo,
            identity=f"{offer.repo}@{offer.commit}",
            peft=offer.kind == "peft",
        )
    origin = {"hub": offer.repo, "revision": offer.commit}
    return dataclasses.replace(record, origin=origin).write(folder)


def adopt_foreign(
    folder: Path, name: str, *, source: str, identity: str, peft: bool
) -> ModuleRecord:
    """Makes a module of someone else's files, which are changed, and gives it a record.

    `source` is what errors call it; where it is named like AdapterHub's, it tells the language.
    `identity` stands for its content. Refuses what is damaged, or of an unknown kind.
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
    return is_file(folder / CONFIG) and not has_record(folder)


def adopt_folder(folder: Path) -> Path:
    """A copy with a record, in the cache under a hash of its content; refuses pickles."""
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


MAX_FILES = 200
MAX_MEGABYTES = 2048
"""Megabytes of a module; `ADSTILTS_MAX_PULL_MB` changes that."""

_SMALL = {".json", ".md", ".txt"}
_PICKLES = (*PICKLES, "*.h5", "*.msgpack")
_NATIVE, _HEAD, _PEFT = {CONFIG, WEIGHTS}, {HEAD_CONFIG, HEAD_WEIGHTS}, {CONFIG, PEFT_WEIGHTS}

Kind = Literal["module", "adapter", "peft"]


@dataclass(frozen=True)
class Offer:
    """The files of a repository at one commit."""

    repo: str
    commit: str
    files: Mapping[str, RemoteFile]

    @property
    def kind(self) -> Kind:
        """A module of ours, one of `adapters`, or a LoRA of `peft`; refuses others, and pickles."""
        names = set(self.files)
        if RECORD in names:
            return "module"
        if names >= _NATIVE:
            return "adapter"
        if names >= _PEFT:
            return "peft"
        pickles = sorted(
            name for name in names if any(fnmatch.fnmatch(name, each) for each in _PICKLES)
        )
        if pickles:
            raise UserError(
                f"'{self.repo}' offers only pickles ({pickles[0]}), which can run code when "
                "loaded: ask its author to save with safetensors"
            )
        raise UserError(
            f"'{self.repo}' has no module: neither {RECORD} nor adapter_config.json with "
            "safetensors"
        )

    def wanted_files(self) -> dict[str, RemoteFile]:
        """The files to download; refuses too many, and too large ones."""
        kind = self.kind
        if kind == "module":
            chosen = {name for name in self.files if _is_module_file(name)}
        else:
            chosen = set(_NATIVE if kind == "adapter" else _PEFT) | (
                {"README.md"} & set(self.files)
            )
            chosen |= _HEAD if kind == "adapter" and set(self.files) >= _HEAD else set()
        found = {name: self.files[name] for name in sorted(chosen)}
        self._check_size(found)
        return found

    def _check_size(self, found: Mapping[str, RemoteFile]) -> None:
        if len(found) > MAX_FILES:
            raise UserError(f"'{self.repo}' has {len(found)} files: no module has so many")
        for name, file in found.items():
            if PurePosixPath(name).suffix in {*_SMALL, ".yaml"} and file.size > MAX_JSON:
                raise UserError(
                    f"'{self.repo}': {name} has {file.size:,} bytes, more than the {MAX_JSON:,} "
                    "that are read of such a file"
                )
        given = os.environ.get("ADSTILTS_MAX_PULL_MB", "")
        limit = (int(given) if given.isdigit() else MAX_MEGABYTES) << 20
        total = sum(file.size for file in found.values())
        if total > limit:
            raise UserError(
                f"'{self.repo}' has {total >> 20:,} MB, more than the {limit >> 20:,} MB of a "
                "module; ADSTILTS_MAX_PULL_MB allows more"
            )


def _is_module_file(name: str) -> bool:
    return is_plain_path(name) and (
        PurePosixPath(name).suffix in {*_SMALL, ".safetensors"} or name in {"LICENSE", RECIPE}
    )
