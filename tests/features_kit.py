"""Encoding as a head kind does it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from adapter_stilts.heads import get_head
from adapter_stilts.heads.base import Encoding


def encode_as(kind: str) -> Callable[..., dict[str, list[Any]]]:
    """The encoding of that head kind: `encode(examples, tokenizer, max_length=…)`."""
    head = get_head(kind)
    return lambda examples, tokenizer, **how: head.encode(examples, Encoding(tokenizer, **how))
