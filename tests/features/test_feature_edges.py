"""What is not seen at the edges of an answer is no part of it."""

from __future__ import annotations

from typing import Any

import pytest

from adapter_stilts.heads.base import inner
from adapter_stilts.heads.span import Span, answer_text
from features_kit import encode_as

INVISIBLE = [
    " ", "\t", "\n", "\u00a0", "\u3000", "\u200b", "\ufeff", "\u200e", "\u200f", "\u202a", "\u202c",
    "\u2066", "\u2069", "\u061c", "\u00ad", "\u2060", "\u180e", "\u034f", "\u3164", "\x00", "\x7f",
    "\u200d",
]  # fmt: skip


@pytest.mark.parametrize("char", INVISIBLE)
@pytest.mark.parametrize("word", ["Pixel", "Лунд", "القاهرة", "किताब", "x"])
def test_invisible_edges_are_cut(char: str, word: str) -> None:
    text = f"is {char}{char} {word}{char} {char}."
    whole = Span(3, len(text) - 1, 0.0)
    assert answer_text(text, whole) == word
    begin, end = inner(text, 3, len(text) - 1)
    assert text[begin:end] == word
    assert answer_text(f"a{char}b", Span(0, 3, 0.0)) == f"a{char}b"  # inside it stays


@pytest.mark.parametrize(
    "answer",
    [
        "❤\ufe0f",
        "葛\U000e0100",
        "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
        "क्\u200d",
        "می\u200cخواهم",
        "\u06dd١",
        "«Lund»",
    ],
)
def test_what_is_seen_stays(answer: str) -> None:
    assert answer_text(f"a {answer} b", Span(1, len(answer) + 3, 0.0)) == answer


@pytest.mark.parametrize("text", ["", " ", "\u200b\ufeff", "\ufe0f"])
def test_nothing_is_left_of_what_cannot_be_seen(text: str) -> None:
    begin, end = inner(f"a{text}b", 1, 1 + len(text))
    assert begin <= end and f"a{text}b"[begin:end].strip("\ufe0f") == ""


CONTEXT = "Marta lives in Lund today. Her cat is called \u200bPixel\u200f."


@pytest.mark.parametrize(
    ("answer", "start", "taught"),
    [
        ("Lund ", 15, "Lund"),
        (" Lund ", 14, "Lund"),
        ("Lund", 15, "Lund"),
        ("\u200bPixel\u200f", 45, "Pixel"),
        ("called \u200b", 38, "called"),
    ],
)
def test_the_answer_alone_is_taught(
    embedded_tokenizer: Any, answer: str, start: int, taught: str
) -> None:
    """The words before and after it are not, though tokens begin with the space before them."""
    assert CONTEXT[start : start + len(answer)] == answer
    rows: dict[str, list[Any]] = {
        "question": ["Where?"],
        "context": [CONTEXT],
        "answers": [[answer]],
        "answer_starts": [[start]],
    }
    found = encode_as("span")(rows, embedded_tokenizer, max_length=64)
    first, last = found["start_positions"][0], found["end_positions"][0]
    offsets = found["offsets"][0]
    at = found["context_start"][0]
    begin, end = offsets[2 * (first - at)], offsets[2 * (last - at) + 1]
    assert answer_text(CONTEXT, Span(begin, end, 0.0)) == taught
