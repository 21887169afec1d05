"""MLQA against values worked out by hand from the definition of mlqa_evaluation_v1.py."""

from __future__ import annotations

import logging
import re
import string
import sys
import unicodedata
from collections import Counter
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapter_stilts.errors import UserError
from adapter_stilts.metrics import get_metric
from adapter_stilts.metrics.squad import MLQA_LANGUAGES, mlqa_scores, normalize_mlqa

WORDS = """
the a el las của những der ein U.S. Fox $5 «x»
的 中国 中 國 㐀 龥 龦 ， 。 الكتاب كتاب ال क ख।
"""
words = st.sampled_from(WORDS.split())
answers = st.lists(words, max_size=5).map(" ".join) | st.lists(words, max_size=4).map("".join)
text = answers | st.text(max_size=12)


def ask(
    predicted: dict[str, str], gold: dict[str, list[str]], language: str | None = "en"
) -> dict[str, float]:
    return get_metric("mlqa").compute(
        predictions=[{"id": i, "prediction_text": p} for i, p in predicted.items()],
        references=[{"id": i, "answers": {"text": g, "answer_start": []}} for i, g in gold.items()],
        language=language,
    )


@pytest.mark.parametrize(
    ("language", "raw", "normal"),
    [
        ("en", "The  Cat\tsat\n", "cat sat"),
        ("en", "“The” cat’s", "cats"),  # punctuation of all scripts (SQuAD: ASCII's only)
        ("en", "U.S.", "us"),
        ("en", "$5 < €6", "5 €6"),  # ASCII's symbols go, others stay
        ("en", "der the las", "der las"),  # only the language's own articles
        ("de", "Der Hund, dessen Ball", "hund dessen ball"),
        ("de", "the", "the"),
        ("de", "dem-Haus", "demhaus"),  # joined before articles are looked for
        ("es", "¿Los Ángeles o la luna?", "ángeles o luna"),
        ("es", "al", "al"),
        ("vi", "Những cái cây của Nam", "cây nam"),
        ("vi", "là", ""),
        ("vi", "la\u0300", "la\u0300"),  # decomposed it is not the article
        ("hi", "ताज महल।", "ताज महल"),  # the danda is punctuation; there are no articles
        ("ar", "الكتاب", "كتاب"),
        ("ar", "والكتاب", "و كتاب"),  # the article goes within words too, and parts them
        ("ar", "ال", ""),
        ("ar", "كتاب، جديد؟", "كتاب جديد"),
        ("zh", "中国", "中 国"),
        ("zh", "在1998年，IBM 公司", "在 1998 年 ibm 公 司"),
        ("zh", "《红楼梦》", "红 楼 梦"),
        ("zh", "一\u9fa5\u9fa6\u3400丁", "一 \u9fa5 \u9fa6\u3400 丁"),  # only the basic block
        ("zh", "日本のカメラ", "日 本 のカメラ"),
        ("zh", "the the", "the the"),
        ("zh", "\u3000 ", ""),
        *((language, "", "") for language in MLQA_LANGUAGES),
    ],
)
def test_normal_form(language: str, raw: str, normal: str) -> None:
    assert normalize_mlqa(raw, language) == normal


@pytest.mark.parametrize(
    ("language", "prediction", "golds", "exact", "f1"),
    [
        ("de", "das Haus", ["Haus"], 1, 1),
        ("en", "das Haus", ["Haus"], 0, 2 / 3),
        # characters: 中 国 against 中 国 人: P 1, R 2/3
        ("zh", "中国", ["中国人"], 0, 4 / 5),
        # white space does not part them
        ("zh", "中 国", ["中国"], 1, 1),
        # "و كتاب" and "كتاب": P 1/2, R 1
        ("ar", "والكتاب", ["الكتاب"], 0, 2 / 3),
        # the best of each, over the gold answers
        ("en", "red dog", ["dog", "big red dog"], 0, 4 / 5),
        # tokens count as often as they stand in both
        ("en", "x x y", ["x y y"], 0, 2 / 3),
        # both empty in their normal form: exact, but they share no token
        ("en", "The", ["a"], 1, 0),
        ("en", "", ["..."], 1, 0),
        ("en", "", ["dog"], 0, 0),
        ("ar", "ال", ["ال"], 1, 0),
    ],
)
def test_scores(language: str, prediction: str, golds: list[str], exact: int, f1: float) -> None:
    assert mlqa_scores(prediction, golds, language=language) == pytest.approx((exact, f1))


