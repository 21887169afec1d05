"""Tagging: labels on first pieces, sentences cut between words and joined again."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from adapter_stilts.heads.tagging import IGNORED, decode
from features_kit import encode_as

encode = encode_as("tagging")

TAGS = ["A", "B", "C"]


def labels_at_starts(features: dict[str, list[Any]], window: int) -> list[int]:
    return [features["labels"][window][start] for start in features["word_starts"][window]]


def test_first_pieces_carry_the_tags(tokenizer: Any) -> None:
    words, tags = ["Unbelievably", "long", "words"], ["C", "A", "B"]
    features = encode({"words": [words], "tags": [tags]}, tokenizer, max_length=64, tags=TAGS)
    sizes = [len(tokenizer([w], is_split_into_words=True)["input_ids"]) - 2 for w in words]
    assert sizes[0] > 1
    starts = [1, 1 + sizes[0], 1 + sizes[0] + sizes[1]]
    assert features["word_starts"] == [starts]
    assert features["first_word"] == [0]
    expected = [IGNORED] * (sum(sizes) + 2)
    for start, label in zip(starts, (2, 0, 1), strict=True):
        expected[start] = label
    assert features["labels"] == [expected]
    assert features["input_ids"] == [tokenizer(words, is_split_into_words=True)["input_ids"]]
    assert features["length"] == [len(expected)]


def test_no_labels_without_tag_ids(tokenizer: Any) -> None:
    assert "labels" not in encode({"words": [["a"]]}, tokenizer, max_length=16)


def test_unseen_tag_is_ignored_in_the_loss(tokenizer: Any) -> None:
    features = encode(
        {"words": [["a", "b"]], "tags": [["X", "B"]]}, tokenizer, max_length=16, tags=TAGS
    )
    assert labels_at_starts(features, 0) == [IGNORED, 1]


def test_word_without_pieces_gets_the_unknown_one(embedded_tokenizer: Any) -> None:
    words = ["a", "\x01", "b"]
    bare = embedded_tokenizer(words, is_split_into_words=True, add_special_tokens=False)
    assert 1 not in bare.word_ids(0)  # else the test shows nothing
    features = encode(
        {"words": [words], "tags": [["A", "B", "C"]]},
        embedded_tokenizer,
        max_length=16,
        tags=TAGS,
    )
    assert labels_at_starts(features, 0) == [0, 1, 2]
    place = features["word_starts"][0][1]
    assert features["input_ids"][0][place] == embedded_tokenizer.unk_token_id


def test_long_sentences_are_cut_between_words_and_joined_again(tokenizer: Any) -> None:
    words = [f"word{n}" for n in range(30)]
    tags = [TAGS[n % 3] for n in range(30)]
    sentences = [["short"], words, []]
    features = encode(
        {"words": sentences, "tags": [["B"], tags, []]}, tokenizer, max_length=16, tags=TAGS
    )
    assert max(features["length"]) <= 16
    assert features["example"].count(1) > 2
    counts = [len(starts) for starts in features["word_starts"]]
    in_second = [n for n, row in enumerate(features["example"]) if row == 1]
    assert [features["first_word"][n] for n in in_second] == [
        sum(counts[m] for m in in_second[:k]) for k in range(len(in_second))
    ]
    window_tags = [labels_at_starts(features, n) for n in range(len(counts))]
    joined = decode(window_tags, features, TAGS, [len(s) for s in sentences])
    assert joined == [["B"], tags, []]


def test_order_of_windows_does_not_matter(tokenizer: Any) -> None:
    words = [f"word{n}" for n in range(30)]
    tags = [TAGS[n % 3] for n in range(30)]
    features = encode({"words": [words], "tags": [tags]}, tokenizer, max_length=16, tags=TAGS)
    order = list(reversed(range(len(features["example"]))))
    turned = {key: [column[n] for n in order] for key, column in features.items()}
    window_tags = [labels_at_starts(turned, n) for n in range(len(order))]
    assert decode(window_tags, turned, TAGS, [30]) == [tags]


def test_word_longer_than_a_window_keeps_its_first_pieces(tokenizer: Any) -> None:
    long = "antidisestablishmentarianism" * 4
    features = encode(
        {"words": [["a", long, "b"]], "tags": [["A", "B", "C"]]},
        tokenizer,
        max_length=10,
        tags=TAGS,
    )
    whole = tokenizer([long], is_split_into_words=True, add_special_tokens=False)["input_ids"]
    assert len(whole) > 8
    assert features["input_ids"][1] == [0, *whole[:8], 2]
    assert [labels_at_starts(features, n) for n in range(3)] == [[0], [1], [2]]


@settings(max_examples=60, deadline=None)
@given(lengths=st.lists(st.integers(1, 12), min_size=1, max_size=12), max_length=st.integers(4, 20))
def test_every_word_is_in_exactly_one_window(
    tiny_tokenizer: Any, lengths: list[int], max_length: int
) -> None:
    words = ["x" * length for length in lengths]
    features = encode({"words": [words]}, tiny_tokenizer, max_length=max_length)
    places = [
        first + n
        for first, starts in zip(features["first_word"], features["word_starts"], strict=True)
        for n in range(len(starts))
    ]
    assert places == list(range(len(words)))
    assert max(features["length"]) <= max_length
