"""The edges of an answer: white space and invisible characters that are no part of it."""

from __future__ import annotations

import regex

# Unicode's property of characters that are not shown: zero-width spaces, joiners, byte order
# marks, soft hyphens, marks of writing direction.
_OUTER = regex.compile(r"[\s\p{Cc}\p{Default_Ignorable_Code_Point}]")
# What changes how the character before it is shown belongs to that: variation selectors, tags of
# flags, and a joiner behind a virama or another mark.
_BOUND = regex.compile(r"[\p{Variation_Selector}\U000E0020-\U000E007F]")
_JOINERS = "\u200c\u200d"
_MARK = regex.compile(r"\p{M}")


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
