"""How a fusion lies on disk."""

from __future__ import annotations

from pathlib import Path

from adapter_stilts.engine.native import HEAD_CONFIG, HEAD_WEIGHTS

WEIGHTS, CONFIG = "fusion.safetensors", "fusion.json"
NOT_SHARED = "a fusion of LoRAs cannot be shared, as their layers differ: use --kind lean"
LORAS_ALONE = "arrow chooses among LoRAs: take uniform, or a learnt fusion, for other modules"
NATIVE_WEIGHTS, NATIVE_CONFIG = "model_adapter_fusion.safetensors", "adapter_fusion_config.json"
"""What plain `adapters` reads, in place of `WEIGHTS` where it computes the same."""


def fusion_files(folder: Path, *, head: bool) -> tuple[tuple[str, str], ...]:
    """A fusion's weights and their configuration, and its head's if it has one."""
    return ((weights_in(folder), CONFIG), (HEAD_WEIGHTS, HEAD_CONFIG))[: 1 + head]


def weights_in(folder: Path) -> str:
    """The name of the file with its weights."""
    return NATIVE_WEIGHTS if (folder / NATIVE_WEIGHTS).is_file() else WEIGHTS
