"""What the kinds of head share: special tokens, padding, and the edges of a span of text.

Special tokens are asked of the tokenizer itself. `build_inputs_with_special_tokens` would do for
the classes that define it; the generic fast tokenizer inherits one that adds nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import regex

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

PAD_TO = 8
"""Lengths are padded to a multiple of this, which suits both AVX-512/AMX tiles and tensor cores."""

# Unicode's property of characters that are not shown: zero-width spaces, joiners, byte order
# marks, soft hyphens, marks of writing direction.
_OUTER = regex.compile(r"[\s\p{Cc}\p{Default_Ignorable_Code_Point}]")
# What changes how the character before it is shown belongs to that: variation selectors, tags of
# flags, and a joiner behind a virama or another mark.
_BOUND = regex.compile(r"[\p{Variation_Selector}\U000E0020-\U000E007F]")
_JOINERS = "\u200c\u200d"
_MARK = regex.compile(r"\p{M}")


def padded_length(length: int) -> int:
    """The length a sequence has once padded to a multiple of `PAD_TO`."""
    return -(-length // PAD_TO) * PAD_TO


class Template(NamedTuple):
    """Special tokens before, between and after two sequences (`between` is empty for one)."""

    before: list[int]
    between: list[int]
    after: list[int]

    @property
    def size(self) -> int:
        """Special tokens in all."""
        return len(self.before) + len(self.between) + len(self.after)

    def around(self, first: Sequence[int], second: Sequence[int] = ()) -> list[int]:
        """The sequences with the special tokens around them."""
        return [*self.before, *first, *self.between, *second, *self.after]


def template(tokenizer: PreTrainedTokenizerFast, *, pair: bool) -> Template:
    """The special tokens of one sequence or of a pair, read off an example."""
    encoded = tokenizer("a", "a") if pair else tokenizer("a")
    places = encoded.sequence_ids(0)
    ids: list[int] = encoded["input_ids"]
    begin = places.index(0)
    end = len(places) - places[::-1].index(0)
    if not pair:
        return Template(ids[:begin], [], ids[end:])
    second = places.index(1)
    last = len(places) - places[::-1].index(1)
    return Template(ids[:begin], ids[end:second], ids[last:])


def inner(text: str, begin: int = 0, end: int | None = None) -> tuple[int, int]:
    """Where a part of a text begins and ends without what is not seen at its edges.

    >>> inner("in Lund today", 3, 8)
    (3, 7)

    Returns:
        `begin` twice where nothing is left.
    """
    first, last = begin, len(text) if end is None else min(end, len(text))
    while first < last and _OUTER.match(text[first]):
        first += 1
    while first < last and _ends_outside(text, first, last):
        last -= 1
    return (first, last) if first < last else (begin, begin)


def _ends_outside(text: str, first: int, last: int) -> bool:
    char = text[last - 1]
    if not _OUTER.match(char):
        return False
    before = text[last - 2] if last - 2 >= first else ""
    bound = _BOUND.match(char) or (char in _JOINERS and _MARK.match(before))
    return not (before and bound)
