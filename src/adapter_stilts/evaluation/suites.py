"""The official aggregates: what XTREME and XTREME-R make of the scores of their tasks."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from adapter_stilts.errors import unknown

Metrics = Mapping[str, float]

SUITES: dict[str, dict[str, tuple[str, ...]]] = {
    "xtreme": {
        "classification": ("xnli", "pawsx"),
        "structured": ("udpos", "panx"),
        "qa": ("xquad", "mlqa", "tydiqa"),
        "retrieval": ("bucc2018", "tatoeba"),
    },
    "xtreme-r": {
        "classification": ("xnli", "xcopa"),
        "structured": ("udpos", "panx"),
        "qa": ("xquad", "mlqa", "tydiqa"),
        "retrieval": ("mewslix", "lareqa", "tatoeba"),
    },
}
"""The tasks of every category, named as the folders of a submission to XTREME."""

METRICS: dict[str, tuple[str, ...]] = {
    "xnli": ("accuracy",),
    "pawsx": ("accuracy",),
    "xcopa": ("accuracy",),
    "udpos": ("f1",),
    "panx": ("f1",),
    "xquad": ("exact_match", "f1"),
    "mlqa": ("exact_match", "f1"),
    "tydiqa": ("exact_match", "f1"),
    "bucc2018": ("f1",),
    "tatoeba": ("accuracy",),
    "mewslix": ("map_at_20",),
    "lareqa": ("map_at_20",),
}
"""What counts of a task's scores: the mean of these."""


@dataclass(frozen=True)
class TaskScore:
    """One task, over its languages."""

    languages: Mapping[str, float]
    """The score of each expected language that has one: the mean of its metrics that count."""
    missing: tuple[str, ...]
    """The expected languages without a score."""
    partial_average: float | None
    """The mean over the languages that have a score, however few."""

    @property
    def score(self) -> float | None:
        """The task's score; none unless every expected language has one."""
        return None if self.missing else self.partial_average


@dataclass(frozen=True)
class SuiteScores:
    """What a suite makes of the scores of its tasks."""

    suite: str
    tasks: Mapping[str, TaskScore]
    categories: Mapping[str, float | None]
    """The mean of each category's tasks; none where one of them has no score."""

    @property
    def missing(self) -> tuple[str, ...]:
        """The tasks that stand in the way of `overall`: without a score in some language."""
        return tuple(name for name, task in self.tasks.items() if task.score is None)

    @property
    def overall(self) -> float | None:
        """The mean of all tasks; none where one is missing.

        So XTREME's evaluate.py computes it for both suites, and so the XTREME paper does.
        """
        return mean_or_none(task.score for task in self.tasks.values())

    @property
    def category_average(self) -> float | None:
        """The mean of the categories; none where a task is missing. Not the official `overall`.

        The average printed for XLM-R Large in the XTREME-R paper, 65.3, is not the mean of the
        ten task scores printed beside it (66.6); it is near this number.
        """
        return mean_or_none(self.categories.values())

    @property
    def partial_average(self) -> float | None:
        """The mean over what is there: of each task that has any score, over its languages.

        Comparable only between runs that lack the same tasks and languages. Equals `overall`
        where nothing is missing.
        """
        there = [task.partial_average for task in self.tasks.values()]
        return mean_or_none(score for score in there if score is not None)


def aggregate(
    suite: str,
    task_scores: Mapping[str, Mapping[str, Metrics | None]],
    languages: Mapping[str, Sequence[str]],
) -> SuiteScores:
    """The aggregate of a suite, as evaluate.py of XTREME computes it, with LAReQA in XTREME-R.

    A task's score is the mean over its languages; question answering counts the mean of exact
    match and F1. (XTREME-R's own script leaves LAReQA out and stops at Mewsli-X, whose mAP it
    does not take for a task's score.)

    Args:
        suite: "xtreme" or "xtreme-r".
        task_scores: scores by task, language and metric, in percent. Languages that were not
            scored, for want of labels, may be left out, or be empty or None. Tasks of another
            suite and languages that are not expected do not count.
        languages: the languages that every task of the suite is to be scored in.

    Raises:
        UserError: no suite has that name.
        ValueError: a task's languages are not given, or a score lacks a metric that counts.
    """
    if suite not in SUITES:
        raise unknown("suite", suite, SUITES)
    tasks = {}
    for name in (task for members in SUITES[suite].values() for task in members):
        if not languages.get(name):
            raise ValueError(f"the languages of '{name}' are not given")
        tasks[name] = _task(name, task_scores.get(name, {}), languages[name])
    categories = {
        category: mean_or_none(tasks[name].score for name in members)
        for category, members in SUITES[suite].items()
    }
    return SuiteScores(suite, tasks, categories)


def _task(name: str, scores: Mapping[str, Metrics | None], languages: Sequence[str]) -> TaskScore:
    there = {lang: metrics for lang in languages if (metrics := scores.get(lang))}
    by_metric = {
        key: {lang: _metric(name, lang, key, metrics) for lang, metrics in there.items()}
        for key in METRICS[name]
    }
    return TaskScore(
        languages={lang: _mean([values[lang] for values in by_metric.values()]) for lang in there},
        missing=tuple(lang for lang in languages if lang not in there),
        # languages before metrics, as there: the last digit depends on it
        partial_average=_mean([_mean(list(values.values())) for values in by_metric.values()])
        if there
        else None,
    )


def _metric(task: str, language: str, key: str, metrics: Metrics) -> float:
    """One score; ValueError where it is not there, or is no number."""
    value = metrics.get(key)
    if value is None or not math.isfinite(value):
        raise ValueError(f"{task} in '{language}' needs a score '{key}', got {dict(metrics)}")
    return value


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def mean_or_none(values: Iterable[float | None]) -> float | None:
    """The mean; none where a value is missing, or all are."""
    numbers = []
    for value in values:
        if value is None:
            return None
        numbers.append(value)
    return _mean(numbers) if numbers else None
