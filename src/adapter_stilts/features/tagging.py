"""Tagging: the first piece of a word carries its tag; long sentences become several windows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from transformers import PreTrainedTokenizerFast

from adapter_stilts.features.special import template

IGNORED = -100
"""The label that the loss leaves out: special tokens and all but a word's first piece."""


def encode(
    examples: Mapping[str, Sequence[Any]],
    tokenizer: PreTrainedTokenizerFast,
    *,
    max_length: int,
    tag_ids: Mapping[str, int] | None = None,
) -> dict[str, list[Any]]:
    """Windows over each sentence's pieces, cut between words.

    Every word is in exactly one window: nothing is dropped. A single word with more pieces than
    a window holds keeps its first ones. A word of which the tokenizer makes no piece at all
    (a lone variation selector, say) gets the unknown piece. A tag outside `tag_ids` (dev data
    may hold some) gets `IGNORED` in the loss and counts as wrong in the score.

    Returns:
        Columns `input_ids`, `length`, `example`, `word_starts` (positions of the first pieces of
        the window's words), `first_word` (number of the window's first word in its sentence)
        and, where tags are given, `labels` (one a piece).
    """
    words = [list(sentence) for sentence in examples["words"]]
    encoded = tokenizer(words, is_split_into_words=True, add_special_tokens=False, verbose=False)
    special = template(tokenizer, pair=False)
    room = max_length - special.size
    features: dict[str, list[Any]] = {
        key: [] for key in ("input_ids", "length", "example", "word_starts", "first_word")
    }
    if tag_ids is not None:
        features["labels"] = []
    for row, sentence in enumerate(words):
        pieces = _pieces_by_word(encoded, row, len(sentence), tokenizer.unk_token_id, room)
        for first, last in _windows([len(p) for p in pieces], room):
            flat = [piece for word in pieces[first:last] for piece in word]
            input_ids = special.around(flat)
            offsets = np.cumsum([len(special.before), *(len(word) for word in pieces[first:last])])[
                :-1
            ].tolist()
            features["input_ids"].append(input_ids)
            features["length"].append(len(input_ids))
            features["example"].append(row)
            features["word_starts"].append(offsets)
            features["first_word"].append(first)
            if tag_ids is not None:
                labels = [IGNORED] * len(input_ids)
                for start, tag in zip(offsets, examples["tags"][row][first:last], strict=True):
                    labels[start] = tag_ids.get(tag, IGNORED)
                features["labels"].append(labels)
    return features


def _pieces_by_word(encoded: Any, row: int, words: int, unknown: int, room: int) -> list[list[int]]:
    pieces: list[list[int]] = [[] for _ in range(words)]
    for piece, word in zip(encoded["input_ids"][row], encoded.word_ids(row), strict=True):
        pieces[word].append(piece)
    return [word[:room] or [unknown] for word in pieces]


def _windows(sizes: Sequence[int], room: int) -> list[tuple[int, int]]:
    """Consecutive word ranges whose pieces fit into `room`."""
    windows, first, used = [], 0, 0
    for number, size in enumerate(sizes):
        if used + size > room:
            windows.append((first, number))
            first, used = number, 0
        used += size
    windows.append((first, len(sizes)))
    return windows


def decode(
    window_tags: Sequence[Sequence[int]],
    windows: Mapping[str, Sequence[Any]],
    tags: Sequence[str],
    word_counts: Sequence[int],
) -> list[list[str]]:
    """Joins the windows' tags into one tag a word.

    Args:
        window_tags: for every window, the tag number at each of its word starts.
        windows: the columns `example` and `first_word` of `encode`.
        tags: tag names by number.
        word_counts: words of each sentence.
    """
    decoded = [[""] * count for count in word_counts]
    rows = zip(window_tags, windows["example"], windows["first_word"], strict=True)
    for numbers, example, first in rows:
        for place, number in enumerate(numbers):
            decoded[example][first + place] = tags[number]
    return decoded
