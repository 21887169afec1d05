"""SQuAD 2.0: by hand, by brute force, and against the official code that transformers ships."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers.data.metrics import squad_metrics

from adapter_stilts.metrics import get_metric
from adapter_stilts.metrics.squad import squad_v2_scores

reference: Any = squad_metrics  # it has no types

Row = tuple[str, float | None, list[str]]
"""Prediction, no-answer score, gold answers."""

words = st.sampled_from(["a", "The", "fox", "Fox,", ".", "", "den", "big"])
answer = st.lists(words, max_size=3).map(" ".join)
score = st.floats(0, 1) | st.sampled_from([0.0, 0.5, 1.0])
rows = st.lists(
    st.tuples(answer, score, st.lists(answer.filter(bool), max_size=2)), min_size=1, max_size=12
)


def ask(rows: list[Row], **options: float) -> dict[str, float]:
    predictions: list[dict[str, Any]] = [
        {"id": str(i), "prediction_text": text}
        | ({} if no_answer is None else {"no_answer_score": no_answer})
        for i, (text, no_answer, _) in enumerate(rows)
    ]
    references = [
        {"id": str(i), "answers": {"text": gold, "answer_start": [0] * len(gold)}}
        for i, (_, _, gold) in enumerate(rows)
    ]
    return get_metric("squad_v2").compute(predictions=predictions, references=references, **options)


def test_the_keys() -> None:
    assert list(ask([("b", 0.1, ["b"]), ("", 0.9, [])])) == [
        "best_f1",
        "f1",
        "exact_match",
        "has_ans_f1",
        "has_ans_exact",
        "no_ans_f1",
        "best_f1_threshold",
        "best_exact",
        "best_exact_threshold",
    ]


@pytest.mark.parametrize(
    ("prediction", "golds", "exact", "f1"),
    [
        ("the red dog", ["red dog"], 1, 1),
        # P = 2/3, R = 1: F1 = 4/5
        ("big red dog", ["a red dog"], 0, 4 / 5),
        # no gold answer: only an answer empty in its normal form is right
        ("", [], 1, 1),
        ("dog", [], 0, 0),
        ("the", [], 1, 1),
        # gold answers that are empty in their normal form do not count ...
        ("", ["the", "."], 1, 1),
        ("dog", ["the"], 0, 0),
        # ... and where another one is left, the empty answer is wrong (SQuAD 1.1: EM 1)
        ("", ["!", "dog"], 0, 0),
        ("the", ["a", "dog"], 0, 0),
        # both without tokens: F1 1 (SQuAD 1.1: 0)
        ("the", ["a"], 1, 1),
        ("dog", ["cat", "black dog"], 0, 2 / 3),
    ],
)
def test_scores(prediction: str, golds: list[str], exact: float, f1: float) -> None:
    assert squad_v2_scores(prediction, golds) == pytest.approx((exact, f1))


# no-answer score: .1 .2 .3 .4; answerable: yes, no, yes, no; raw F1: 1, 0, 4/5, 0
FOUR: list[Row] = [
    ("Rome", 0.1, ["Rome"]),
    ("Paris", 0.2, []),
    ("big red dog", 0.3, ["red dog"]),
    ("Oslo", 0.4, []),
]


def test_raw_scores_under_the_usual_threshold() -> None:
    # No score exceeds 1.0. F1: (1 + 0 + 4/5 + 0) / 4 = 0.45; EM: 1/4.
    # Answerable: F1 (1 + 4/5) / 2 = 0.9, EM 1/2. Unanswerable: 0.
    # Search: nothing answered: 2. Answer .1: 3. Answer .2: 2. .3: 2.8 (EM 2). .4: 1.8 (EM 1).
    # Best: 3 of 4 at .1.
    assert ask(FOUR) == {
        "f1": pytest.approx(45.0),
        "exact_match": 25.0,
        "has_ans_f1": pytest.approx(90.0),
        "has_ans_exact": 50.0,
        "no_ans_f1": 0.0,
        "best_f1": 75.0,
        "best_f1_threshold": 0.1,
        "best_exact": 75.0,
        "best_exact_threshold": 0.1,
    }


def test_a_threshold_blanks_what_exceeds_it() -> None:
    # 0.25: the last two become "": the third is then wrong, the fourth right.
    # F1 = (1 + 0 + 0 + 1) / 4. Answerable: 1/2; unanswerable: 1/2. The best stay.
    scores = ask(FOUR, no_answer_threshold=0.25)
    assert (scores["f1"], scores["exact_match"]) == (50.0, 50.0)
    assert (scores["has_ans_f1"], scores["has_ans_exact"], scores["no_ans_f1"]) == (50.0,) * 3
    assert (scores["best_f1"], scores["best_f1_threshold"]) == (75.0, 0.1)


def test_a_score_equal_to_the_threshold_keeps_its_answer() -> None:
    # Only .4 exceeds .3: F1 = (1 + 0 + 4/5 + 1) / 4 = 0.7.
    assert ask(FOUR, no_answer_threshold=0.3)["f1"] == pytest.approx(70.0)


def test_thresholds_are_not_rounded() -> None:
    # 0.1 as a 32-bit float would be 0.10000000149, and exceed 0.1
    scores = ask([("b", 0.1, ["b"])], no_answer_threshold=0.1)
    assert (scores["f1"], scores["best_f1_threshold"]) == (100.0, 0.1)


def test_best_f1_and_best_exact_may_differ() -> None:
    # F1: nothing 1, .1: 1 + 4/5 = 1.8 > 1. EM: nothing 1, .1: 1 + 0, not better: 0.0 stays.
    scores = ask([("big red dog", 0.1, ["red dog"]), ("b", 0.9, [])])
    assert (scores["best_f1"], scores["best_f1_threshold"]) == pytest.approx((90.0, 0.1))
    assert (scores["best_exact"], scores["best_exact_threshold"]) == (50.0, 0.0)


def test_nothing_to_gain_leaves_the_threshold_at_zero() -> None:
    # Nothing answered: 1. .1: still 1 (wrong answer). .2: 0.
    scores = ask([("b", 0.1, ["c"]), ("b", 0.2, [])])
    assert (scores["best_f1"], scores["best_f1_threshold"]) == (50.0, 0.0)


def test_the_first_of_equally_good_thresholds_is_kept() -> None:
    # Nothing: 1. .1: 2. .2: 1. .3: 2, not more than 2.
    scores = ask([("b", 0.3, ["b"]), ("b", 0.2, []), ("b", 0.1, ["b"])])
    assert (scores["best_f1"], scores["best_f1_threshold"]) == pytest.approx((200 / 3, 0.1))


def test_equal_scores_are_searched_in_the_order_of_the_predictions() -> None:
    # Right answer first: 1, then 2, then 1: best 2 of 2, inside the run of equal scores, although
    # the threshold .5 itself reaches 1 of 2. The other way round: 1, 0, 1: best 1 of 2.
    right: Row = ("b", 0.5, ["b"])
    wrong: Row = ("b", 0.5, [])
    scores = ask([right, wrong])
    assert (scores["best_f1"], scores["best_f1_threshold"]) == (100.0, 0.5)
    assert ask([right, wrong], no_answer_threshold=0.5)["f1"] == 50.0
    scores = ask([wrong, right])
    assert (scores["best_f1"], scores["best_f1_threshold"]) == (50.0, 0.0)


def test_the_order_of_the_references_does_not_matter() -> None:
    predictions = [{"id": i, "prediction_text": "b", "no_answer_score": 0.5} for i in "xy"]
    references = [
        {"id": "y", "answers": {"text": [], "answer_start": []}},
        {"id": "x", "answers": {"text": ["b"], "answer_start": [0]}},
    ]
    scores = get_metric("squad_v2").compute(predictions=predictions, references=references)
    assert scores["best_f1"] == 100.0


def test_an_empty_answer_to_an_unanswerable_question_costs_nothing() -> None:
    # Nothing: 1. .1 (empty, unanswerable): 1. .2: 2.
    scores = ask([("", 0.1, []), ("b", 0.2, ["b"])])
    assert (scores["best_f1"], scores["best_f1_threshold"]) == (100.0, 0.2)


def test_any_text_to_an_unanswerable_question_costs_its_point() -> None:
    # "the" is right as it stands, F1 1, but the search takes any text for an answer:
    # nothing 1; .1: 0; .2: 1, not more.
    scores = ask([("the", 0.1, []), ("b", 0.2, ["b"])])
    assert scores["f1"] == 100.0
    assert (scores["best_f1"], scores["best_f1_threshold"]) == (50.0, 0.0)


def test_a_gold_answer_of_articles_alone_makes_a_question_answerable() -> None:
    # Scored against "", it is right when left empty, but counts among the answerable, and a
    # threshold that blanks it makes it wrong.
    scores = ask([("", 0.5, ["the"])])
    assert scores["has_ans_f1"] == scores["f1"] == 100.0
    assert "no_ans_f1" not in scores
    assert ask([("", 0.5, ["the"])], no_answer_threshold=0.4)["f1"] == 0.0


def test_a_kind_without_questions_has_no_key() -> None:
    assert "no_ans_f1" not in ask([("b", 0.1, ["b"])])
    only = ask([("b", 0.1, [])])
    assert "has_ans_f1" not in only
    assert "has_ans_exact" not in only


def test_unbounded_scores() -> None:
    # Differences of logits: -3 (answer), 2 (none). At 0.0 both are right.
    two: list[Row] = [("b", -3.0, ["b"]), ("c", 2.0, [])]
    scores = ask(two, no_answer_threshold=0.0)
    assert scores["f1"] == 100.0
    assert (scores["best_f1"], scores["best_f1_threshold"]) == (100.0, -3.0)


def test_predictions_without_scores_stand_at_every_threshold() -> None:
    # F1: (1 + 1 + 4/5 + 0) / 4 = 0.7, and there is nothing to search.
    plain: list[Row] = [
        ("Rome", None, ["Rome"]),
        ("", None, []),
        ("big red dog", None, ["red dog"]),
        ("Oslo", None, []),
    ]
    scores = ask(plain, no_answer_threshold=-1.0)
    assert scores["f1"] == scores["best_f1"] == pytest.approx(70.0)
    assert scores["exact_match"] == scores["best_exact"] == 50.0
    assert scores["best_f1_threshold"] == scores["best_exact_threshold"] == 0.0


def test_some_predictions_with_scores() -> None:
    # Fixed: "c" for nothing, 0. Searched: nothing 1; .1: 2; .2: 1. Best 2 of 3.
    some: list[Row] = [("c", None, []), ("b", 0.1, ["b"]), ("c", 0.2, [])]
    scores = ask(some)
    assert (scores["best_f1"], scores["best_f1_threshold"]) == pytest.approx((200 / 3, 0.1))
    none = ask([("c", None, []), ("b", 0.1, ["b"])])
    assert none["best_f1"] == 50.0


def test_missing_predictions_are_wrong(caplog: pytest.LogCaptureFixture) -> None:
    # q1 is right; q2 and the unanswerable q3 are missing. 1 of 3; the best likewise.
    references = [
        {"id": f"q{i}", "answers": {"text": gold, "answer_start": []}}
        for i, gold in enumerate([["b"], ["c"], []], start=1)
    ]
    predictions = [
        {"id": "q1", "prediction_text": "b", "no_answer_score": 0.1},
        {"id": "other", "prediction_text": "b", "no_answer_score": 0.0},
    ]
    with caplog.at_level(logging.WARNING):
        scores = get_metric("squad_v2").compute(predictions=predictions, references=references)
    assert scores["f1"] == scores["best_f1"] == pytest.approx(100 / 3)
    assert (scores["has_ans_f1"], scores["no_ans_f1"]) == (50.0, 0.0)
    assert caplog.messages == ["2 of 3 questions have no prediction and count as wrong: q2, q3"]


def test_duplicates() -> None:
    row = {"id": "q1", "prediction_text": "b"}
    gold = {"id": "q1", "answers": {"text": ["b"], "answer_start": [0]}}
    with pytest.raises(ValueError, match="two predictions have the id 'q1'"):
        get_metric("squad_v2").compute(predictions=[row, row], references=[gold])


@pytest.mark.parametrize("bad", [float("nan"), "0.5"])
def test_scores_must_be_numbers(bad: Any) -> None:
    with pytest.raises(ValueError, match="prediction '0': 'no_answer_score' is no number"):
        ask([("b", bad, ["b"])])


@settings(deadline=None)
@given(rows, st.sampled_from([-1.0, 0.0, 0.3, 0.5, 1.0]))
def test_is_the_reference_implementation(rows: list[Row], threshold: float) -> None:
    """transformers ships the official code, reading objects instead of a file."""
    examples = [
        SimpleNamespace(qas_id=str(i), answers=[{"text": text} for text in gold])
        for i, (_, _, gold) in enumerate(rows)
    ]
    expected = reference.squad_evaluate(
        examples,
        {str(i): text for i, (text, _, _) in enumerate(rows)},
        {str(i): no_answer for i, (_, no_answer, _) in enumerate(rows)},
        threshold,
    )
    names = {
        "f1": "f1",
        "exact_match": "exact",
        "has_ans_f1": "HasAns_f1",
        "has_ans_exact": "HasAns_exact",
        "no_ans_f1": "NoAns_f1",
        "best_f1": "best_f1",
        "best_f1_threshold": "best_f1_thresh",
        "best_exact": "best_exact",
        "best_exact_threshold": "best_exact_thresh",
    }
    scores = ask(rows, no_answer_threshold=threshold)
    assert scores == {
        ours: expected[theirs] for ours, theirs in names.items() if theirs in expected
    }
    if "NoAns_exact" in expected:
        assert scores["no_ans_f1"] == expected["NoAns_exact"]


plain_rows = st.lists(
    st.tuples(
        st.sampled_from(["", "fox", "big fox"]),
        st.lists(st.sampled_from(["fox", "den", "a big fox"]), max_size=2),
    ),
    min_size=1,
    max_size=8,
)


@settings(deadline=None)
@given(plain_rows, st.randoms(use_true_random=False))
def test_best_is_the_best_of_all_thresholds(
    plain: list[tuple[str, list[str]]], random: Any
) -> None:
    """With distinct scores: no threshold gives more than the best, and the one named gives it."""
    order = random.sample(range(1, len(plain) + 1), len(plain))
    rows: list[Row] = [
        (text, float(rank), gold) for (text, gold), rank in zip(plain, order, strict=True)
    ]
    by_threshold = {t: ask(rows, no_answer_threshold=float(t)) for t in range(len(rows) + 1)}
    scores = by_threshold[0]
    for best, plain_key in (("best_f1", "f1"), ("best_exact", "exact_match")):
        values = [by_threshold[t][plain_key] for t in range(len(rows) + 1)]
        assert scores[best] == pytest.approx(max(values))
        assert values[int(scores[f"{best}_threshold"])] == pytest.approx(scores[best])


@settings(deadline=None)
@given(rows)
def test_bounds(rows: list[Row]) -> None:
    scores = ask(rows)
    for key, value in scores.items():
        assert 0 <= value <= 100, key
    assert scores["exact_match"] <= scores["f1"]


@settings(deadline=None)
@given(st.lists(st.lists(st.sampled_from(["fox", "big den"]), max_size=2), min_size=1))
def test_perfect_predictions(golds: list[list[str]]) -> None:
    """Right answers to the answerable, none to the others, scored apart: 100 everywhere."""
    rows: list[Row] = [(g[0], 0.1, g) if g else ("", 0.9, g) for g in golds]
    scores = ask(rows)
    assert {v for k, v in scores.items() if not k.endswith("threshold")} == {100.0}


@pytest.mark.whole
def test_hundred_thousand_questions_take_seconds() -> None:
    text = ["the", "quick", "brown", "fox", "jumps", "over", "a", "lazy", "dog"]
    gold = [" ".join(text[i : i + 4]) for i in range(3)]
    many: list[Row] = [
        (" ".join(text[i % 5 : i % 5 + 4]), i / 100_000, gold if i % 3 else [])
        for i in range(100_000)
    ]
    assert 0 < ask(many)["f1"] < 100
