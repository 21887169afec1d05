"""Scores of extractive question answering, as SQuAD 1.1 and 2.0 and MLQA have them.

Source: the official scripts evaluate-v1.1.py and evaluate-v2.0.py,
https://rajpurkar.github.io/SQuAD-explorer/, and mlqa_evaluation_v1.py,
https://github.com/facebookresearch/MLQA.
"""

from __future__ import annotations

import logging
import math
import re
import string
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from numbers import Real
from operator import attrgetter
from typing import Any, NamedTuple

from adapter_stilts.errors import unknown
from adapter_stilts.metrics import metric

logger = logging.getLogger(__name__)

SQUAD_URL = "https://rajpurkar.github.io/SQuAD-explorer/"
ANSWERS = {"text": ["string"], "answer_start": ["int64"]}
"""The form of the gold answers of a question."""
_answers = partial(
    metric,
    rows="predictions: id, prediction_text; references: id, answers.",
    form=({"id": "string", "prediction_text": "string"}, {"id": "string", "answers": ANSWERS}),
    paired=False,
)
_SQUAD = "Rajpurkar et al. 2016, SQuAD: 100,000+ Questions for Machine Comprehension of Text, EMNLP"

Row = Mapping[str, Any]

_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLES = re.compile(r"\b(?:a|an|the)\b")


def normalize_answer(text: str) -> str:
    """The normal form in which answers are compared.

    In this order: lower case; ASCII punctuation deleted, so that it parts no words ("U.S." is
    "us"); the English articles, as whole words, become spaces; runs of whitespace become one
    space, none at the ends.
    """
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_NO_PUNCTUATION)).split())


def token_f1(predicted: Sequence[str], gold: Sequence[str]) -> float:
    """F1 (0 to 1) of two bags of tokens; 0 without a common token, so also for empty ones."""
    if set(predicted).isdisjoint(gold):
        return 0.0
    common = sum((Counter(predicted) & Counter(gold)).values())
    precision = common / len(predicted)
    recall = common / len(gold)
    return 2 * precision * recall / (precision + recall)


def rows_by_id(rows: Iterable[Row], what: str) -> dict[str, Row]:
    """Rows by their `id`, in their order; none, or one that another has, is a `ValueError`."""
    found: dict[str, Row] = {}
    for index, row in enumerate(rows):
        name = row.get("id") if isinstance(row, Mapping) else None
        if not isinstance(name, str):
            raise ValueError(f"{what} {index} (counted from 0) has no 'id' that is a string")
        if name in found:
            raise ValueError(f"two {what}s have the id '{name}'")
        found[name] = row
    return found


def prediction_text(row: Row) -> str:
    """The predicted answer of a row, which may be empty; none is a `ValueError`."""
    text = row.get("prediction_text")
    if not isinstance(text, str):
        raise ValueError(f"prediction '{row['id']}': 'prediction_text' must be a string")
    return text


def gold_texts(row: Row) -> list[str]:
    """The gold answers of a row (`{"answers": {"text": [...]}}`); none: it is unanswerable."""
    answers = row.get("answers")
    texts = answers.get("text") if isinstance(answers, Mapping) else None
    if texts is None or isinstance(texts, str) or not all(isinstance(text, str) for text in texts):
        raise ValueError(f"reference '{row['id']}': 'answers' must hold 'text', a list of strings")
    return list(texts)


def warn_missing(references: Mapping[str, Row], predictions: Collection[str]) -> None:
    """Say, in one line, which questions have no prediction."""
    missing = [name for name in references if name not in predictions]
    if missing:
        some = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
        logger.warning(
            "%d of %d questions have no prediction and count as wrong: %s",
            len(missing),
            len(references),
            some,
        )


def squad_scores(prediction: str, golds: Sequence[str]) -> tuple[float, float]:
    """Exact match and F1 (0 to 1) of an answer, each the best over the gold answers.

    As in evaluate-v1.1.py, two answers that are both empty in their normal form ("The" and "a")
    match exactly but have F1 0, since they share no token.
    """
    normal = normalize_answer(prediction)
    tokens = normal.split()
    normal_golds = [normalize_answer(gold) for gold in golds]
    exact = float(normal in normal_golds)
    if exact and tokens:
        return 1.0, 1.0
    return exact, max(token_f1(tokens, gold.split()) for gold in normal_golds)


def mean_scores(
    predictions: Sequence[Row],
    references: Sequence[Row],
    score: Callable[[str, Sequence[str]], tuple[float, float]],
) -> dict[str, float]:
    """Mean exact match and F1 in percent; a reference without a prediction scores 0.

    `score` gives both (0 to 1) for an answer and the gold ones, of which none is a `ValueError`.
    """
    predicted = rows_by_id(predictions, "prediction")
    gold = rows_by_id(references, "reference")
    warn_missing(gold, predicted)
    exact = f1 = 0.0
    for name, row in gold.items():
        golds = gold_texts(row)
        if not golds:
            raise ValueError(f"reference '{name}' has no answer: score it with squad_v2")
        if name in predicted:
            one_exact, one_f1 = score(prediction_text(predicted[name]), golds)
            exact += one_exact
            f1 += one_f1
    return {"f1": 100.0 * f1 / len(gold), "exact_match": 100.0 * exact / len(gold)}


