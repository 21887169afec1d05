"""Texts and pairs of texts as token sequences for a classification head."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from transformers import PreTrainedTokenizerFast


def encode(
    examples: Mapping[str, Sequence[Any]],
    tokenizer: PreTrainedTokenizerFast,
    *,
    max_length: int,
) -> dict[str, list[Any]]:
    """One feature an example: `<s> a </s></s> b </s>`, the longer text cut first.

    Args:
        examples: columns of `PairExample` (`label` may be missing at prediction time).
        max_length: tokens a sequence at most, special ones included.

    Returns:
        Columns `input_ids` (list of ints), `length`, `example` (row number within this call)
        and, where given, `labels`.
    """
    pairs = zip(examples["text_a"], examples["text_b"], strict=True)
    texts = [(a, b) if b else a for a, b in pairs]
    encoded = tokenizer(texts, truncation="longest_first", max_length=max_length)
    features: dict[str, list[Any]] = {
        "input_ids": encoded["input_ids"],
        "length": [len(ids) for ids in encoded["input_ids"]],
        "example": list(range(len(texts))),
    }
    if "label" in examples:
        features["labels"] = list(examples["label"])
    return features
