"""Modules for plain `adapters` and plain `peft`, without anything of ours."""

from __future__ import annotations

import shutil
from pathlib import Path

from adapter_stilts.errors import UserError, unknown
from adapter_stilts.modules.fusing import NATIVE_CONFIG, NATIVE_WEIGHTS
from adapter_stilts.modules.guard import check_module
from adapter_stilts.modules.methods import is_fusion
from adapter_stilts.modules.native import FILES
from adapter_stilts.paths import atomic_folder, check_writable
from adapter_stilts.zoo.record import ModuleRecord

FORMATS = ("adapters", "peft")
_NATIVE = (*FILES, (NATIVE_WEIGHTS, NATIVE_CONFIG))
_PEFT = ["peft/adapter_config.json", "peft/adapter_model.safetensors"]


def export(folder: Path, out: Path, *, library: str = "adapters", overwrite: bool = False) -> Path:
    """Writes what `load_adapter` or `PeftModel.from_pretrained` takes, and the card.

    Args:
        library: `adapters`, or `peft` for LoRAs.
        overwrite: replace what lies at `out`.

    Raises:
        UserError: a damaged module, one that the library cannot express, or `out` is taken.
    """
    if library not in FORMATS:
        raise unknown("format", library, FORMATS)
    record = ModuleRecord.read(folder)
    native_fusion = NATIVE_WEIGHTS in record.files and library == "adapters"
    if is_fusion(record.method) and not native_fusion:
        raise UserError(f"{folder} is a fusion of its own kind: no other library can load it")
    check_module(folder, record.method)
    record.verify(folder)
    check_writable(out.parent if overwrite else out)
    if out.exists() and not overwrite and any(out.iterdir()):
        raise UserError(f"{out} is not empty: choose another --out, or add --overwrite")
    names = _PEFT if library == "peft" else [name for pair in _NATIVE for name in pair]
    found = [name for name in (*names, "README.md") if name in record.files]
    if library == "peft" and not set(found) >= set(_PEFT):
        raise UserError(f"{folder} is no LoRA in peft's format ({record.method})")
    with atomic_folder(out) as work:
        for name in found:
            shutil.copyfile(folder / name, work / Path(name).name)
    return out
