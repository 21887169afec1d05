"""The aggregates of XTREME and XTREME-R, worked out by hand and from published figures."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapter_stilts.errors import FailureError, UserError
from adapter_stilts.evaluation.suite import (
    METRICS,
    SUITES,
    Metrics,
    SuiteEvaluation,
    aggregate,
    write_summary,
)

Scores = dict[str, dict[str, Metrics | None]]

# XTREME, table of the overall results, XLM-R Large (Hu et al. 2020; the POS score as corrected)
PUBLISHED: dict[str, Metrics] = {
    "xnli": {"accuracy": 79.2},
    "pawsx": {"accuracy": 86.4},
    "udpos": {"f1": 73.8},
    "panx": {"f1": 65.4},
    "xquad": {"f1": 76.6, "exact_match": 60.8},
    "mlqa": {"f1": 71.6, "exact_match": 53.2},
    "tydiqa": {"f1": 65.1, "exact_match": 45.0},
    "bucc2018": {"f1": 66.0},
    "tatoeba": {"accuracy": 57.3},
}


def members(suite: str) -> list[str]:
    return [name for tasks in SUITES[suite].values() for name in tasks]


def flat(suite: str, value: float = 50.0, languages: tuple[str, ...] = ("de", "sw")) -> Scores:
    """The same score everywhere."""
    return {
        name: {lang: dict.fromkeys(METRICS[name], value) for lang in languages}
        for name in members(suite)
    }


def expected(suite: str, *languages: str) -> dict[str, tuple[str, ...]]:
    return dict.fromkeys(members(suite), languages or ("de", "sw"))


def test_the_suites_have_nine_and_ten_tasks() -> None:
    assert [len(members(suite)) for suite in SUITES] == [9, 10]
    assert set(METRICS) == set(members("xtreme")) | set(members("xtreme-r"))


def test_published_overall_score() -> None:
    scores: Scores = {name: {"all": metrics} for name, metrics in PUBLISHED.items()}
    found = aggregate("xtreme", scores, expected("xtreme", "all"))
    assert found.overall is not None
    assert round(found.overall - 0.01, 1) == 68.2  # 68.25, printed as 68.2
    # (79.2 + 86.4) / 2; (73.8 + 65.4) / 2; (68.7 + 62.4 + 55.05) / 3; (66.0 + 57.3) / 2
    assert found.categories == pytest.approx(
        {"classification": 82.8, "structured": 69.6, "qa": 62.05, "retrieval": 61.65}
    )
    assert found.category_average == pytest.approx((82.8 + 69.6 + 62.05 + 61.65) / 4)
    assert found.missing == ()


def test_a_task_averages_its_languages_and_exact_match_with_f1() -> None:
    scores = flat("xtreme")
    scores["mlqa"] = {
        "de": {"f1": 80.0, "exact_match": 60.0},
        "sw": {"f1": 50.0, "exact_match": 10.0},
    }
    task = aggregate("xtreme", scores, expected("xtreme")).tasks["mlqa"]
    assert task.languages == {"de": 70.0, "sw": 30.0}
    assert task.score == 50.0


def test_languages_weigh_the_same_within_a_task_and_tasks_within_the_suite() -> None:
    # xnli (0 + 100) / 2, eight tasks at 50; pawsx has one language of 100: (50 * 8 + 100) / 9
    scores = flat("xtreme")
    scores["xnli"] = {"de": {"accuracy": 0.0}, "sw": {"accuracy": 100.0}}
    scores["pawsx"] = {"de": {"accuracy": 100.0}}
    languages = {**expected("xtreme"), "pawsx": ("de",)}
    assert aggregate("xtreme", scores, languages).overall == pytest.approx((50 * 8 + 100) / 9)


def test_a_missing_task_is_named_and_leaves_no_overall() -> None:
    scores = flat("xtreme")
    del scores["bucc2018"]
    scores["tatoeba"] = {"de": {"accuracy": 90.0}, "sw": {"accuracy": 90.0}}
    found = aggregate("xtreme", scores, expected("xtreme"))
    assert found.missing == ("bucc2018",)
    assert found.overall is None
    assert found.category_average is None
    assert found.categories["retrieval"] is None
    assert found.categories["qa"] == 50.0
    assert found.tasks["bucc2018"].missing == ("de", "sw")
    assert found.tasks["bucc2018"].partial_average is None
    # seven tasks of 50 and one of 90
    assert found.partial_average == pytest.approx((7 * 50 + 90) / 8)


@pytest.mark.parametrize("nothing", [None, {}])
def test_a_language_without_a_score_makes_its_task_incomplete(nothing: Metrics | None) -> None:
    scores = flat("xtreme-r")
    scores["panx"] = {"sw": nothing, "de": {"f1": 70.0}}
    found = aggregate("xtreme-r", scores, expected("xtreme-r"))
    assert found.missing == ("panx",)
    assert found.tasks["panx"].missing == ("sw",)
    assert found.tasks["panx"].score is None
    assert found.tasks["panx"].partial_average == 70.0
    assert found.categories["structured"] is None
    assert found.overall is None
    assert found.partial_average == pytest.approx((9 * 50 + 70) / 10)


def test_nothing_at_all() -> None:
    found = aggregate("xtreme", {}, expected("xtreme"))
    assert found.missing == tuple(members("xtreme"))
    assert found.overall is None
    assert found.partial_average is None


def test_a_summary_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    scores = aggregate("xtreme", {}, expected("xtreme"))
    with pytest.raises(FailureError, match=r"summary\.json"):
        write_summary(SuiteEvaluation(scores, {}, {}, tmp_path / "file"), {})


def test_what_is_not_expected_does_not_count() -> None:
    scores = {**flat("xtreme-r"), **flat("xtreme")}
    scores["tatoeba"]["en"] = {"accuracy": 100.0}
    scores["other"] = {"de": {"accuracy": 100.0}}
    found = aggregate("xtreme", scores, expected("xtreme"))
    assert set(found.tasks) == set(members("xtreme"))
    assert found.overall == 50.0


def test_a_score_of_zero_is_a_score() -> None:
    found = aggregate("xtreme", flat("xtreme", 0.0), expected("xtreme"))
    assert found.overall == 0.0
    assert found.missing == ()


def test_other_metrics_do_not_count() -> None:
    scores = flat("xtreme")
    scores["udpos"]["de"] = {"tag_accuracy": 90.0, "precision": 80.0, "f1": 60.0}
    assert aggregate("xtreme", scores, expected("xtreme")).tasks["udpos"].score == 55.0


@pytest.mark.parametrize("metrics", [{"tag_accuracy": 90.0}, {"f1": float("nan")}, {"f1": None}])
def test_a_score_without_its_metric(metrics: Metrics) -> None:
    scores = flat("xtreme")
    scores["udpos"]["sw"] = metrics
    with pytest.raises(ValueError, match="udpos in 'sw' needs a score 'f1'"):
        aggregate("xtreme", scores, expected("xtreme"))


def test_languages_must_be_given() -> None:
    languages = expected("xtreme")
    del languages["xnli"]
    with pytest.raises(ValueError, match="languages of 'xnli' are not given"):
        aggregate("xtreme", flat("xtreme"), languages)


def test_unknown_suite() -> None:
    with pytest.raises(UserError, match="no suite 'xtrem': did you mean 'xtreme'"):
        aggregate("xtrem", {}, {})


@given(
    st.sampled_from(sorted(SUITES)),
    st.data(),
)
def test_partial_average_is_the_overall_where_nothing_is_missing(
    suite: str, data: st.DataObject
) -> None:
    percent = st.floats(0, 100)
    scores: Scores = {
        name: {lang: {key: data.draw(percent) for key in METRICS[name]} for lang in ("de", "sw")}
        for name in members(suite)
    }
    found = aggregate(suite, scores, expected(suite))
    assert found.overall == found.partial_average
    tasks = [task.score for task in found.tasks.values() if task.score is not None]
    assert len(tasks) == len(members(suite))
    assert found.overall == pytest.approx(sum(tasks) / len(tasks))
    for name, task in found.tasks.items():
        values = [v for metrics in scores[name].values() if metrics for v in metrics.values()]
        assert task.score == pytest.approx(sum(values) / len(values))
