"""Which number format the frozen trunk runs in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

from adapter_stilts.errors import unknown

if TYPE_CHECKING:
    import torch

Precision = Literal["fp32", "bf16", "auto"]


def check_precision(precision: str) -> None:
    """Refuses another word than these; torch is not needed to know them.

    Raises:
        UserError: another word was given.
    """
    if precision not in get_args(Precision):
        raise unknown("precision", precision, get_args(Precision))


def bf16_available(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 matrices in hardware.

    A CPU counts when it has AVX512-BF16 or AMX; without them bfloat16 is emulated and slower
    than float32.
    """
    import torch

    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    return False


def resolve_precision(precision: str, device: torch.device) -> torch.dtype:
    """The dtype of the frozen weights for `fp32`, `bf16` or `auto` (bf16 where it is fast).

    Raises:
        UserError: another word was given.
    """
    import torch

    check_precision(precision)
    if precision == "auto":
        return torch.bfloat16 if bf16_available(device) else torch.float32
    return torch.bfloat16 if precision == "bf16" else torch.float32


def default_device() -> torch.device:
    """The first CUDA device of this process if there is one, else the CPU."""
    import torch

    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
