"""Whether a file in `huggingface_hub`'s cache holds what its name there, or the Hub, says."""

from __future__ import annotations

import re
from pathlib import Path

from adapter_stilts.hub.body import Sum
from adapter_stilts.hub.guard import RemoteFile

_BLOCK = 1 << 20


def damage(path: Path, known: RemoteFile | None) -> str:
    """What is wrong with a file ("length" or "hash"); nothing where it is what it should be.

    Args:
        known: what the Hub lists. Without it, the hash that the cache calls the file by counts;
            a cache without symbolic links has no such names.
    """
    size = path.stat().st_size
    if known is None:
        name = path.resolve().name.lower()
        is_sha256, is_git = (re.fullmatch(f"[0-9a-f]{{{digits}}}", name) for digits in (64, 40))
        known = RemoteFile(size, name if is_sha256 else "", name if is_git else "")
    if size != known.size:
        return "length"
    found = Sum(size, wanted=bool(known.sha256 or known.git))
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            found.add(block)
    return "" if found.fits(known.sha256, known.git) else "hash"


def discard(path: Path) -> None:
    """Removes a file from the cache, so that it is fetched anew."""
    path.resolve().unlink(missing_ok=True)
    path.unlink(missing_ok=True)
