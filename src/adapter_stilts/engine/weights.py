"""Weights from files: numbers that a network can be made of, or a line that says what is wrong."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open

from adapter_stilts.errors import NotFiniteError, UserError
from adapter_stilts.safety import brief, first_line

if TYPE_CHECKING:
    from torch import Tensor

FLOATS = ("float32", "float16", "bfloat16", "float64")
"""What weights are stored in. Integers, truth values and complex numbers are no weights; converting
them would make some."""
LARGEST = 1e12
"""No weight is larger: of two matrices and `LARGEST_SCALE`, the product stays within float32."""
LARGEST_SCALE = 1e6
"""No scaling of a module (LoRA's alpha among them) is larger."""


def check_weights(path: Path) -> None:
    """Refuses a safetensors file that is damaged, or holds what are no weights."""
    for _ in _check_tensors(path):
        pass


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file; refuses what `check_weights` refuses."""
    return dict(_check_tensors(path))


def _check_tensors(path: Path) -> Iterator[tuple[str, Tensor]]:
    """The tensors one by one, each looked at."""
    try:
        with safe_open(path, framework="pt") as file:
            for key in file.keys():  # noqa: SIM118
                tensor = file.get_tensor(key)
                _check(path, key, tensor)
                yield key, tensor
    except (SafetensorError, OSError, RuntimeError, ValueError, TypeError) as error:
        raise UserError(
            f"{path}: damaged or truncated weights file ({first_line(error)})"
        ) from error


def _check(path: Path, key: str, tensor: Tensor) -> None:
    kind = str(tensor.dtype).removeprefix("torch.")
    if kind not in FLOATS:
        raise UserError(f"{path}: '{brief(key)}' holds {kind} values, which are no weights")
    if not in_range(tensor):
        raise UserError(
            f"{path}: '{brief(key)}' holds values that are not finite, or above {LARGEST:g}: train "
            "or copy the module again"
        )


def check_outputs(values: Iterable[Any], *, of: str, module: str = "") -> None:
    """Refuses to go on with what is no number: an answer or a score made of it would mislead.

    Args:
        values: what a network gave; all but tensors of floats is passed over.
        of: whose values they are, for the message.
        module: what that is called in the engine, where several ran together.

    Raises:
        NotFiniteError: one is infinite or not a number.
    """
    from torch import Tensor

    for value in values:
        if isinstance(value, Tensor) and value.is_floating_point() and not value.isfinite().all():
            raise NotFiniteError(
                f"{of} gives values that are not finite numbers, so there is no result: its "
                "weights do not suit the backbone or the precision (try --precision fp32)",
                module=module,
            )


def in_range(tensor: Tensor) -> bool:
    """Whether all values, in any shape, are finite and of a size that weights have."""
    if not tensor.numel():
        return True
    low, high = tensor.aminmax()  # either is NaN where any value is
    return float(low) >= -LARGEST and float(high) <= LARGEST
