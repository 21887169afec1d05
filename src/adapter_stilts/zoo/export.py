"""Modules for others: as they are, or for plain `adapters` and plain `peft`."""

from __future__ import annotations

import shutil
from pathlib import Path

from adapter_stilts.engine.methods import is_fusion
from adapter_stilts.engine.native import FILES, NATIVE_CONFIG, NATIVE_WEIGHTS, halve
from adapter_stilts.engine.weights import check_weights
from adapter_stilts.errors import UserError, unknown
from adapter_stilts.paths import atomic_folder, check_replaceable
from adapter_stilts.zoo.push import shareable, stage
from adapter_stilts.zoo.record import ModuleRecord
from adapter_stilts.zoo.verify import check_stored

FORMATS = ("adapters", "peft", "module")
_NATIVE = (*FILES, (NATIVE_WEIGHTS, NATIVE_CONFIG))
_PEFT = ["peft/adapter_config.json", "peft/adapter_model.safetensors"]


def export(
    folder: Path,
    out: Path,
    *,
    library: str = "adapters",
    half: bool = False,
    backbone: str | None = None,
    overwrite: bool = False,
) -> Path:
    """Writes a module for others, without the paths of this machine.

    Args:
        library: `adapters` (what `load_adapter` takes), `peft` (what `PeftModel.from_pretrained`
            takes, of LoRAs), or `module` (with its record, for this package's zoos).
        half: store weights in half precision, in half the room.
        backbone: of a `module` that was trained on a backbone in a folder: its id on the Hub.
        overwrite: replace what lies at `out`.

    Raises:
        UserError: a damaged module, one that the library cannot express, or `out` is taken.
    """
    if library not in FORMATS:
        raise unknown("format", library, FORMATS)
    record = ModuleRecord.read(folder)
    check_stored(record, folder)
    names = [] if library == "module" else _plain_files(folder, record, library)
    check_replaceable(out)
    if out.exists() and not overwrite and any(out.iterdir()):
        raise UserError(f"{out} is not empty: choose another --out, or add --overwrite")
    with atomic_folder(out) as work:
        if library == "module":
            stage(shareable(folder, backbone), folder, work, half=half)
            return out
        for name in names:
            if name.endswith(".safetensors"):
                check_weights(folder / name)
            copy = work / Path(name).name
            shutil.copyfile(folder / name, copy)
            if half and copy.suffix == ".safetensors":
                halve(copy)
    return out


def _plain_files(folder: Path, record: ModuleRecord, library: str) -> list[str]:
    """What of a module's files a library loads, and the card.

    Raises:
        UserError: it cannot express the module.
    """
    native_fusion = NATIVE_WEIGHTS in record.files and library == "adapters"
    if is_fusion(record.method) and not native_fusion:
        raise UserError(f"{folder} is a fusion of its own kind: no other library can load it")
    names = _PEFT if library == "peft" else [name for pair in _NATIVE for name in pair]
    found = [name for name in (*names, "README.md") if name in record.files]
    if library == "peft" and not set(found) >= set(_PEFT):
        raise UserError(
            f"{folder} is no LoRA ({record.method}), so peft cannot load it: --format adapters"
        )
    return found
