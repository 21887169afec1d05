"""Queries and texts for sentence vectors."""

from __future__ import annotations

from typing import Any

from adapter_stilts.features import collate
from adapter_stilts.heads.base import padded_length
from features_kit import encode_as

encode = encode_as("embedding")


def columns(*rows: tuple[str, str, str]) -> dict[str, list[Any]]:
    query, text, context = (list(column) for column in zip(*rows, strict=True))
    return {"id": ["i"] * len(rows), "query": query, "text": text, "context": context}


def ids(tokenizer: Any, *texts: str) -> list[int]:
    found: list[int] = tokenizer(*texts)["input_ids"]
    return found


def test_pairs_to_learn_from_have_both_sides(tokenizer: Any) -> None:
    given = columns(("Who ran?", "Ann ran.", "It rained. Ann ran."), ("Why?", "It rained.", ""))
    features = encode(given, tokenizer, max_length=64)
    assert features["query_ids"] == [ids(tokenizer, "Who ran?"), ids(tokenizer, "Why?")]
    pair = ids(tokenizer, "Ann ran.", "It rained. Ann ran.")
    assert features["input_ids"] == [pair, ids(tokenizer, "It rained.")]
    assert features["length"] == [
        padded_length(len(query)) + padded_length(len(text))
        for query, text in zip(features["query_ids"], features["input_ids"], strict=True)
    ]
    assert features["example"] == [0, 1]


def test_a_single_side_is_the_input(tokenizer: Any) -> None:
    queries = encode(columns(("Who ran?", "", ""), ("Why?", "", "")), tokenizer, max_length=64)
    texts = encode(columns(("", "Who ran?", ""), ("", "Why?", "")), tokenizer, max_length=64)
    assert queries == texts
    assert set(queries) == {"input_ids", "length", "example"}
    assert queries["input_ids"][0] == ids(tokenizer, "Who ran?")
    assert queries["length"] == [len(row) for row in queries["input_ids"]]


def test_texts_that_are_all_empty_keep_their_special_tokens(tokenizer: Any) -> None:
    assert encode(columns(("", "", "")), tokenizer, max_length=9)["input_ids"] == [[0, 2]]


def test_the_sentence_stays_whole_beside_a_long_paragraph(tokenizer: Any) -> None:
    sentence, paragraph = "Ann ran home.", " ".join(["word"] * 60)
    a, b = (tokenizer(t, add_special_tokens=False)["input_ids"] for t in (sentence, paragraph))
    (found,) = encode(columns(("", sentence, paragraph)), tokenizer, max_length=32)["input_ids"]
    assert found == [0, *a, 2, 2, *b[: 32 - 4 - len(a)], 2]
    (alone,) = encode(columns((paragraph, "", "")), tokenizer, max_length=32)["input_ids"]
    assert alone == [0, *b[:30], 2]


def test_both_sides_are_padded_for_themselves(tokenizer: Any) -> None:
    rows = [{"input_ids": [0, *range(5, 20), 2], "query_ids": [0, 7, 2]}, {}]
    rows[1] = {"input_ids": [0, 5, 2], "query_ids": [0, 8, 9, 2]}
    batch = collate(rows, pad_id=1)
    assert set(batch) == {"input_ids", "attention_mask", "query_ids", "query_mask"}
    assert batch["input_ids"].shape == (2, 24)
    assert batch["query_ids"].tolist() == [[0, 7, 2] + [1] * 5, [0, 8, 9, 2] + [1] * 4]
    assert batch["query_mask"].sum(1).tolist() == [3, 4]
