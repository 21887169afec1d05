"""`evaluate_suite`: all tasks of XTREME or XTREME-R, and the official aggregate of their scores."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Unpack, cast

from adapter_stilts.compositions import Composition, as_text
from adapter_stilts.display import Picture, Result, bars, markdown_row
from adapter_stilts.errors import UserError, unknown
from adapter_stilts.evaluation.candidates import (
    Candidate,
    backbone_name,
    backbone_slug,
    find_candidates,
)
from adapter_stilts.evaluation.data import NoDataError
from adapter_stilts.evaluation.files import folder_name, write_whole
from adapter_stilts.evaluation.options import EvaluationOptions, SuiteOptions
from adapter_stilts.evaluation.run import Evaluation, evaluate
from adapter_stilts.keywords import checks_keywords, text_of
from adapter_stilts.safety import json_text
from adapter_stilts.tasks import registry
from adapter_stilts.tasks.registry import get_target
from adapter_stilts.tasks.spec import TargetSpec
from adapter_stilts.yaml_files import read_yaml
from adapter_stilts.zoo.choice import STARRED

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

    A task's score is the mean over its languages; question answering counts the mean of exact match
    and F1. (XTREME-R's own script leaves LAReQA out and stops at Mewsli-X, whose mAP it does not
    take for a task's score.) Refuses an unknown suite; languages that are not given and a score
    without a metric that counts are a `ValueError`.

    Args:
        suite: "xtreme" or "xtreme-r".
        task_scores: scores by task, language and metric, in percent. Languages that were not
            scored, for want of labels, may be left out, or be empty or None. Tasks of another
            suite and languages that are not expected do not count.
        languages: the languages that every task of the suite is to be scored in.
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


@dataclass(frozen=True, repr=False)
class SuiteEvaluation(Result):
    """A suite's scores, and the evaluations they come from, by the task's name in the suite.

    `missing` says of every task that was not evaluated why it was not.
    """

    scores: SuiteScores
    evaluations: Mapping[str, Evaluation]
    missing: Mapping[str, str]
    folder: Path

    @property
    def partial(self) -> bool:
        """Whether a task or a language of the suite was not evaluated."""
        return bool(self.missing) or any(each.partial for each in self.evaluations.values())

    def summary(self) -> str:
        """The suite and its overall score, or how many of its tasks were evaluated."""
        score = self.scores.overall
        done = f"{len(self.evaluations)} tasks evaluated, {len(self.missing)} missing"
        return f"{self.scores.suite}: {done if score is None else f'overall {score:.1f}'}"

    def records(self) -> list[dict[str, Any]]:
        """A row a task and language."""
        return [record for each in self.evaluations.values() for record in each.records()]

    def plot(self) -> Picture:
        """The mean score of every task as a bar."""
        rows = [
            {"task": name, "score": value}
            for name, task in self.scores.tasks.items()
            if (value := task.score if task.score is not None else task.partial_average) is not None
        ]
        return Picture.from_vega_lite(bars(rows, label="task", value="score", title=self.summary()))

    def as_dict(self) -> dict[str, Any]:
        """Everything as JSON can write it."""
        scores = self.scores
        return {
            "suite": scores.suite,
            "folder": str(self.folder),
            "overall": scores.overall,
            "category_average": scores.category_average,
            "partial_average": scores.partial_average,
            "categories": dict(scores.categories),
            "without_score": list(scores.missing),
            "missing": dict(self.missing),
            "partial": self.partial,
            "tasks": {
                name: {"score": task.score, **asdict(task)} for name, task in scores.tasks.items()
            },
            "evaluations": {name: each.as_dict() for name, each in self.evaluations.items()},
        }


def suite_targets(suite: str) -> dict[str, TargetSpec]:
    """The target tasks of a suite by their names in it, in its order; refuses an unknown suite."""
    if suite not in SUITES:
        raise unknown("suite", suite, SUITES)
    named = {folder_name(target): target for target in registry.target_tasks().values()}
    return {
        name: named[name] for members in SUITES[suite].values() for name in members if name in named
    }


@checks_keywords
def evaluate_suite(
    suite: str,
    with_map: Mapping[str, Composition],
    *,
    on_task: Callable[[str, str], None] | None = None,
    **options: Unpack[SuiteOptions],
) -> SuiteEvaluation:
    """Evaluates the tasks of a suite in its languages and aggregates their scores.

    The folder holds a submission to XTREME, a folder of predictions for every task, and the scores
    in `summary.json` and `summary.md`.

    Args:
        suite: `xtreme` or `xtreme-r`.
        with_map: the composition of every task; a task without one is missing from the scores.
        on_task: a function that is called with the name and the composition when a task begins.
        options: see `SuiteOptions`; `out` is by default `predictions/BACKBONE/SUITE`.

    Raises:
        UserError: an unknown suite or task, or as `evaluate`.
    """
    targets = suite_targets(suite)
    texts = {task: as_text(composition) for task, composition in with_map.items()}
    for text in texts.values():
        if STARRED.search(text):
            raise UserError(f"'{text}' names all seeds, and a suite takes one: name it")
    chosen = _choose_compositions(suite, targets, texts)
    folder = _folder(suite, targets, chosen, options)
    evaluations: dict[str, Evaluation] = {}
    missing = {name: "no composition given" for name in targets if name not in chosen}
    for name, text in chosen.items():
        if on_task is not None:
            on_task(name, text)
        asked = {**options, "langs": suite, "out": folder / name, "flat": True}
        own = cast(EvaluationOptions, asked)
        if targets[name].retrieval is None:
            own["layer"] = own["layer_from"] = None
        try:
            (evaluations[name],) = evaluate(targets[name], text, **own)
        except NoDataError as error:
            missing[name] = str(error)
    if not evaluations:
        raise UserError(next(iter(missing[name] for name in chosen)))
    scores = {name: each.scores for name, each in evaluations.items()}
    languages = {name: dict(target.suites)[suite] for name, target in targets.items()}  # type: ignore[index]
    done = SuiteEvaluation(aggregate(suite, scores, languages), evaluations, missing, folder)
    write_summary(done, {"split": options.get("split", "test"), "limit": options.get("limit")})
    return done


def _folder(
    suite: str, targets: Mapping[str, TargetSpec], chosen: Mapping[str, str], options: SuiteOptions
) -> Path:
    """Where the suite's predictions go; finds all modules before the first task takes its hours."""
    backbone, out = text_of(options.get("backbone")), options.get("out")
    candidates = {name: _find(targets[name], text, backbone) for name, text in chosen.items()}
    if out is not None:
        return Path(out).absolute()
    first = next(iter(candidates.values()))
    usual = Path("predictions") / backbone_slug(first[0], backbone_name(first, backbone)) / suite
    return usual.absolute()


