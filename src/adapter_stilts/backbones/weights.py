"""A backbone's weights: which files hold them, and whether they are those of its configuration.

Everything is compared by the headers of the files before a model is built or a tensor is read. A
safetensors file begins with the length of a JSON object (u64, little-endian), then the object: for
each tensor its type, its shape, and where its bytes begin and end in what follows.
"""

from __future__ import annotations

import json
import math
import re
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, model_validator

from adapter_stilts.errors import UserError
from adapter_stilts.safety import (
    Count,
    brief,
    check_shape,
    first_line,
    is_plain_path,
    once,
    one_of,
    read_json,
)

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
_MAX_SHARDS = 256
_SUMMED = 1 << 20
"""Values of a tensor that are looked at together."""
_FLOATS = ("F32", "F16", "BF16", "F64")
_ALIASES = {"gamma": "weight", "beta": "bias"}
"""What layer norms are called in checkpoints of 2018."""
_COUNTED = ("embeddings.position_ids", "embeddings.token_type_ids")
"""Counted anew, not read."""

if TYPE_CHECKING:
    import torch

Shapes = Mapping[str, tuple[int, ...]]
WORDS = "embeddings.word_embeddings.weight"


MAX_HEADER = 8 << 20
"""Bytes; that of XLM-R Large has 50,000."""
MAX_DIMENSIONS = 8

SIZES: Mapping[str, int] = MappingProxyType(
    {"BOOL": 1, "U8": 1, "I8": 1, "F8_E5M2": 1, "F8_E4M3": 1}
    | {"I16": 2, "U16": 2, "F16": 2, "BF16": 2, "I32": 4, "U32": 4, "F32": 4}
    | {"I64": 8, "U64": 8, "F64": 8, "C64": 8}
)
"""Bytes of a value of each type."""


class Tensor(BaseModel):
    """What the header says of one."""

    model_config = ConfigDict(strict=True, extra="forbid")
    dtype: Annotated[str, one_of(SIZES)]
    shape: Annotated[tuple[Count, ...], Field(max_length=MAX_DIMENSIONS)]
    data_offsets: tuple[Count, Count]

    @model_validator(mode="after")
    def _fits(self) -> Tensor:
        begin, end = self.data_offsets
        if math.prod(self.shape) * SIZES[self.dtype] != end - begin:
            raise ValueError("it has not the bytes that its shape asks for")
        return self


def read_header(path: Path) -> dict[str, Tensor]:
    """The tensors of a file by their names, read from its header; refuses a damaged file."""
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
    except (OSError, UserError, ValueError, RecursionError, MemoryError) as error:
        raise UserError(
            f"{path}: damaged, or no safetensors file ({first_line(error)}): fetch it again"
        ) from error


def _tensors(entries: Any, room: int) -> dict[str, Tensor]:
    if isinstance(entries, dict):
        entries.pop("__metadata__", None)
    found = check_shape(dict[str, Tensor], entries, "its header")
    at = 0
    for name, tensor in sorted(found.items(), key=lambda each: each[1].data_offsets):
        begin, end = tensor.data_offsets
        if begin != at:
            raise ValueError(f"'{brief(name)}' does not begin where the tensor before it ends")
        at = end
    if at != room:
        raise ValueError(f"its tensors have {at} bytes, and {room} are there")
    return found


class Stored(NamedTuple):
    """Where a matrix lies on disk: the file, from which byte on, and how."""

    path: Path
    offset: int
    dtype: torch.dtype
    shape: tuple[int, int]


