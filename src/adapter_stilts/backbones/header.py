"""The header of a safetensors file, read with bounds and before any tensor.

The file begins with the length of a JSON object (u64, little-endian), then the object: for each
tensor its type, its shape, and where its bytes begin and end in what follows.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from adapter_stilts.errors import UserError
from adapter_stilts.safety import brief, first_line, is_count

MAX_HEADER = 8 << 20
"""Bytes; that of XLM-R Large has 50,000."""
MAX_DIMENSIONS = 8

SIZES: Mapping[str, int] = MappingProxyType(
    {"BOOL": 1, "U8": 1, "I8": 1, "F8_E5M2": 1, "F8_E4M3": 1}
    | {"I16": 2, "U16": 2, "F16": 2, "BF16": 2, "I32": 4, "U32": 4, "F32": 4}
    | {"I64": 8, "U64": 8, "F64": 8, "C64": 8}
)
"""Bytes of a value of each type."""


class Tensor(NamedTuple):
    """What the header says of one."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


def read_header(path: Path) -> dict[str, Tensor]:
    """The tensors of a file by their names; nothing of them is read.

    Raises:
        UserError: says what is wrong with the file.
    """
    try:
        if path.exists() and not path.is_file():
            raise ValueError("not a file")  # a pipe would be waited for
        with path.open("rb") as file:
            size = path.stat().st_size
            start = file.read(8)
            (length,) = struct.unpack("<Q", start) if len(start) == 8 else (0,)
            if not 2 <= length <= size - 8:
                raise ValueError(f"its {size} bytes do not hold the header that they promise")
            if length > MAX_HEADER:
                raise ValueError(f"its header has {length} bytes, {MAX_HEADER} is the limit")
            text = file.read(length).decode("utf-8")
        entries = json.loads(text, object_pairs_hook=once)
        return _tensors(entries, size - 8 - length)
    except (OSError, ValueError, RecursionError, MemoryError) as error:
        raise UserError(
            f"{path}: damaged, or no safetensors file ({first_line(error)}): fetch it again"
        ) from error


def data_offset(path: Path) -> int:
    """Where the tensors begin in a file whose header was read."""
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
    return 8 + int(length)


def once(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object in which no name comes twice, of which readers would take different ones.

    Raises:
        ValueError: one does.
    """
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the name '{brief(key)}' comes twice")
        found[key] = value
    return found


def _tensors(entries: Any, room: int) -> dict[str, Tensor]:
    if not isinstance(entries, dict):
        raise ValueError("its header is no object")
    entries.pop("__metadata__", None)
    found = {name: _tensor(name, about) for name, about in entries.items()}
    at = 0
    for name, tensor in sorted(found.items(), key=lambda each: (each[1].begin, each[1].end)):
        if tensor.begin != at:
            raise ValueError(f"'{brief(name)}' does not begin where the tensor before it ends")
        at = tensor.end
    if at != room:
        raise ValueError(f"its tensors have {at} bytes, and {room} are there")
    return found


def _tensor(name: str, about: Any) -> Tensor:
    if not isinstance(about, dict) or about.keys() != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"'{brief(name)}' has no type, shape and place")
    dtype, shape, place = about["dtype"], about["shape"], about["data_offsets"]
    if not isinstance(dtype, str) or dtype not in SIZES:
        raise ValueError(f"'{brief(name)}' is of an unknown type")
    if not _are_counts(shape) or len(shape) > MAX_DIMENSIONS:
        raise ValueError(f"the shape of '{brief(name)}' makes no sense")
    if not _are_counts(place) or len(place) != 2 or not place[0] <= place[1]:
        raise ValueError(f"the place of '{brief(name)}' makes no sense")
    if math.prod(shape) * SIZES[dtype] != place[1] - place[0]:
        raise ValueError(f"'{brief(name)}' has not the bytes that its shape asks for")
    return Tensor(dtype, tuple(shape), *place)


def _are_counts(value: Any) -> bool:
    return isinstance(value, list) and all(is_count(each, (1 << 62) - 1) for each in value)
