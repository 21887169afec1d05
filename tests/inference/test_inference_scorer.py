"""Scores of predictions that come piece by piece."""

from __future__ import annotations

from typing import Any

import datasets
import pytest

from adapter_stilts.heads.span import Answer, Span, predicted_text
from adapter_stilts.inference.predictions import (
    Predictions,
    Scorer,
    score_predictions,
)
from adapter_stilts.metrics.squad import mlqa_scores
from adapter_stilts.tasks.registry import get_target, get_task


def question(name: str, context: str, *answers: str) -> dict[str, Any]:
    return {
        "id": name,
        "context": context,
        "answers": list(answers),
        "answer_starts": [context.index(answer) for answer in answers],
    }


def span(context: str, text: str) -> Answer:
    begin = context.index(text)
    return Answer((Span(begin, begin + len(text), 3.0),), 0.0)


@pytest.mark.parametrize(
    ("language", "answers_in"),
    [("de", "de"), ("en", "en"), ("de-en", "de"), ("en-de", "en"), ("zh-hi", "zh")],
)
def test_mlqa_normalises_as_the_language_of_the_context(language: str, answers_in: str) -> None:
    context, predicted, gold = "Er sah die Elbe und the river", "die Elbe", "Elbe"
    rows = datasets.Dataset.from_list([question("q", context, gold)])
    found = Predictions("span", [span(context, predicted)])
    scores = score_predictions(get_target("mlqa").at(language), found, rows)
    exact, f1 = mlqa_scores(predicted, [gold], language=answers_in)
    assert scores == {"f1": 100 * f1, "exact_match": 100 * exact}
    assert (exact == 1) == (answers_in == "de")


def test_pieces_give_what_the_whole_gives() -> None:
    task = get_target("udpos").at("de")
    tags = [["NOUN", "VERB"], ["DET", "NOUN", "NOUN"], ["PUNCT"]]
    gold = [["NOUN", "NOUN"], ["DET", "NOUN", "NOUN"], ["NOUN"]]
    rows = datasets.Dataset.from_list([{"words": ["w"] * len(g), "tags": g} for g in gold])
    whole = score_predictions(task, Predictions("tagging", tags), rows)
    scorer = Scorer(task)
    scorer.add(Predictions("tagging", tags[:1]), rows.select([0]))
    scorer.add(Predictions("tagging", tags[1:]), rows.select([1, 2]))
    assert scorer.scores() == whole
    assert next(iter(whole)) == "f1"
    assert whole["tag_accuracy"] == pytest.approx(100 * 4 / 6)


def test_no_answer_and_the_threshold_of_unanswerable_tasks() -> None:
    context = "Ann went to Rome."
    assert predicted_text(span(context, " Rome"), context) == "Rome"
    assert predicted_text(Answer((), 1.0), context) == ""
    rows = datasets.Dataset.from_list([question("a", context, "Rome"), question("b", context)])
    sure = Answer(span(context, "Rome").spans, 5.0)  # giving no answer scores higher
    found = Predictions("span", [span(context, "Rome"), sure])
    scores = score_predictions(get_task("squad-v2"), found, rows)
    assert next(iter(scores)) == "best_f1"
    assert scores["f1"] == 100
