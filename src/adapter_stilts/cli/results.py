"""How results are shown: scores, tables, and evaluations with a line while they run."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import typer

from adapter_stilts.cli.table import folded, layout, terminal_width
from adapter_stilts.display import scores_line
from adapter_stilts.safety import printable

if TYPE_CHECKING:
    from adapter_stilts.evaluation.suite import SuiteEvaluation
    from adapter_stilts.evaluation.summary import Evaluation, SeedSummary
    from adapter_stilts.metrics import Spread

    Column = tuple[Evaluation | SeedSummary, str]

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
    """A row a language, the averages below; several compositions side by side.

    The seeds of one composition are one column, of mean ± standard deviation.
    """
    from adapter_stilts.evaluation.summary import grouped

    first, shown = evaluations[0], grouped(evaluations)
    if len(shown) == 1:
        metrics = list(first.average) or [first.metric]
        columns = [(metric, shown[0], metric) for metric in metrics]
        typer.echo(f"{first.task}, {first.split}, with {shown[0].composition}{_seeds(shown[0])}")
    else:
        columns = [(each.composition, each, first.metric) for each in shown]
        typer.echo(f"{first.task}, {first.split}, {first.metric}")
        for each in shown:
            if seeds := _seeds(each):
                typer.echo(f"{each.composition}{seeds}")
    print_table(
        ("language", "examples", *(title for title, _, _ in columns)),
        [
            *_language_rows(first, [(each, metric) for _, each, metric in columns]),
            *_mean_rows([(each, metric) for _, each, metric in columns]),
            *_vectors_rows([each for _, each, _ in columns]),
        ],
    )
    if first.outside:
        typer.echo(f"{OUTSIDE} outside the suites' languages, and so outside the averages")
    if first.missing:
        why = next(iter(first.missing.values()))
        print_note(f"not evaluated, for want of data: {', '.join(first.missing)} ({why})")
    for one in evaluations:
        typer.echo(f"predictions: {one.folder}")


def _seeds(shown: Evaluation | SeedSummary) -> str:
    """Which seeds a column is the mean of."""
    many = getattr(shown, "evaluations", ())
    return f": mean ± sd of the seeds {', '.join(str(each.seed) for each in many)}" if many else ""


def _language_rows(first: Evaluation, columns: Sequence[Column]) -> Iterator[tuple[str, ...]]:
    for language, entry in first.languages.items():
        cells = [
            _shown(each.scores[language][metric]) if language in each.scores else UNLABELLED
            for each, metric in columns
        ]
        mark = OUTSIDE if language in first.outside else ""
        yield (f"{language}{mark}", f"{entry['examples']:,}", *cells)


def _mean_rows(columns: Sequence[Column]) -> Iterator[tuple[str, ...]]:
    """The average over all, English by itself, the others, and the gap between the two."""
    titles = {
        "average": "average",
        "English": "english",
        "without English": "without_english",
        "transfer gap": "gap",
    }
    for title, name in titles.items():
        means = [each.means[name] for each, _ in columns]
        if any(means):
            cells = (
                _shown(mean[metric]) if metric in mean else ""
                for mean, (_, metric) in zip(means, columns, strict=True)
            )
            yield (title, "", *cells)


def _shown(score: float | Spread) -> str:
    return f"{score:.1f}" if isinstance(score, float) else str(score)


def _vectors_rows(columns: Sequence[Evaluation | SeedSummary]) -> Iterator[tuple[str, ...]]:
    """Where the sentence vectors of a retrieval task come from."""
    for place, title in enumerate(("layer", "pooling")):
        if any(each.vectors for each in columns):
            cells = (sorted({str(made[place]) for made in each.vectors}) for each in columns)
            yield (title, "", *map(", ".join, cells))


def show_suite(found: SuiteEvaluation) -> None:
    """A row a task, then the categories and the overall score; what is missing is named."""
    from adapter_stilts.evaluation.suite import COLUMNS, summary_notes, summary_rows

    scores = found.scores
    print_table((scores.suite, *COLUMNS), list(summary_rows(found)))
    for note in summary_notes(found):
        typer.echo(note)
    if scores.overall is None:
        typer.echo("scores with 'in' are means of what is there: not comparable with complete ones")
    typer.echo(f"predictions: {found.folder}")


def print_table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], *, spare: Sequence[str] = ()
) -> None:
    """A plain table on standard output; whole rows where that is no terminal.

    `spare` are columns that may be left out where the terminal is narrow, the first one first.
    """
    # Modules and their texts may come from anybody.
    shown = [[printable(cell) for cell in row] for row in rows]
    lines, left_out = layout(columns, shown, width=terminal_width(), spare=spare)
    for place, line in enumerate(lines):
        typer.echo(typer.style(line, bold=True) if not place and sys.stdout.isatty() else line)
    if left_out:
        typer.echo(f"(no room for {', '.join(left_out)}: --json has all)")


def print_json(value: Any, *, indent: int | None = 1) -> None:
    """A value as JSON on standard output, over several lines or on one."""
    typer.echo(json.dumps(value, ensure_ascii=False, allow_nan=False, indent=indent))


def print_note(text: str) -> None:
    """A sentence beside a table, broken between words where a terminal would break it anywhere."""
    width = terminal_width()
    typer.echo("\n".join(folded(text, width)) if width else text)


def wrapped(lines: Sequence[str]) -> Iterator[str]:
    """The lines of a card, long ones of prose broken between words; code and tables as they are."""
    width = terminal_width()
    is_code = False
    for line in lines:
        is_code ^= line.startswith("```")
        if width is None or len(line) <= width or is_code or line.startswith("|"):
            yield line
        else:
            yield from folded(line, width)
