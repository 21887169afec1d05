"""Looks into a module's files before any library does.

A configuration may ask for matrices of any size, and a weights file may hold values for any
parameter of the model, the frozen trunk's among them: both are compared with each other here, by
the headers of the files, and nothing is allocated.
"""

from __future__ import annotations

import re
from pathlib import Path

from safetensors import safe_open

from adapter_stilts.engine.fusion_files import fusion_files
from adapter_stilts.engine.guard_configs import (
    PLACES,
    check_adapter,
    check_fusion,
    check_head,
    named_config,
)
from adapter_stilts.engine.methods import is_fusion
from adapter_stilts.engine.native import (
    CONFIG,
    FILES,
    HEAD_CONFIG,
    HEAD_WEIGHTS,
    WEIGHTS,
    check_files,
)
from adapter_stilts.errors import UserError
from adapter_stilts.safety import brief


def check_module(folder: Path, method: str) -> None:
    """Refuses a module whose files are damaged, or not what they should be.

    Whether one is missing is for its record to say.

    Raises:
        UserError: says which file is at fault.
    """
    check_files(folder, fusion_files(folder, head=False) if is_fusion(method) else FILES[:1])
    check_contents(folder, method)


def check_contents(folder: Path, method: str) -> None:
    """Compares configurations with weights, of heads too where there are any.

    Raises:
        UserError: says which file is at fault.
    """
    if is_fusion(method):
        ((weights, config),) = fusion_files(folder, head=False)
        check_fusion(folder / config, shapes_in(folder / weights))
    else:
        check_adapter(folder / CONFIG, shapes_in(folder / WEIGHTS))
    for place in (folder, *sorted(folder.glob("heads/*"))):
        if (place / HEAD_WEIGHTS).is_file():
            check_files(place, FILES[1:])
            check_head(place / HEAD_CONFIG, shapes_in(place / HEAD_WEIGHTS))


def check_widths(folder: Path, hidden: int, intermediate: int) -> None:
    """Refuses weights of another width than a trunk's, for which the library would make room.

    Raises:
        UserError: they are for a trunk of another size.
    """
    widths = {
        r".*\.adapter_down\.0\.weight": {hidden},
        r".*\.lora_A": {hidden, intermediate},
        r".*\.[FG]\.0\.weight": {hidden // 2},
    }
    for key, shape in shapes_in(folder / WEIGHTS).items():
        for pattern, allowed in widths.items():
            if re.fullmatch(pattern, key) and (not shape or shape[-1] not in allowed):
                raise UserError(
                    f"{folder / WEIGHTS}: '{brief(key)}' is for a backbone of another width than "
                    f"{hidden}"
                )


def shapes_in(path: Path) -> dict[str, tuple[int, ...]]:
    """The shape of every tensor in a file, without reading any."""
    with safe_open(path, framework="numpy") as file:
        return {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118


__all__ = [
    "PLACES",
    "check_contents",
    "check_module",
    "check_widths",
    "named_config",
    "shapes_in",
]
