"""How long every item is, by which scores can be looked at apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from adapter_stilts.heads.base import Head

Lengths = list[tuple[int, int | None]]
"""Of every item its input's length, and its answer's where the answer is a text."""


def item_lengths(head: Head, examples: Mapping[str, Sequence[Any]]) -> Lengths:
    """The lengths of examples, given as columns.

    An input's length is the number of its words where words are tagged, else of the characters
    (code points) of all texts that the head reads. An answer's is that of the shortest right one,
    in characters; None where there is none, or the head answers with no text of the input.
    """
    kinds = {name: head.columns[name] for name in head.inputs}
    inputs = [examples[name][:] for name in kinds]
    lengths = [
        sum(map(_words if head.has_tags else _characters, values))
        for values in zip(*inputs, strict=True)
    ]
    if "answers" not in head.columns:
        return [(length, None) for length in lengths]
    answers = [min(map(len, each), default=None) for each in examples["answers"][:]]
    return list(zip(lengths, answers, strict=True))


def _characters(value: str | Sequence[str]) -> int:
    return len(value) if isinstance(value, str) else sum(map(len, value))


def _words(value: Sequence[str]) -> int:
    return len(value)
