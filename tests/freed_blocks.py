"""Blocks of memory that a process frees, and how many of them stay with it.

Test processes of their own import this alone: with torch each would take seconds to begin.
"""

from __future__ import annotations

from pathlib import Path

from adapter_stilts.environment import return_freed, return_large_blocks

__all__ = ["give_back_small_blocks", "keep_holes", "return_large_blocks"]

BLOCK, BLOCKS = 4 << 20, 16


def resident() -> int:
    """Bytes of this process that lie in memory."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * 4096


def keep_holes() -> int:
    """Frees large blocks that have small ones above them; the bytes that stay in memory."""
    first = bytearray(31 << 20)  # glibc's own threshold rises to this when it is freed
    del first
    before = resident()
    large, small = [], []
    for number in range(BLOCKS):
        large.append(bytes([number]) * BLOCK)
        small.append(bytes([number]) * 200_000)
    large.clear()
    assert len(small) == BLOCKS
    return resident() - before


def give_back_small_blocks() -> int:
    """Frees small blocks below one that stays; the bytes that go back when it is asked."""
    kept = [bytes([number % 256]) * 4000 for number in range(20_000)]
    top = [kept.pop()]
    before = resident()
    kept.clear()
    return_freed()
    assert top
    return before - resident()
