"""Accuracy, F1 of pairs, and accuracy of tags, against values worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapter_stilts.metrics import get_metric

binary = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), min_size=1)
tag = st.sampled_from(["NOUN", "VERB", "X"])
sentences = st.lists(st.lists(st.tuples(tag, tag), max_size=4), min_size=1)


def test_accuracy() -> None:
    # right: 2 and 0; wrong: 1 for 0. 2 of 3.
    scores = get_metric("accuracy").compute(predictions=[2, 1, 0], references=[2, 0, 0])
    assert scores == {"accuracy": pytest.approx(100 * 2 / 3)}


def test_accuracy_has_the_last_digit_of_xtreme() -> None:
    # XTREME's evaluate.py divides first: 7 / 25 is 0.28, and 0.28 * 100 is a little above 28.
    scores = get_metric("accuracy").compute(predictions=[1] * 7 + [0] * 18, references=[1] * 25)
    assert scores == {"accuracy": 28.000000000000004}


@pytest.mark.parametrize(
    ("predictions", "message"),
    [
        ([0.5, 1.5], "predictions must be one whole number a row .* got float64"),
        (["0", "1"], "got <U1"),
        ([[0.1, 0.9], [0.8, 0.2]], r"take the argmax first.* of shape \(2, 2\)"),
        ([[0], [0, 1]], "got object"),
        ([None, 1], "got object"),
    ],
)
def test_labels_are_whole_numbers(predictions: list[Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        get_metric("accuracy").compute(predictions=predictions, references=[0, 1])


def test_pair_f1() -> None:
    # TP: rows 0, 1; FP: row 2; FN: row 3; TN: row 4.
    # P = 2/3, R = 2/3, F1 = 2/3; right: rows 0, 1 and 4 of 5.
    scores = get_metric("f1").compute(predictions=[1, 1, 1, 0, 0], references=[1, 1, 0, 1, 0])
    assert scores == {"f1": pytest.approx(100 * 2 / 3), "accuracy": 60.0}


def test_pair_f1_is_of_the_class_one() -> None:
    # TP 1, FP 3, FN 0: P = 1/4, R = 1, F1 = 2 * 1/4 / (5/4) = 0.4. Of class 0 it would be 0.
    scores = get_metric("f1").compute(predictions=[1, 1, 1, 1], references=[1, 0, 0, 0])
    assert scores == {"f1": pytest.approx(40.0), "accuracy": 25.0}


@pytest.mark.parametrize("predictions", [[0, 0], [1, 1]])
def test_pair_f1_without_a_true_positive(predictions: list[int]) -> None:
    # No 1 in the gold: F1 is 0/0 for [0, 0], 0 by convention, and 0/2 for [1, 1].
    assert get_metric("f1").compute(predictions=predictions, references=[0, 0])["f1"] == 0.0


@pytest.mark.parametrize("other", [-1, 2])
def test_pair_f1_knows_two_labels(other: int) -> None:
    with pytest.raises(ValueError, match=f"labels 0 and 1: references hold {other}"):
        get_metric("f1").compute(predictions=[0, 1], references=[0, other])


@settings(deadline=None)
@given(binary)
def test_pair_f1_is_that_of_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    """GLUE's own scoring calls scikit-learn, which is no dependency of ours."""
    sklearn = pytest.importorskip("sklearn.metrics")
    predictions, references = (list(side) for side in zip(*pairs, strict=True))
    scores = get_metric("f1").compute(predictions=predictions, references=references)
    f1 = sklearn.f1_score(references, predictions, zero_division=0.0)
    assert scores["f1"] == pytest.approx(100 * f1)
    accuracy = sklearn.accuracy_score(references, predictions)
    assert scores["accuracy"] == pytest.approx(100 * accuracy)
    assert get_metric("accuracy").compute(predictions=predictions, references=references) == {
        "accuracy": scores["accuracy"]
    }


def test_tag_accuracy_weighs_words() -> None:
    # Words right: 1 of 1 and 1 of 3, so 2 of 4; the mean over sentences would be 66.7.
    scores = get_metric("tag_accuracy").compute(
        predictions=[["DET"], ["NOUN", "VERB", "VERB"]],
        references=[["DET"], ["NOUN", "NOUN", "ADJ"]],
    )
    assert scores == {"tag_accuracy": 50.0}


def test_tag_accuracy_passes_over_empty_sentences() -> None:
    metric = get_metric("tag_accuracy")
    assert metric.compute(predictions=[[], ["X"]], references=[[], ["X"]]) == {
        "tag_accuracy": 100.0
    }
    with pytest.raises(ValueError, match="no sentence has a word"):
        metric.compute(predictions=[[]], references=[[]])


@pytest.mark.parametrize(
    ("prediction", "message"),
    [
        (["X"], "sentence 1 .counted from 0.: 1 predicted tags, 2 gold tags"),
        (["X", "X", "X"], "sentence 1 .* 3 predicted tags, 2 gold tags"),
        ("XX", "sentence 1 .* must be a list of strings, got 'XX'"),
        ([0, 1], r"sentence 1 .* must be a list of strings, got \[0, 1\]"),
        (None, "sentence 1 "),
    ],
)
def test_tag_accuracy_names_the_bad_sentence(prediction: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        get_metric("tag_accuracy").compute(
            predictions=[["X"], prediction], references=[["X"], ["NOUN", "VERB"]]
        )


@settings(deadline=None)
@given(sentences)
def test_tag_accuracy_bounds(rows: list[list[tuple[str, str]]]) -> None:
    if not any(rows):
        return
    predictions = [[pair[0] for pair in row] for row in rows]
    references = [[pair[1] for pair in row] for row in rows]
    score = get_metric("tag_accuracy").compute(predictions=predictions, references=references)
    assert 0 <= score["tag_accuracy"] <= 100
    assert get_metric("tag_accuracy").compute(predictions=references, references=references) == {
        "tag_accuracy": 100.0
    }