def _find(target: TargetSpec, text: str, backbone: str | None) -> list[Candidate]:
    """The candidate of one task; a mistake names the task, as the map has a line for each."""
    try:
        return find_candidates(target, [text], backbone)
    except UserError as error:
        error.args = (f"{target.name}: {error}",)
        raise


def _choose_compositions(
    suite: str, targets: Mapping[str, TargetSpec], with_map: Mapping[str, str]
) -> dict[str, str]:
    """The compositions by the tasks' names in the suite, in its order."""
    names = {target.name: name for name, target in targets.items()}
    given: dict[str, str] = {}
    for task, composition in with_map.items():
        found = get_target(task).name
        if found not in names:
            raise UserError(f"{task} is not a task of {suite}: these are {', '.join(targets)}")
        if names[found] in given:
            raise UserError(f"task '{found}' was given two compositions")
        given[names[found]] = composition
    if not given:
        raise UserError(f"no composition for any task of {suite}: name {', '.join(targets)}")
    return {name: given[name] for name in targets if name in given}


_LINE = "tydiqa: stack(squad, tydiqa)"


def read_map(path: Path) -> dict[str, str]:
    """Reads a YAML file with a line `task: composition` for every task.

    Refuses a malformed one, and a task that is unknown or stands there twice; names the line.
    """
    if not path.exists():
        raise UserError(f"{path} is not there: write a YAML file with lines such as '{_LINE}'")
    given, lines = read_yaml(path, _LINE, plain=True)
    found: dict[str, str] = {}
    for task, composition in given.items():
        if not isinstance(composition, str):
            raise lines.bad([task], "expected a task and a composition, with a colon between")
        try:
            name = get_target(task).name
        except UserError as error:
            raise lines.bad([task], error) from error
        if name in found:
            raise lines.bad([task], f"task '{task}' stands there a second time")
        if not composition.strip():
            raise lines.bad([task], f"no composition for task '{task}'")
        found[name] = composition
    return found


