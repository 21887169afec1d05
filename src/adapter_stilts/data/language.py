"""Raw text of one language: a file, or a folder of `.txt` files, a sentence or so a line."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from adapter_stilts.data import cache
from adapter_stilts.data.code_digest import package_digest
from adapter_stilts.data.formats import decode
from adapter_stilts.data.load import ExampleSet
from adapter_stilts.errors import UserError
from adapter_stilts.hashing import json_digest
from adapter_stilts.heads.base import Example

if TYPE_CHECKING:
    import datasets

DEV_LINES = 1000
"""Lines held out at most; of short texts a tenth."""
_BATCH = 1000
_READERS = package_digest("adapter_stilts.data")


def read_language_text(
    path: Path, *, limit: int | None = None, dev_limit: int | None = None, seed: int = 0
) -> tuple[ExampleSet, ExampleSet]:
    """The lines to train on and those held out; equal lines are all on one side.

    The text is read line by line and kept as Arrow in the cache. Blank lines are left out. Which
    lines are held out follows from their content alone.

    Args:
        limit, dev_limit: lines to draw at random, by `seed`.

    Raises:
        UserError: no such file, none that ends in `.txt` in a folder, no text, or a line that is
            not UTF-8.
        FailureError: the cache cannot be written.
    """
    files = _files(path)
    try:
        digests = cache.file_digests(files)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    key = json_digest(["text", digests, _READERS])
    written = cache.ensure_examples(
        f"text-{key[:24]}", "text", lambda counts: _lines(files, counts)
    )
    lines = cache.map_examples(written.folder, written.content)
    held_out = _held_out(path, lines)
    train, dev = (
        _part(path, lines, np.flatnonzero(chosen), written.content, most, seed)
        for chosen, most in ((~held_out, limit), (held_out, dev_limit))
    )
    return train, dev


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        found = sorted(each for each in path.glob("*.txt") if each.is_file())
        if not found:
            raise UserError(f"text folder '{path}' has no .txt file")
        return found
    if not path.is_file():
        what = "is not a file" if path.exists() else "is not there"
        raise UserError(f"text file '{path}' {what}")
    return [path]


def _lines(files: list[Path], counts: cache.Parts) -> Iterator[Example]:
    for path in files:
        kept = 0
        for text in _read(path):
            kept += 1
            yield {"id": "", "text": text}
        counts.append({"kept": kept})


def _read(path: Path) -> Iterator[str]:
    """A file's lines that are not blank, one at a time."""
    with path.open("rb") as file:
        for number, raw in enumerate(file, 1):
            if text := decode(path, number, raw).strip():
                yield text


def _held_out(path: Path, lines: datasets.Dataset) -> npt.NDArray[np.bool_]:
    """Which lines are: those whose content has the smallest hashes."""
    if not len(lines):
        raise UserError(f"{path} has no text")
    marks = np.empty(len(lines), dtype=np.uint64)
    for start in range(0, len(lines), _BATCH):
        texts = lines[start : start + _BATCH]["text"]
        marks[start : start + len(texts)] = [_mark(text) for text in texts]
    different = np.unique(marks)
    if len(different) < 2:
        raise UserError(f"{path} has one line: some more are needed, of which one is held out")
    count = max(1, min(DEV_LINES, len(different) // 10))
    found: npt.NDArray[np.bool_] = marks <= different[count - 1]
    return found


def _mark(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def _part(
    path: Path,
    lines: datasets.Dataset,
    rows: npt.NDArray[np.int64],
    content: str,
    most: int | None,
    seed: int,
) -> ExampleSet:
    if most is not None and most < len(rows):
        rows = np.sort(np.random.default_rng(seed).permutation(rows)[:most])
    fingerprint = json_digest([content, hashlib.sha256(rows.tobytes()).hexdigest()])[:16]
    part = {"source": "text", "files": [each.name for each in _files(path)], "kept": len(rows)}
    return ExampleSet(lines.select(rows), fingerprint, str(path), (part,))
