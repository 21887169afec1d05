"""SQuAD 1.1 against values worked out by hand from the definition of evaluate-v1.1.py."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers.data.metrics import squad_metrics

from adapter_stilts.metrics import get_metric
from adapter_stilts.metrics.squad import normalize_answer, squad_scores

reference: Any = squad_metrics  # it has no types

words = st.sampled_from(["a", "The", "an", "fox", "Fox,", "U.S.", ".", "", "den"])
answers = st.lists(words, max_size=4).map(" ".join)
text = answers | st.text()


def ask(predicted: dict[str, str], gold: dict[str, list[str]]) -> dict[str, float]:
    return get_metric("squad").compute(
        predictions=[{"id": i, "prediction_text": p} for i, p in predicted.items()],
        references=[{"id": i, "answers": {"text": g, "answer_start": []}} for i, g in gold.items()],
    )


@pytest.mark.parametrize(
    ("raw", "normal"),
    [
        ("The  Cat\tsat\n", "cat sat"),
        ("U.S.", "us"),  # punctuation is deleted, not replaced by a space ...
        ("well-known", "wellknown"),
        ("a.", ""),  # ... and goes before the articles, so "a." is an article
        ("t.h.e", ""),
        ("an-other", "another"),  # joined before articles are looked for
        ("the a an", ""),
        ("theory of an ant", "theory of ant"),  # whole words only
        ("cat's", "cats"),
        ("“a”", "“ ”"),  # only ASCII punctuation; the quotes still bound the word
        ("a\u0301 b", "\u0301 b"),  # a combining accent is no word character
        ("the\u00a0end", "end"),  # a no-break space is whitespace
        ("der Hund", "der hund"),  # the articles are English
        ("猫、犬", "猫、犬"),
        ("the猫", "the猫"),  # no word boundary between Latin and Chinese letters
        ("the_end", "theend"),  # "_" is punctuation, gone before the articles
    ],
)
def test_normal_form(raw: str, normal: str) -> None:
    assert normalize_answer(raw) == normal


@settings(deadline=None)
@given(text)
def test_normal_form_is_the_reference_implementations(raw: str) -> None:
    """transformers ships the official function."""
    assert normalize_answer(raw) == reference.normalize_answer(raw)


@pytest.mark.parametrize(
    ("prediction", "golds", "exact", "f1"),
    [
        ("The Eiffel Tower", ["eiffel tower."], 1, 1),
        # tokens: {big, red, dog} and {red, dog}: P = 2/3, R = 1, F1 = 2 * 2/3 / (5/3) = 4/5
        ("the big red dog", ["a red dog"], 0, 4 / 5),
        # bags: {x, x, y} and {x, z}: one common x: P = 1/3, R = 1/2, F1 = 1/3 / (5/6) = 2/5
        ("x x y", ["x z"], 0, 2 / 5),
        # order does not matter to F1: all tokens common
        ("dog red", ["red dog"], 0, 1),
        ("cat", ["dog"], 0, 0),
        # the best gold answer for each score on its own; F1 1 for the third
        ("cat", ["dog", "black cat", "cat"], 1, 1),
        # P = 1, R = 1/2: F1 = 2/3; P = 1, R = 1/3: F1 = 1/2; the greater counts
        ("cat", ["big black cat", "black cat"], 0, 2 / 3),
        ("", ["cat"], 0, 0),
        ("the", ["cat"], 0, 0),
        # both normal forms are empty: an exact match, but no common token, so F1 0
        ("the", ["a"], 1, 0),
        ("", ["!"], 1, 0),
        # the same beside a real gold answer
        ("", ["!", "cat"], 1, 0),
        # whitespace tokens: Chinese is one token, so nearly right is wrong
        ("北京市", ["北京"], 0, 0),
        # as XTREME scores XQuAD and TyDiQA: only ASCII punctuation goes, in every language, ...
        ("北京。", ["北京"], 0, 0),
        ("¿dónde?", ["dónde"], 0, 0),
        # ... and only the English articles: "a" of a Spanish answer, too, but not "la";
        # {la, casa} and {casa}: P = 1/2, R = 1
        ("a la casa", ["casa"], 0, 2 / 3),
        # every script's white space parts tokens
        ("北京\u3000市", ["北京 市"], 1, 1),
    ],
)
def test_scores(prediction: str, golds: list[str], exact: float, f1: float) -> None:
    assert squad_scores(prediction, golds) == pytest.approx((exact, f1))


def test_means_in_percent() -> None:
    # q1: EM 1, F1 1. q2: EM 0, F1 4/5. EM = 1/2; F1 = 9/10.
    scores = ask({"q1": "Rome", "q2": "big red dog"}, {"q1": ["rome"], "q2": ["red dog"]})
    assert scores == {"f1": pytest.approx(90.0), "exact_match": 50.0}


def test_rows_are_matched_by_id() -> None:
    scores = ask({"q2": "b", "q1": "c"}, {"q1": ["c"], "q2": ["b"]})
    assert scores == {"f1": 100.0, "exact_match": 100.0}


def test_missing_predictions_are_wrong(caplog: pytest.LogCaptureFixture) -> None:
    # one of five is right: 100 / 5
    gold = {f"q{i}": ["b"] for i in range(5)}
    with caplog.at_level(logging.WARNING):
        assert ask({"q0": "b"}, gold) == {"f1": 20.0, "exact_match": 20.0}
    assert caplog.messages == [
        "4 of 5 questions have no prediction and count as wrong: q1, q2, q3, ..."
    ]
    with caplog.at_level(logging.WARNING):
        assert ask({}, {"q0": ["b"]}) == {"f1": 0.0, "exact_match": 0.0}


def test_unknown_predictions_are_ignored(caplog: pytest.LogCaptureFixture) -> None:
    assert ask({"q1": "b", "other": "x"}, {"q1": ["b"]}) == {"f1": 100.0, "exact_match": 100.0}
    assert not caplog.messages


def test_duplicates() -> None:
    p, r = (
        {"id": "q1", "prediction_text": "b"},
        {"id": "q1", "answers": {"text": ["b"], "answer_start": [0]}},
    )
    with pytest.raises(ValueError, match="two predictions have the id 'q1'"):
        get_metric("squad").compute(predictions=[p, p], references=[r])
    with pytest.raises(ValueError, match="two references have the id 'q1'"):
        get_metric("squad").compute(predictions=[p], references=[r, r])


def test_unanswerable_questions_belong_to_squad_v2() -> None:
    with pytest.raises(ValueError, match="'q1' has no answer: score it with squad_v2"):
        ask({"q1": ""}, {"q1": []})


@pytest.mark.parametrize(
    ("prediction", "answers_", "message"),
    [
        ({"prediction_text": "b"}, {"text": ["b"]}, "prediction 0 .* has no 'id'"),
        ("b", {"text": ["b"]}, "prediction 0 .* has no 'id'"),
        ({"id": 1, "prediction_text": "b"}, {"text": ["b"]}, "prediction 0 .* has no 'id'"),
        ({"id": "q1"}, {"text": ["b"]}, "prediction 'q1': 'prediction_text' must be a string"),
        ({"id": "q1", "prediction_text": None}, {"text": ["b"]}, "'prediction_text' must be"),
        ({"id": "q1", "prediction_text": "b"}, ["b"], "reference 'q1': 'answers' must hold"),
        ({"id": "q1", "prediction_text": "b"}, {"text": "b"}, "'text', a list of strings"),
        ({"id": "q1", "prediction_text": "b"}, {"text": [None]}, "'text', a list of strings"),
    ],
)
def test_malformed_rows_are_named(prediction: Any, answers_: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        get_metric("squad").compute(
            predictions=[prediction], references=[{"id": "q1", "answers": answers_}]
        )


@settings(deadline=None)
@given(text, st.lists(text, min_size=1, max_size=3))
def test_bounds_and_order(prediction: str, golds: list[str]) -> None:
    exact, f1 = squad_scores(prediction, golds)
    assert exact in (0, 1)
    assert 0 <= f1 <= 1
    assert squad_scores(prediction, golds[::-1]) == (exact, f1)
    if exact and normalize_answer(prediction):
        assert f1 == 1


@settings(deadline=None)
@given(text.filter(normalize_answer))
def test_an_answer_matches_itself(answer: str) -> None:
    assert ask({"q": answer}, {"q": ["other", answer]}) == {"f1": 100.0, "exact_match": 100.0}


@settings(deadline=None)
@given(text, text)
def test_f1_is_the_reference_implementations_where_tokens_are(a: str, b: str) -> None:
    """The 2.0 script, which transformers ships, differs only where a side has no tokens."""
    if normalize_answer(a) and normalize_answer(b):
        expected = (reference.compute_exact(b, a), reference.compute_f1(b, a))
        assert squad_scores(a, [b]) == expected