COLUMNS = ("with", "languages", "score")
SUMMARY = "summary"
"""The name of the files, `summary.json` and `summary.md`, in the suite's folder."""


def mark_score(tasks: Iterable[TaskScore]) -> str:
    """The mean score of tasks; where languages lack one, the mean of what is there, marked.

    >>> mark_score([TaskScore({"de": 30.0, "fr": 36.6}, ("sw",), 33.3)])
    '33.3 in 2 of 3'
    """
    tasks = list(tasks)
    score = mean_or_none(task.score for task in tasks)
    if score is not None:
        return f"{score:.1f}"
    there = [task.partial_average for task in tasks if task.partial_average is not None]
    if not there:
        return "missing"
    languages = sum(len(task.languages) for task in tasks)
    total = languages + sum(len(task.missing) for task in tasks)
    return f"{sum(there) / len(there):.1f} in {languages} of {total}"


def summary_rows(found: SuiteEvaluation) -> Iterator[tuple[str, str, str, str]]:
    """A row a task, then the categories and the overall score: name, composition, languages, score.

    What is not complete is marked with the number of languages that are there, over all tasks of
    the row; such means are not comparable with complete ones.
    """
    tasks = found.scores.tasks
    for name, task in tasks.items():
        evaluation = found.evaluations.get(name)
        with_ = evaluation.composition if evaluation else ""
        yield name, with_, str(len(task.languages)), mark_score([task])
    for category, names in SUITES[found.scores.suite].items():
        yield category, "", "", mark_score(tasks[name] for name in names)
    yield "overall", "", "", mark_score(tasks.values())


def summary_notes(found: SuiteEvaluation) -> Iterator[str]:
    """A line for everything that is missing, and for where sentence vectors come from."""
    for name, why in found.missing.items():
        yield f"not evaluated: {name}: {why}"
    for name, task in found.scores.tasks.items():
        if name in found.evaluations and task.missing:
            yield f"no score for {name} in {', '.join(task.missing)}"
    for name, evaluation in found.evaluations.items():
        for layer, pooling, _ in evaluation.vectors:
            yield f"{name}: sentence vectors of layer {layer}, pooling {pooling}"


def write_summary(found: SuiteEvaluation, options: Mapping[str, Any]) -> None:
    """Writes the summary as JSON and Markdown; `options` say what was evaluated."""
    about = {"options": dict(options), **found.as_dict()}
    write_whole(found.folder / f"{SUMMARY}.json", json_text(about))
    rows = [(found.scores.suite, *COLUMNS), ("---",) * 4, *summary_rows(found)]
    notes = [f"- {note}" for note in summary_notes(found)]
    said = ", ".join(f"{key} {value}" for key, value in options.items() if value is not None)
    page = [f"# {found.scores.suite}", "", f"Evaluated with {said}.", ""]
    page += [*map(markdown_row, rows), "", *notes]
    write_whole(found.folder / f"{SUMMARY}.md", "\n".join(page).rstrip() + "\n")
