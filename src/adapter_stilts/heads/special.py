"""Where a tokenizer puts its special tokens, asked of the tokenizer itself.

`build_inputs_with_special_tokens` would do for the classes that define it; the generic fast
tokenizer inherits one that adds nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


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
