"""Freed memory that goes back to the machine, where the C library would keep it."""

from __future__ import annotations

import ctypes
import gc
import os
import platform
from typing import Any

_LARGE = 1 << 20
"""Bytes from which a block is a mapping of its own: activations are, Python's objects are not."""

_MMAP_THRESHOLD = -3  # M_MMAP_THRESHOLD of glibc's malloc.h
_SETTINGS = ("MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES", "LD_PRELOAD")
"""Who sets one of these variables has chosen, or has brought another allocator."""


def return_large_blocks() -> None:
    """From now on a large block of this process is given back as soon as it is freed.

    glibc's `malloc` raises its threshold with the blocks that it sees freed, up to 32 MB. Then
    activations lie on its heap, where a small object above them keeps their room. What a step
    peaks at is measured by `benchmarks/memory.py`. Elsewhere than with glibc nothing is changed.
    """
    library = _glibc()
    if library is not None and not any(name in os.environ for name in _SETTINGS):
        library.mallopt(_MMAP_THRESHOLD, _LARGE)


def return_freed() -> None:
    """Gives back what has been freed on the heap of this process."""
    gc.collect()
    library = _glibc()
    if library is not None:
        library.malloc_trim(0)


def _glibc() -> Any:
    return ctypes.CDLL(None) if platform.libc_ver()[0] == "glibc" else None
