"""What a repository offers, and what of it is wanted: decided before anything is downloaded."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Literal

from adapter_stilts.errors import UserError
from adapter_stilts.safety import MAX_JSON, is_plain_path
from adapter_stilts.zoo.record import RECIPE, RECORD

if TYPE_CHECKING:
    from adapter_stilts.hub.guard import RemoteFile

MAX_FILES = 200
MAX_MEGABYTES = 2048
"""Megabytes of a module; `ADSTILTS_MAX_PULL_MB` changes that."""

_SMALL = {".json", ".md", ".txt"}
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.pkl", "*.pickle", "*.ckpt", "*.h5", "*.msgpack")
_NATIVE = {"adapter_config.json", "adapter.safetensors"}
_HEAD = {"head_config.json", "model_head.safetensors"}
_PEFT = {"adapter_config.json", "adapter_model.safetensors"}

Kind = Literal["module", "adapter", "peft"]


@dataclass(frozen=True)
class Offer:
    """The files of a repository at one commit."""

    repo: str
    commit: str
    files: Mapping[str, RemoteFile]

    @property
    def kind(self) -> Kind:
        """What it is: a module of ours, one of `adapters`, or a LoRA of `peft`.

        Raises:
            UserError: none of these, or only as pickles.
        """
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

    def wanted(self) -> dict[str, RemoteFile]:
        """The files to download.

        Raises:
            UserError: no module, or too large.
        """
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
        total, limit = sum(file.size for file in found.values()), max_megabytes() << 20
        if total > limit:
            raise UserError(
                f"'{self.repo}' has {total >> 20:,} MB, more than the {limit >> 20:,} MB of a "
                "module; ADSTILTS_MAX_PULL_MB allows more"
            )


def max_megabytes() -> int:
    """How large a module may be that is downloaded."""
    given = os.environ.get("ADSTILTS_MAX_PULL_MB", "")
    return int(given) if given.isdigit() else MAX_MEGABYTES


def _is_module_file(name: str) -> bool:
    return is_plain_path(name) and (
        PurePosixPath(name).suffix in {*_SMALL, ".safetensors"} or name in {"LICENSE", RECIPE}
    )