def shard_names(index: Path) -> list[str]:
    """The files that an index names; refuses one that names any but plain names beside it."""
    content = read_json(index)
    places = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(places, dict) or not places:
        raise UserError(f"{index}: expected an object 'weight_map'")
    names = set()
    for name in places.values():
        plain = isinstance(name, str) and is_plain_path(name) and "/" not in name
        if not plain or not name.endswith(".safetensors"):
            raise UserError(f"{index}: '{brief(name)}' is no safetensors file beside it")
        names.add(name)
    if len(names) > _MAX_SHARDS:
        raise UserError(f"{index}: {len(names)} files are more than {_MAX_SHARDS}")
    return sorted(names)


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a backbone, one or those of its index; refuses missing ones."""
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    if not (folder / INDEX).is_file():
        raise UserError(f"no safetensors weights in {folder} (pickles are not loaded)")
    files = [folder / name for name in shard_names(folder / INDEX)]
    for path in files:
        if not path.is_file():
            raise UserError(f"{path} is missing, which {INDEX} names")
    return files


def read_weights(folder: Path, fields: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """The trunk's weights by their names in the bare model; refuses what `fields` do not fit."""
    files = weight_files(folder)
    headers = {path: read_header(path) for path in files}
    if len(files) > 1:
        _check_index(folder / INDEX, headers)
    places = {key: path for path, header in headers.items() for key in header}
    tensors = {key: headers[path][key] for key, path in places.items()}
    names = trunk_names(tensors, fields["model_type"])
    check_fit(folder, {name: tensors[key] for name, key in names.items()}, fields)
    found: dict[str, torch.Tensor] = {}
    for path in files:
        here = {name: key for name, key in names.items() if places[key] == path}
        # A file stays in memory as long as one of the tensors read of it together: the words are
        # read apart, so that they can be let go of.
        words = {name: here.pop(name) for name in (WORDS,) if name in here}
        found |= _tensors_of(path, here) | _tensors_of(path, words)
    return found


def stored_words(folder: Path, model_type: str) -> Stored:
    """Where the word embeddings of a backbone lie; refuses weights without them."""
    import torch

    dtypes = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
    for path in weight_files(folder):
        header = read_header(path)
        key = trunk_names(header, model_type).get(WORDS)
        if key is not None:
            dtype = dtypes.get(header[key].dtype, torch.float64)
            rows, width = header[key].shape
            room = max(each.data_offsets[1] for each in header.values())
            start = path.stat().st_size - room + header[key].data_offsets[0]
            return Stored(path, start, dtype, (rows, width))
    raise UserError(f"{folder}: the weights lack '{WORDS}'")


def _tensors_of(path: Path, wanted: Mapping[str, str]) -> dict[str, torch.Tensor]:
    import torch
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            found = {name: file.get_tensor(key) for name, key in wanted.items()}
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path}: damaged ({first_line(error)}): fetch it again") from error
    for name, tensor in found.items():
        # A sum is finite only if all its terms are. torch makes a copy for it in float64: of XLM-R
        # Large's words, that would be 2 GB at once.
        parts = tensor.reshape(-1).split(_SUMMED)
        if not all(torch.isfinite(part.sum(dtype=torch.float64)) for part in parts):
            raise UserError(f"{path}: '{brief(wanted[name])}' holds values that are not finite")
    return found


def _check_index(index: Path, headers: Mapping[Path, Mapping[str, Tensor]]) -> None:
    """Refuses shards that do not hold what the index says of each."""
    said = dict(read_json(index)["weight_map"])
    for path, header in headers.items():
        for key in header:
            if said.pop(key, "") != path.name:
                raise UserError(f"{path}: '{brief(key)}' is not there by {index.name}")
    if said:
        key, name = next(iter(said.items()))
        raise UserError(f"{index.parent / name}: lacks '{brief(key)}', which {index.name} names")


def trunk_names(keys: Iterable[str], model_type: str) -> dict[str, str]:
    """The names in a checkpoint by those in the bare model; heads of a whole model are left out.

    Two names for one tensor are refused.
    """
    prefix = "bert." if model_type == "bert" else "roberta."
    keys = list(keys)
    found: dict[str, str] = {}
    whole = any(key.startswith(prefix) for key in keys)
    for key in keys:
        if whole and not key.startswith(prefix):
            continue
        name = key.removeprefix(prefix)
        stem, _, last = name.rpartition(".")
        if stem.endswith("LayerNorm"):
            name = f"{stem}.{_ALIASES.get(last, last)}"
        if name in _COUNTED:
            continue
        if name in found:
            raise UserError(f"the weights hold both '{brief(found[name])}' and '{brief(key)}'")
        found[name] = key
    return found


