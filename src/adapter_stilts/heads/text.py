"""Plain text as token sequences, for masked language modelling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypedDict

from adapter_stilts.heads.base import (
    Head,
)
from adapter_stilts.heads.special import template

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


class TextExample(TypedDict):
    """A line of raw text."""

    id: str
    text: str


def encode(
    examples: Mapping[str, Sequence[Any]],
    tokenizer: PreTrainedTokenizerFast,
    *,
    max_length: int,
) -> dict[str, list[Any]]:
    """Every line as `<s> line </s>`; a long one becomes several, none of a single piece's length.

    Returns:
        Columns `input_ids`, `length` and `example`.
    """
    special = template(tokenizer, pair=False)
    room = max_length - special.size
    encoded = tokenizer(list(examples["text"]), add_special_tokens=False, verbose=False)
    features: dict[str, list[Any]] = {"input_ids": [], "length": [], "example": []}
    for row, pieces in enumerate(encoded["input_ids"]):
        for start in range(0, len(pieces), room):
            window = pieces[start : start + room]
            if len(window) < 2:  # nothing to tell a lone token by
                continue
            ids = special.around(window)
            features["input_ids"].append(ids)
            features["length"].append(len(ids))
            features["example"].append(row)
    return features


class _Text(Head):
    name = "text"
    columns = {"id": "text", "text": "text"}

    def encode(
        self,
        examples: Mapping[str, Sequence[Any]],
        tokenizer: PreTrainedTokenizerFast,
        *,
        max_length: int,
        stride: int,
        tags: Sequence[str] | None,
    ) -> dict[str, list[Any]]:
        return encode(examples, tokenizer, max_length=max_length)


HEAD = _Text()
