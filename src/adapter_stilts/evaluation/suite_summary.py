"""What a suite's evaluation comes to: the rows of its table, and the files that keep them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from adapter_stilts.evaluation.suites import SUITES, TaskScore, mean_or_none
from adapter_stilts.paths import write_whole

if TYPE_CHECKING:
    from adapter_stilts.evaluation.suite import SuiteEvaluation

COLUMNS = ("with", "languages", "score")
SUMMARY = "summary"
"""The name of the files, `summary.json` and `summary.md`, in the suite's folder."""


def marked_score(tasks: Iterable[TaskScore]) -> str:
    """The mean score of tasks; where languages lack one, the mean of what is there, marked.

    >>> marked_score([TaskScore({"de": 30.0, "fr": 36.6}, ("sw",), 33.3)])
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
        yield name, with_, str(len(task.languages)), marked_score([task])
    for category, names in SUITES[found.scores.suite].items():
        yield category, "", "", marked_score(tasks[name] for name in names)
    yield "overall", "", "", marked_score(tasks.values())


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
    """Writes the summary into the suite's folder, as JSON and as Markdown.

    Args:
        options: those that say what was evaluated, such as the split.
    """
    about = {"options": dict(options), **found.as_dict()}
    text = json.dumps(about, indent=1, ensure_ascii=False, allow_nan=False)
    write_whole(found.folder / f"{SUMMARY}.json", text + "\n")
    rows = [(found.scores.suite, *COLUMNS), ("---",) * 4, *summary_rows(found)]
    lines = [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows]
    notes = [f"- {note}" for note in summary_notes(found)]
    said = ", ".join(f"{key} {value}" for key, value in options.items() if value is not None)
    page = [f"# {found.scores.suite}", "", f"Evaluated with {said}.", "", *lines, "", *notes]
    write_whole(found.folder / f"{SUMMARY}.md", "\n".join(page).rstrip() + "\n")
