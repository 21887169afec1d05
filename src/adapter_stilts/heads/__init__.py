"""The kinds of head, one file each: a new one is a file here, and its name in `KINDS`."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from functools import cache
from typing import Any

from adapter_stilts.heads.base import Head

KINDS = ("classification", "choice", "span", "tagging", "embedding", "regression")
"""The kinds that a task may have."""
RAW = "text"
"""Raw text, for masked language modelling: its head learns, but is no part of the module."""
PLAIN = "embedding"
"""The kind of what has no head: sentence vectors come from the trunk."""


@cache
def get_head(kind: str) -> Head:
    """The head kind of that name; a `KeyError` where there is none."""
    if kind not in (*KINDS, RAW):
        raise KeyError(kind)
    head: Head = importlib.import_module(f"{__name__}.{kind}").HEAD
    return head


def kind_of(config: Mapping[str, Any]) -> str | None:
    """The kind of a head of `adapters` with that configuration; None where it is none of ours."""
    return next((kind for kind in KINDS if get_head(kind).owns(config)), None)


def settle(head: Any) -> None:
    """Makes a head of `adapters` what its kind wants in use; one of no kind of ours stays so."""
    if kind := kind_of(head.config):
        get_head(kind).settle(head)


def is_named(kind: str) -> bool:
    """Whether heads of that kind number labels or tags; of what is no kind, they do not."""
    return kind in KINDS and get_head(kind).is_named


def has_weights(kind: str) -> bool:
    """Whether a module of that kind has a head of its own."""
    return kind in (*KINDS, RAW) and get_head(kind).has_weights
