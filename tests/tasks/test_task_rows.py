"""Reading one value of a row."""

from __future__ import annotations

import re
from typing import Any

import pytest

from adapter_stilts.errors import shown
from adapter_stilts.tasks.rows import label_index, text, texts

NLI = ("entailment", "neutral", "contradiction")


@pytest.mark.parametrize(("value", "index"), [("neutral", 1), (2, 2), ("0", 0)])
def test_label_by_name_or_number(value: Any, index: int) -> None:
    assert label_index(value, NLI) == index


@pytest.mark.parametrize("value", ["", "12", "3", "-1", 3, -1, True, 1.0, None, "²", [1]])
def test_label_outside_the_set(value: Any) -> None:
    with pytest.raises(ValueError, match=re.escape("is outside the set (0 to 2)")):
        label_index(value, "012")


def test_label_error_names_the_set() -> None:
    with pytest.raises(ValueError, match=re.escape("(0 entailment, 1 neutral, 2 contradiction)")):
        label_index("maybe", NLI)


@pytest.mark.parametrize("value", [None, 3, ["a"]])
def test_text_must_be_a_text(value: Any) -> None:
    with pytest.raises(ValueError, match="column 'premise'"):
        text({"premise": value}, "premise")


@pytest.mark.parametrize("value", [None, "abcd", ["a", 1]])
def test_texts_must_be_a_list_of_texts(value: Any) -> None:
    with pytest.raises(ValueError, match="a list of texts was expected"):
        texts({"endings": value}, "endings")


def test_shown_is_one_short_line() -> None:
    assert "\n" not in shown("a\nb")
    assert shown("x" * 1000, 3) == "'xxx…'"
    assert shown([1] * 1000, 5) == "[1, …"