def test_means_and_missing(caplog: pytest.LogCaptureFixture) -> None:
    # 1, 2/3, missing: EM 1/3, F1 (5/3)/3
    gold = {"x": ["Haus"], "y": ["rotes Haus"], "z": ["Hund"]}
    with caplog.at_level(logging.WARNING):
        scores = ask({"x": "das Haus", "y": "Haus", "other": "Hund"}, gold, "de")
    assert scores == {"f1": pytest.approx(500 / 9), "exact_match": pytest.approx(100 / 3)}
    assert caplog.messages == ["1 of 3 questions have no prediction and count as wrong: z"]


def test_the_language_may_be_the_configuration() -> None:
    metric = type(get_metric("mlqa"))(config_name="de")
    rows: dict[str, Any] = {
        "predictions": [{"id": "x", "prediction_text": "das Haus"}],
        "references": [{"id": "x", "answers": {"text": ["Haus"], "answer_start": [0]}}],
    }
    assert metric.compute(**rows)["exact_match"] == 100.0
    assert metric.compute(**rows, language="en")["exact_match"] == 0.0


def test_a_language_must_be_given() -> None:
    with pytest.raises(ValueError, match="say which language"):
        ask({"x": "a"}, {"x": ["b"]}, None)


def test_an_unknown_language_is_answered_with_the_known_ones() -> None:
    with pytest.raises(UserError, match="no answer language of MLQA 'fr': choose from ar, de, en"):
        ask({"x": "a"}, {"x": ["b"]}, "fr")


def test_a_question_without_gold_answers() -> None:
    with pytest.raises(ValueError, match="reference 'x' has no answer"):
        ask({"x": "a"}, {"x": []})


# A second reading of the script: the steps as it takes them, character by character.

ARTICLES = {
    "en": "a|an|the",
    "es": "un|una|unos|unas|el|la|los|las",
    "vi": "của|là|cái|chiếc|những",
    "de": "ein|eine|einen|einem|eines|einer|der|die|das|den|dem|des",
}


@cache
def punctuation() -> set[str]:
    every = (chr(code) for code in range(sys.maxunicode))
    return {c for c in every if unicodedata.category(c)[0] == "P"} | set(string.punctuation)


def slow_form(text: str, language: str) -> str:
    text = "".join(c for c in text.lower() if c not in punctuation())
    if language == "ar":
        text = re.sub(r"\sال^|ال", " ", text)
    elif language in ARTICLES:
        text = re.sub(rf"\b({ARTICLES[language]})\b", " ", text)
    if language != "zh":
        return " ".join(text.split())
    tokens, word = [], ""
    for char in text:
        if "\u4e00" <= char <= "\u9fa5":
            tokens += [*word.split(), char]
            word = ""
        else:
            word += char
    return " ".join(tokens + word.split())


@settings(deadline=None, max_examples=200)
@given(st.sampled_from(MLQA_LANGUAGES), text, st.lists(text, min_size=1, max_size=3))
def test_is_the_definition(language: str, prediction: str, golds: list[str]) -> None:
    form = slow_form(prediction, language)
    exact, best = False, 0.0
    for gold in (slow_form(gold, language) for gold in golds):
        exact = exact or form == gold
        common = sum((Counter(form.split()) & Counter(gold.split())).values())
        if common:
            precision, recall = common / len(form.split()), common / len(gold.split())
            best = max(best, 2 * precision * recall / (precision + recall))
    assert mlqa_scores(prediction, golds, language=language) == (float(exact), best)


@settings(deadline=None)
@given(st.sampled_from(MLQA_LANGUAGES), st.lists(answers, min_size=1, max_size=3))
def test_a_gold_answer_is_right(language: str, golds: list[str]) -> None:
    exact, f1 = mlqa_scores(golds[-1], golds, language=language)
    assert exact == 1
    assert f1 == (1 if normalize_mlqa(golds[-1], language) else 0)