@_answers(
    primary="f1",
    summary="SQuAD 1.1: token F1 and exact match, in percent (0 to 100).",
    citation=_SQUAD,
    url=SQUAD_URL,
)
def squad(predictions: Sequence[Row], references: Sequence[Row]) -> dict[str, float]:
    """SQuAD 1.1: `{"f1": percent, "exact_match": percent}`, means over the references.

    Rows are matched by id. A reference without a prediction counts as wrong, with a warning; a
    prediction without a reference is left out. Both are as in evaluate-v1.1.py
    (https://rajpurkar.github.io/SQuAD-explorer/), and so are the scores.

    XTREME scores XQuAD and TyDiQA-GoldP in every language with that script, unchanged: only
    ASCII punctuation and the English articles go (a Spanish "a" among them), tokens end at white
    space alone, so an answer in Chinese or Thai mostly has one, and F1 then follows exact match.
    A question that stands twice in a file counts twice there; here it is an error.
    """
    return mean_scores(predictions, references, squad_scores)


@_answers(
    primary="exact_match",
    summary="SQuAD 1.1: exact match and token F1, in percent (0 to 100).",
    citation=_SQUAD,
    url=SQUAD_URL,
)
def exact_match(predictions: Sequence[Row], references: Sequence[Row]) -> dict[str, float]:
    """The scores of SQuAD 1.1, of which exact match is the first: for answers of a word or two."""
    return squad(predictions, references)


# The articles of the official script, by the language of the answer; none in Hindi and Chinese.
_MLQA_ARTICLES = {
    "ar": "ال",  # wherever it stands, within words too
    "de": r"\b(?:ein|eine|einen|einem|eines|einer|der|die|das|den|dem|des)\b",
    "en": r"\b(?:a|an|the)\b",
    "es": r"\b(?:un|una|unos|unas|el|la|los|las)\b",
    "hi": "",
    "vi": r"\b(?:của|là|cái|chiếc|những)\b",
    "zh": "",
}
_HAN = re.compile("([\u4e00-\u9fa5])")  # a token each; rarer characters are not, as there

MLQA_LANGUAGES = tuple(_MLQA_ARTICLES)
"""The languages that MLQA defines a normal form for."""


def normalize_mlqa(text: str, language: str) -> str:
    """The normal form in which answers in a language are compared.

    In this order: lower case; punctuation deleted, of all scripts and ASCII's symbols; the
    language's articles become spaces; in Chinese a space on both sides of every character of
    the basic block; runs of whitespace become one space, none at the ends.
    """
    text = text.lower().translate(_NO_PUNCTUATION)
    text = "".join(char for char in text if not unicodedata.category(char).startswith("P"))
    if articles := _MLQA_ARTICLES[language]:
        text = re.sub(articles, " ", text)
    if language == "zh":
        text = _HAN.sub(r" \1 ", text)
    return " ".join(text.split())


def mlqa_scores(prediction: str, golds: Sequence[str], *, language: str) -> tuple[float, float]:
    """Exact match and F1 (0 to 1) of an answer, each the best over the gold answers.

    As in the official script, two answers that are both empty in their normal form match exactly
    but have F1 0.
    """
    normal = normalize_mlqa(prediction, language)
    normal_golds = [normalize_mlqa(gold, language) for gold in golds]
    f1 = max(token_f1(normal.split(), gold.split()) for gold in normal_golds)
    return float(normal in normal_golds), f1


@_answers(
    primary="f1",
    summary="MLQA: token F1 and exact match, in percent (0 to 100).",
    citation="Lewis et al. 2020, MLQA: Evaluating Cross-lingual Extractive Question Answering, ACL",
    url="https://github.com/facebookresearch/MLQA",
)
def mlqa(
    predictions: Sequence[Row], references: Sequence[Row], *, language: str | None = None
) -> dict[str, float]:
    """MLQA: `{"f1": percent, "exact_match": percent}`, means over the references.

    Source: mlqa_evaluation_v1.py (https://github.com/facebookresearch/MLQA), which XTREME
    uses. Rows are matched by id, and missing predictions count as wrong, as for SQuAD; what
    differs is the normal form, which depends on the language of the answer. That is the language
    of the context, also where the question is in another one.

    The language is an argument of `compute`, or the configuration of the `evaluate.Metric`:

    >>> rows = {"predictions": [{"id": "q", "prediction_text": "das Haus"}],
    ...         "references": [{"id": "q", "answers": {"text": ["Haus"], "answer_start": [0]}}]}
    >>> mlqa(**rows, language="de")
    {'f1': 100.0, 'exact_match': 100.0}
    >>> mlqa(**rows, language="es")["exact_match"]
    0.0

    Raises:
        ValueError: no language is given.
        UserError: MLQA has no rules for it.
    """
    if not language:
        raise ValueError("mlqa: say which language the answers are in: compute(language=...)")
    if language not in MLQA_LANGUAGES:
        raise unknown("answer language of MLQA", language, MLQA_LANGUAGES)
    return mean_scores(predictions, references, partial(mlqa_scores, language=language))


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
_exact, _f1 = attrgetter("exact"), attrgetter("f1")


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
    """One question with its prediction, or with none, which is always wrong."""
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
    # As the predictions list them, then those without a prediction.
    ordered = [judged[name] for name in dict.fromkeys((*predicted, *judged)) if name in judged]
    result["best_f1"], result["best_f1_threshold"] = best_threshold(ordered, _f1)
    result["best_exact"], result["best_exact_threshold"] = best_threshold(ordered, _exact)
    return result