def trunk_shapes(fields: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """What a trunk without its pooler consists of."""
    hidden = int(fields["hidden_size"])
    shapes: dict[str, tuple[int, ...]] = {
        WORDS: (fields["vocab_size"], hidden),
        "embeddings.position_embeddings.weight": (fields["max_position_embeddings"], hidden),
        "embeddings.token_type_embeddings.weight": (fields["type_vocab_size"], hidden),
        "embeddings.LayerNorm.weight": (hidden,),
        "embeddings.LayerNorm.bias": (hidden,),
    }
    inner = _layer_shapes(hidden, int(fields["intermediate_size"]))
    for layer in range(fields["num_hidden_layers"]):
        shapes |= {f"encoder.layer.{layer}.{name}": shape for name, shape in inner.items()}
    return shapes


def _layer_shapes(hidden: int, intermediate: int) -> dict[str, tuple[int, ...]]:
    square = ("self.query", "self.key", "self.value", "output.dense")
    linear = {f"attention.{name}": (hidden, hidden) for name in square}
    linear |= {"intermediate.dense": (intermediate, hidden), "output.dense": (hidden, intermediate)}
    shapes: dict[str, tuple[int, ...]] = {}
    for name, shape in linear.items():
        shapes |= {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
    for name in ("attention.output.LayerNorm", "output.LayerNorm"):
        shapes |= {f"{name}.weight": (hidden,), f"{name}.bias": (hidden,)}
    return shapes


_FIELDS = {
    WORDS: ("vocab_size", "hidden_size"),
    "embeddings.position_embeddings.weight": ("max_position_embeddings", "hidden_size"),
    "embeddings.token_type_embeddings.weight": ("type_vocab_size", "hidden_size"),
    "encoder.layer.0.intermediate.dense.weight": ("intermediate_size", "hidden_size"),
}
"""Which fields decide a shape, for those that a wrong configuration shows in first."""


def check_fit(folder: Path, found: Mapping[str, Tensor], fields: Mapping[str, Any]) -> None:
    """Refuses weights whose headers do not say what the configuration does."""
    config = folder / "config.json"
    layers = _layers(found)
    if layers != set(range(fields["num_hidden_layers"])):
        raise UserError(
            f"{config}: 'num_hidden_layers' is {fields['num_hidden_layers']}, and the weights have "
            f"{_count_layers(layers)}"
        )
    for name, keys in _FIELDS.items():
        shape = found[name].shape if name in found else ()
        for key, size in zip(keys, shape, strict=False):
            if size != fields[key]:
                raise UserError(
                    f"{config}: '{key}' is {fields[key]}, and in the weights {size} ('{name}')"
                )
    _check_shapes(folder, found, trunk_shapes(fields), fields["hidden_size"])


def _check_shapes(folder: Path, found: Mapping[str, Tensor], needed: Shapes, hidden: int) -> None:
    # Many checkpoints lack the pooler, which no head here reads.
    optional = {"pooler.dense.weight": (hidden, hidden), "pooler.dense.bias": (hidden,)}
    for name in needed:
        if name not in found:
            raise UserError(f"{folder}: the weights lack '{name}'")
    for name, tensor in found.items():
        shape = needed.get(name) or optional.get(name)
        if shape is None:
            raise UserError(f"{folder}: the weights hold '{brief(name)}', which has no place")
        if tensor.shape != shape:
            raise UserError(
                f"{folder}: '{name}' has the shape {_by(tensor.shape)}, not {_by(shape)}"
            )
        if tensor.dtype not in _FLOATS:
            raise UserError(f"{folder}: '{name}' is of type {tensor.dtype}, no floating point")


def _layers(names: Iterable[str]) -> set[int]:
    matches = (re.match(r"encoder\.layer\.(0|[1-9]\d{0,8})\.", name) for name in names)
    return {int(match[1]) for match in matches if match}


def _count_layers(layers: set[int]) -> str:
    missing = next((each for each in range(len(layers)) if each not in layers), None)
    return f"{len(layers)}" if missing is None else f"no layer {missing}, but layer {max(layers)}"


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "of a single number"
