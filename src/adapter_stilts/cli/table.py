"""Tables that fit the terminal: spare columns are left out, cells fold between words."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Callable, Sequence
from itertools import zip_longest

GAP = 2
"""Spaces between two columns."""
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

    Args:
        width: of a line at most; None sets no limit.
        spare: columns that may be left out where room is short, the first one first.
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
    widths = natural if room is None else _fitted(table, natural, room)
    if widths is not None or room is None or width is None:
        return [line for row in table for line in _lines(row, widths or natural)], left_out
    table, legend = _numbered(table)
    widths = _fitted(table, _widths(table, _length), room)
    if widths is None:
        return _one_below_the_other([kept, *table[1:]], width), left_out
    lines = [line for row in table for line in _lines(row, widths)]
    return [*lines, *(line for note in legend for line in folded(note, width))], left_out


def _numbered(table: Sequence[Row]) -> tuple[list[Row], list[str]]:
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


def _fitted(table: Sequence[Row], natural: list[int], room: int) -> list[int] | None:
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


def _lines(row: Row, widths: Sequence[int]) -> list[str]:
    """A row as lines: every cell folded to its column's width."""
    cells = [folded(cell, width) for cell, width in zip(row, widths, strict=True)]
    return [
        (" " * GAP).join(_padded(part, width) for part, width in zip(parts, widths, strict=True))
        .rstrip()
        for parts in zip_longest(*cells, fillvalue="")
    ]  # fmt: skip


def _padded(text: str, width: int) -> str:
    return text + " " * (width - _length(text))


def folded(text: str, width: int) -> list[str]:
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
            first, *others = folded(f"{name}: {cell}", width - GAP)
            lines += [first, *(" " * GAP + other for other in others)]
        lines.append("")
    return lines[:-1]
