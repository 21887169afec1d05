"""How long a sequence is once it is padded."""

from __future__ import annotations

PAD_TO = 8
"""Lengths are padded to a multiple of this, which suits both AVX-512/AMX tiles and tensor cores."""


def padded_length(length: int) -> int:
    """The length a sequence has once padded to a multiple of `PAD_TO`."""
    return -(-length // PAD_TO) * PAD_TO
