"""How results are shown: scores, tables that fit the terminal, a line while evaluations run."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

import typer

from adapter_stilts.display import scores_line
from adapter_stilts.paths import from_here
from adapter_stilts.safety import printable

if TYPE_CHECKING:
    from adapter_stilts.evaluation.run import Evaluation, SeedSummary
    from adapter_stilts.evaluation.suite import SuiteEvaluation
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
    from adapter_stilts.evaluation.run import group_seeds

    first, shown = evaluations[0], group_seeds(evaluations)
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
        typer.echo(f"predictions: {from_here(one.folder)}")


def _seeds(shown: Evaluation | SeedSummary) -> str:
    """Which seeds a column is the mean of."""
    many = getattr(shown, "evaluations", ())
    return f": mean ± sd of the seeds {', '.join(str(each.seed) for each in many)}" if many else ""


def _language_rows(first: Evaluation, columns: Sequence[Column]) -> Iterator[tuple[str, ...]]:
    for language, entry in first.languages.items():
        cells = [
            _show_score(each.scores[language][metric]) if language in each.scores else UNLABELLED
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
                _show_score(mean[metric]) if metric in mean else ""
                for mean, (_, metric) in zip(means, columns, strict=True)
            )
            yield (title, "", *cells)


def _show_score(score: float | Spread) -> str:
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
    typer.echo(f"predictions: {from_here(found.folder)}")


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
    typer.echo("\n".join(fold(text, width)) if width else text)


def wrap_lines(lines: Sequence[str]) -> Iterator[str]:
    """The lines of a card, long ones of prose broken between words; code and tables as they are."""
    width = terminal_width()
    is_code = False
    for line in lines:
        is_code ^= line.startswith("```")
        if width is None or len(line) <= width or is_code or line.startswith("|"):
            yield line
        else:
            yield from fold(line, width)


GAP = 2
"""Spaces between two columns; one, where every cell has room in one line then."""
Row = Sequence[str]

# A long name may go on in the next line after one of these.
_PIECE = re.compile(r"[^-/_.,:;=@(+]*[-/_.,:;=@(+]+|[^-/_.,:;=@(+]+")
# A mean stands in one line with its deviation.
_WORD = re.compile(r"\S+(?: ± \S+)*")


def terminal_width() -> int | None:
    """The columns of the terminal, or `COLUMNS`; None where the output goes to a file or pipe."""
    if os.environ.get("COLUMNS") or sys.stdout.isatty():
        return max(20, shutil.get_terminal_size().columns)
    return None


def layout(
    columns: Sequence[str], rows: Sequence[Row], *, width: int | None, spare: Sequence[str] = ()
) -> tuple[list[str], list[str]]:
    """The lines of a table, the header's first, and the columns that were left out.

    No line is longer than the `width`. Columns may be left out that are `spare`, the first one
    first, where room is short.
    """
    kept = list(columns)
    while True:
        table: list[Row] = [kept, *([row[columns.index(name)] for name in kept] for row in rows)]
        natural = _widths(table, _length)
        room = None if width is None else width - GAP * (len(kept) - 1)
        out = next((name for name in spare if name in kept), None)
        if room is None or sum(natural) <= room or out is None:
            break
        kept.remove(out)
    left_out = [name for name in columns if name not in kept]
    if width is not None and 0 <= width - sum(natural) - (len(kept) - 1) < len(kept) - 1:
        return [line for row in table for line in _lines(row, natural, gap=1)], left_out
    widths = natural if room is None else _fit_widths(table, natural, room)
    if widths is not None or room is None or width is None:
        return [line for row in table for line in _lines(row, widths or natural)], left_out
    table, legend = _number_headings(table)
    widths = _fit_widths(table, _widths(table, _length), room)
    if widths is None:
        return _one_below_the_other([kept, *table[1:]], width), left_out
    lines = [line for row in table for line in _lines(row, widths)]
    return [*lines, *(line for note in legend for line in fold(note, width))], left_out


def _number_headings(table: Sequence[Row]) -> tuple[list[Row], list[str]]:
    """The table with numbers for long headings, and what they stand for."""
    header, *rows = table
    cells = [max((_length(row[place]) for row in rows), default=0) for place in range(len(header))]
    short: list[str] = []
    legend: list[str] = []
    for place, name in enumerate(header):
        if _length(name) <= max(cells[place], 10):
            short.append(name)
            continue
        short.append(f"[{len(legend) + 1}]")
        legend.append(f"[{len(legend) + 1}] {name}")
    return [short, *rows], legend


def _fit_widths(table: Sequence[Row], natural: list[int], room: int) -> list[int] | None:
    """Widths that fit, cells folded between words, or else inside long names; None if none do."""
    for least in (_widths(table, _longest_word), _widths(table, _longest_piece)):
        if sum(least) <= room:
            widths = list(natural)
            while sum(widths) > room:
                loose = [place for place, own in enumerate(widths) if own > least[place]]
                widths[max(loose, key=widths.__getitem__)] -= 1
            return widths
    return None


def _widths(table: Sequence[Row], measure: Callable[[str], int]) -> list[int]:
    return [max(map(measure, column)) for column in zip(*table, strict=True)]


def _length(text: str) -> int:
    """Columns of the terminal, of which some characters take two."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def _longest_word(text: str) -> int:
    return max(map(_length, _WORD.findall(text)), default=0)


def _longest_piece(text: str) -> int:
    pieces = (piece for word in _WORD.findall(text) for piece in _pieces(word))
    return max(map(_length, pieces), default=0)


def _pieces(word: str) -> list[str]:
    """Where a word may go on in the next line; a number never does."""
    return _PIECE.findall(word) if any(map(str.isalpha, word)) else [word]


def _lines(row: Row, widths: Sequence[int], *, gap: int = GAP) -> list[str]:
    """A row as lines: every cell folded to its column's width."""
    cells = [fold(cell, width) for cell, width in zip(row, widths, strict=True)]
    return [
        (" " * gap).join(p + " " * (w - _length(p)) for p, w in zip(parts, widths, strict=True))
        .rstrip()
        for parts in zip_longest(*cells, fillvalue="")
    ]  # fmt: skip


def fold(text: str, width: int) -> list[str]:
    """A text as lines of that width: broken between words, in a word after a hyphen or the like.

    Only what has no such place, and is wider, is cut.
    """
    lines: list[str] = []
    line = ""
    for word in _WORD.findall(text):
        if line and _length(line) + 1 + _length(word) <= width:
            line += f" {word}"
            continue
        if line:
            lines.append(line)
        *full, line = _parts(word, width)
        lines += full
    return [*lines, line]


def _parts(word: str, width: int) -> list[str]:
    if _length(word) <= width:
        return [word]
    parts = [""]
    for piece in _pieces(word):
        while _length(piece) > width:
            parts.append(piece[:width])
            piece = piece[width:]
        if _length(parts[-1]) + _length(piece) <= width:
            parts[-1] += piece
        else:
            parts.append(piece)
    return [part for part in parts if part]


def _one_below_the_other(table: Sequence[Row], width: int) -> list[str]:
    """Every row as lines of `column: value`, where a table has no room."""
    header, *rows = table
    lines: list[str] = []
    for row in rows:
        for name, cell in zip(header, row, strict=True):
            first, *others = fold(f"{name}: {cell}", width - GAP)
            lines += [first, *(" " * GAP + other for other in others)]
        lines.append("")
    return lines[:-1]
