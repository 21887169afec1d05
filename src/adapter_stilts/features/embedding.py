"""Texts to be found and queries that find them, as token sequences for sentence vectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from transformers import PreTrainedTokenizerFast

from adapter_stilts.features.padding import padded_length


def encode(
    examples: Mapping[str, Sequence[Any]],
    tokenizer: PreTrainedTokenizerFast,
    *,
    max_length: int,
) -> dict[str, list[Any]]:
    """One feature an example: a query `<s> query </s>`, a text `<s> text </s></s> context </s>`.

    A text without a context stands alone. Where text and context do not fit, the longer is cut
    at its end until both are equally long, so that a sentence beside its paragraph stays whole
    (XTREME-R trains on LAReQA's pairs so).

    Args:
        examples: columns of `EmbeddingExample`; a side that no example has is left out.
        max_length: tokens a sequence at most, special ones included.

    Returns:
        Columns `length` (what the example costs in tokens) and `example`, and: `input_ids` of
        the texts and `query_ids` of the queries where there are both, as in training; else
        `input_ids` of the only side.
    """
    sides: dict[str, list[list[int]]] = {}
    if any(examples["text"]) or not any(examples["query"]):
        pairs = zip(examples["text"], examples["context"], strict=True)
        texts = [(text, context) if context else text for text, context in pairs]
        sides["input_ids"] = _encode(texts, tokenizer, max_length)
    if any(examples["query"]):
        name = "query_ids" if sides else "input_ids"
        sides[name] = _encode(list(examples["query"]), tokenizer, max_length)
    lengths = [[len(ids) for ids in side] for side in sides.values()]
    return {
        **sides,
        "length": [sum(map(padded_length, row)) for row in zip(*lengths, strict=True)]
        if len(sides) > 1
        else lengths[0],
        "example": list(range(len(lengths[0]))),
    }


def _encode(texts: list[Any], tokenizer: PreTrainedTokenizerFast, length: int) -> list[list[int]]:
    encoded = tokenizer(texts, truncation="longest_first", max_length=length)
    ids: list[list[int]] = encoded["input_ids"]
    return ids
