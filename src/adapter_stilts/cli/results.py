"""How evaluations are shown: a line while they run, tables when they are done."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import typer

from adapter_stilts.cli.show import print_table, scores_line

if TYPE_CHECKING:
    from adapter_stilts.evaluation.suite import SuiteEvaluation
    from adapter_stilts.evaluation.summary import Evaluation

UNLABELLED = "no labels: predictions only"
OUTSIDE = "*"
"""Marks a language that no suite lists for the task, and that no mean counts."""


class Progress:
    """A line on standard error that says what is at work, and one for every finished language.

    The moving line is for terminals only.
    """

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._task = ""
        self._bar: Any = None

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *details: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def task(self, name: str, composition: str) -> None:
        """A task of a suite begins."""
        self._task = f"{name} "
        self._say(f"{name} with {composition}")

    def examples(self, languages: Sequence[str], count: int) -> None:
        """So many more examples of these languages are done."""
        if self._quiet or not sys.stderr.isatty():
            return
        if self._bar is None:
            from tqdm import tqdm

            self._bar = tqdm(unit=" examples", file=sys.stderr, leave=False)
        self._bar.set_description_str(f"{self._task}{' '.join(languages)}", refresh=False)
        self._bar.update(count)

    def language(self, composition: str, language: str, entry: Mapping[str, Any]) -> None:
        """A language is done."""
        scores = scores_line(entry["scores"]) if entry["labelled"] else UNLABELLED
        self._say(
            f"{self._task}{language}, {composition}: {scores} ({entry['examples']:,} examples, "
            f"{entry['seconds']:,.0f} s)"
        )

    def _say(self, line: str) -> None:
        if self._bar is not None:
            self._bar.write(line, file=sys.stderr)
        elif not self._quiet:
            typer.echo(line, err=True)


def show_evaluations(evaluations: Sequence[Evaluation]) -> None:
    """A row a language, the averages below; several compositions side by side."""
    first = evaluations[0]
    if len(evaluations) == 1:
        metrics = list(first.average) or [first.metric]
        columns = [(metric, first, metric) for metric in metrics]
        typer.echo(f"{first.task}, {first.split}, with {first.composition}")
    else:
        columns = [(each.composition, each, first.metric) for each in evaluations]
        typer.echo(f"{first.task}, {first.split}, {first.metric}")
    print_table(
        ("language", "examples", *(title for title, _, _ in columns)),
        [
            *_language_rows(evaluations, [(each, metric) for _, each, metric in columns]),
            *_mean_rows([(each, metric) for _, each, metric in columns]),
        ],
    )
    if first.outside:
        typer.echo(f"{OUTSIDE} outside the suites' languages, and so outside the averages")
    if first.missing:
        why = next(iter(first.missing.values()))
        typer.echo(f"not evaluated, for want of data: {', '.join(first.missing)} ({why})")
    for each in evaluations:
        typer.echo(f"predictions: {each.folder}")


def _language_rows(
    evaluations: Sequence[Evaluation], columns: Sequence[tuple[Evaluation, str]]
) -> Iterator[tuple[str, ...]]:
    for language, entry in evaluations[0].languages.items():
        cells = [
            f"{each.scores[language][metric]:.1f}" if language in each.scores else UNLABELLED
            for each, metric in columns
        ]
        mark = OUTSIDE if language in evaluations[0].outside else ""
        yield (f"{language}{mark}", f"{entry['examples']:,}", *cells)


def _mean_rows(columns: Sequence[tuple[Evaluation, str]]) -> Iterator[tuple[str, ...]]:
    """The average over all, English by itself, the others, and the gap between the two."""
    rows = {
        "average": [each.average for each, _ in columns],
        "English": [each.english for each, _ in columns],
        "without English": [each.without_english for each, _ in columns],
        "transfer gap": [each.gap for each, _ in columns],
    }
    for title, means in rows.items():
        if any(means):
            cells = (
                f"{mean[metric]:.1f}" if metric in mean else ""
                for mean, (_, metric) in zip(means, columns, strict=True)
            )
            yield (title, "", *cells)


def show_suite(found: SuiteEvaluation) -> None:
    """A row a task, then the categories and the overall score; what is missing is named."""
    scores = found.scores
    rows = []
    for name, task in scores.tasks.items():
        evaluation = found.evaluations.get(name)
        with_ = evaluation.composition if evaluation else ""
        rows.append((name, with_, str(len(task.languages)), _score(task.score)))
    rows += [(category, "", "", _score(mean)) for category, mean in scores.categories.items()]
    rows.append(("overall", "", "", _score(scores.overall)))
    print_table((scores.suite, "with", "languages", "score"), rows)
    for name, why in found.missing.items():
        typer.echo(f"not evaluated: {name}: {why}")
    for name, task in scores.tasks.items():
        if name in found.evaluations and task.missing:
            typer.echo(f"no score for {name} in {', '.join(task.missing)}")
    if scores.overall is None and scores.partial_average is not None:
        typer.echo(f"average of what is there, not comparable: {scores.partial_average:.1f}")
    typer.echo(f"predictions: {found.folder}")


def _score(value: float | None) -> str:
    return "missing" if value is None else f"{value:.1f}"
