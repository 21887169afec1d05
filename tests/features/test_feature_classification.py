"""Texts and pairs for a classification head."""

from __future__ import annotations

from typing import Any

from features_kit import encode_as

encode = encode_as("classification")


def test_pair_and_single(tokenizer: Any) -> None:
    examples: dict[str, list[Any]] = {
        "text_a": ["A cat sat.", "Alone."],
        "text_b": ["It moved.", ""],
        "label": [2, 0],
    }
    features = encode(examples, tokenizer, max_length=64)
    a, b, c = (
        tokenizer(text, add_special_tokens=False)["input_ids"]
        for text in ("A cat sat.", "It moved.", "Alone.")
    )
    assert features["input_ids"] == [[0, *a, 2, 2, *b, 2], [0, *c, 2]]
    assert features["length"] == [len(a) + len(b) + 4, len(c) + 2]
    assert features["example"] == [0, 1]
    assert features["labels"] == [2, 0]


def test_no_labels_at_prediction(tokenizer: Any) -> None:
    assert "labels" not in encode({"text_a": ["a"], "text_b": ["b"]}, tokenizer, max_length=9)


def test_the_longer_text_is_cut_first(tokenizer: Any) -> None:
    long, short = " ".join(["word"] * 50), "It moved."
    b = tokenizer(short, add_special_tokens=False)["input_ids"]
    a = tokenizer(long, add_special_tokens=False)["input_ids"]
    kept = 20 - 4 - len(b)
    features = encode({"text_a": [long, short], "text_b": [short, long]}, tokenizer, max_length=20)
    assert features["input_ids"] == [
        [0, *a[:kept], 2, 2, *b, 2],
        [0, *b, 2, 2, *a[:kept], 2],
    ]
    assert features["length"] == [20, 20]
