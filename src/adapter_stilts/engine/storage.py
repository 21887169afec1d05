"""How a module's weights are stored: in single or, for half the room, in half precision."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from safetensors import safe_open

from adapter_stilts.errors import UserError


def halve(path: Path) -> None:
    """Rewrites a safetensors file with its float32 values in float16, which has 11 bits of each.

    bfloat16 would keep 8 bits and a range that no module needs. Whoever loads the file gets
    float32 again: the libraries copy values into parameters that are there.

    Raises:
        UserError: a value is beyond float16's range.
    """
    import torch
    from safetensors.torch import load_file, save_file

    halved = {}
    for key, tensor in load_file(path).items():
        single = tensor.dtype == torch.float32
        halved[key] = tensor.half() if single else tensor
        if single and not torch.equal(halved[key].isfinite(), tensor.isfinite()):
            raise UserError(f"{path}: '{key}' has values beyond the range of half precision")
    save_file(halved, path, metadata={"format": "pt"})


def is_halved(paths: Iterable[Path]) -> bool:
    """Whether any tensor of these files is stored in half precision."""
    return any("F16" in _types(path) for path in paths)


def _types(path: Path) -> set[str]:
    with safe_open(path, framework="numpy") as file:
        return {file.get_slice(key).get_dtype() for key in file.keys()}  # noqa: SIM118
