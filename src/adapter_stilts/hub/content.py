"""Whether a file in `huggingface_hub`'s cache holds what its name there says."""

from __future__ import annotations

import hashlib
from pathlib import Path

_BLOCK = 1 << 20


def git_hash(path: Path) -> str:
    """What git calls a file of that content."""
    found = hashlib.sha1(b"blob %d\0" % path.stat().st_size)
    return _fed(found, path)


def is_intact(path: Path) -> bool:
    """Whether the content has the hash that the Hub named it by, which the cache calls it by.

    True as well where the cache has no such names (without symbolic links).
    """
    name = path.resolve().name.lower()
    if len(name) == 64 and set(name) <= set("0123456789abcdef"):
        return _fed(hashlib.sha256(), path) == name
    if len(name) == 40 and set(name) <= set("0123456789abcdef"):
        return git_hash(path) == name
    return True


def discard(path: Path) -> None:
    """Removes a file from the cache, so that it is fetched anew."""
    path.resolve().unlink(missing_ok=True)
    path.unlink(missing_ok=True)


def _fed(found: hashlib._Hash, path: Path) -> str:
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            found.update(block)
    return found.hexdigest()
