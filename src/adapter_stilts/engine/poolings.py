"""The ways to make one vector of a text's tokens, by the names users type."""

from __future__ import annotations

from typing import Literal, get_args

from adapter_stilts.errors import unknown

Pooling = Literal["mean", "first", "max"]
POOLINGS: tuple[Pooling, ...] = get_args(Pooling)


def check_pooling(pooling: str) -> None:
    """Refuses another word than these.

    Raises:
        UserError: says which there are.
    """
    if pooling not in POOLINGS:
        raise unknown("pooling", pooling, POOLINGS)
