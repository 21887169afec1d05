"""Exact match and F1 where a question may have no answer, as SQuAD 2.0 scores them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import NamedTuple

from adapter_stilts.metrics.registry import metric
from adapter_stilts.metrics.squad import (
    ANSWERS,
    SQUAD_URL,
    Row,
    gold_texts,
    normalize_answer,
    prediction_text,
    rows_by_id,
    token_f1,
    warn_missing,
)


class Scores(NamedTuple):
    """Exact match and F1, each 0 to 1."""

    exact: float
    f1: float


@dataclass(frozen=True, slots=True)
class Question:
    """One question, judged before any threshold.

    `answered` says that the predicted text is not empty; `no_answer_score` is None for a
    prediction that no threshold concerns, and for a missing one.
    """

    answerable: bool
    answered: bool
    scores: Scores
    no_answer_score: float | None


Measure = Callable[[Scores], float]


def squad_v2_scores(prediction: str, golds: Sequence[str]) -> Scores:
    """Exact match and F1 of an answer, each the best over the gold answers.

    Only gold answers with something left in their normal form count; without any, the one right
    answer is the empty string. Where either side has no tokens, F1 is 1 if both have none.
    """
    normal = normalize_answer(prediction)
    tokens = normal.split()
    normal_golds = [form for gold in golds if (form := normalize_answer(gold))]
    exact = float(normal in (normal_golds or [""]))
    if exact or not normal_golds or not tokens:
        return Scores(exact, exact)
    return Scores(exact, max(token_f1(tokens, gold.split()) for gold in normal_golds))


def at_threshold(question: Question, measure: Measure, threshold: float) -> float:
    """The question's score where no-answer scores above the threshold mean "no answer"."""
    if question.no_answer_score is not None and question.no_answer_score > threshold:
        return float(not question.answerable)
    return measure(question.scores)


def best_threshold(questions: Sequence[Question], measure: Measure) -> tuple[float, float]:
    """The best mean score (percent) that a no-answer threshold can reach, and that threshold.

    The search of evaluate-v2.0.py: answer nothing at first (threshold 0.0), then answer question
    by question in the order of their no-answer scores, those with equal scores in the order
    given; of equally good thresholds the first is kept. So a best mean may lie inside a run of
    equal scores, where no threshold reaches it. Giving any text at all to an unanswerable
    question costs its point, even a text that is empty in its normal form.

    Args:
        questions: judged questions in the order of the predictions.
        measure: which of the scores counts.
    """
    scored = [(q.no_answer_score, q) for q in questions if q.no_answer_score is not None]
    total = sum(measure(q.scores) for q in questions if q.no_answer_score is None)
    total += sum(not question.answerable for _, question in scored)
    best, threshold = total, 0.0
    for score, question in sorted(scored, key=lambda pair: pair[0]):
        if question.answerable:
            total += measure(question.scores)
        elif question.answered:
            total -= 1
        if total > best:
            best, threshold = total, score
    return 100.0 * best / len(questions), threshold


def judge(reference: Row, prediction: Row | None) -> Question:
    """One question with its prediction, or with none, which is always wrong.

    Raises:
        ValueError: the prediction's `no_answer_score` is no number.
    """
    golds = gold_texts(reference)
    if prediction is None:
        return Question(bool(golds), False, Scores(0.0, 0.0), None)
    text = prediction_text(prediction)
    score = prediction.get("no_answer_score")
    if score is not None:
        if not isinstance(score, Real) or math.isnan(score):
            raise ValueError(f"prediction '{prediction['id']}': 'no_answer_score' is no number")
        score = float(score)
    return Question(bool(golds), bool(text), squad_v2_scores(text, golds), score)


def summary(questions: Sequence[Question], threshold: float) -> dict[str, float]:
    """Means in percent, over all questions and by kind; a kind without questions has no key."""

    def mean(some: Sequence[Question], measure: Measure) -> float:
        return 100.0 * sum(at_threshold(q, measure, threshold) for q in some) / len(some)

    result = {"f1": mean(questions, _f1), "exact_match": mean(questions, _exact)}
    if answerable := [question for question in questions if question.answerable]:
        result["has_ans_f1"] = mean(answerable, _f1)
        result["has_ans_exact"] = mean(answerable, _exact)
    if unanswerable := [question for question in questions if not question.answerable]:
        result["no_ans_f1"] = mean(unanswerable, _f1)
    return result


def _exact(scores: Scores) -> float:
    return scores.exact


def _f1(scores: Scores) -> float:
    return scores.f1


@metric(
    primary="best_f1",
    summary="SQuAD 2.0: token F1 and exact match, in percent (0 to 100).",
    rows=(
        "predictions: id, prediction_text and, optionally, no_answer_score; "
        "references: id, answers (none: unanswerable); no_answer_threshold (1.0)."
    ),
    form=(
        {"id": "string", "prediction_text": "string", "no_answer_score": "float64"},
        {"id": "string", "answers": ANSWERS},
    ),
    paired=False,
    citation=(
        "Rajpurkar, Jia and Liang 2018, Know What You Don't Know: Unanswerable Questions for "
        "SQuAD, ACL"
    ),
    url=SQUAD_URL,
)
def squad_v2(
    predictions: Sequence[Row], references: Sequence[Row], *, no_answer_threshold: float = 1.0
) -> dict[str, float]:
    """SQuAD 2.0, as evaluate-v2.0.py scores it (https://rajpurkar.github.io/SQuAD-explorer/).

    In percent: `f1`, `exact_match`, `has_ans_f1`, `has_ans_exact`, `no_ans_f1` (equal to exact
    match there), at `no_answer_threshold`; `best_f1` and `best_exact`, over all thresholds. Not
    in percent, but on the scale of the predictions' `no_answer_score` (higher means: rather no
    answer): `best_f1_threshold`, `best_exact_threshold`. As in the script, the keys of a kind of
    question are absent where no question is of that kind.

    `no_answer_threshold` is 1.0 unless given, the script's default, which suits probabilities;
    pass 0.0 for "null score minus best span score". A prediction without `no_answer_score` is
    taken as it stands at every threshold. A question is answerable where its list of answers is
    not empty. Rows are matched by id; a prediction without a reference is left out.

    One difference: a reference without a prediction counts as wrong, with a warning, where
    evaluate-v2.0.py leaves it out of the mean and then fails on the means by kind.
    """
    predicted = rows_by_id(predictions, "prediction")
    gold = rows_by_id(references, "reference")
    warn_missing(gold, predicted)
    judged = {name: judge(row, predicted.get(name)) for name, row in gold.items()}
    result = summary(list(judged.values()), no_answer_threshold)
    ordered = _in_prediction_order(judged, predicted)
    result["best_f1"], result["best_f1_threshold"] = best_threshold(ordered, _f1)
    result["best_exact"], result["best_exact_threshold"] = best_threshold(ordered, _exact)
    return result


def _in_prediction_order(
    judged: Mapping[str, Question], predicted: Mapping[str, Row]
) -> list[Question]:
    """The judged questions as the predictions list them, then those without a prediction."""
    answered = [judged[name] for name in predicted if name in judged]
    return answered + [question for name, question in judged.items() if name not in predicted]
