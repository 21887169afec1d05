"""Small pieces of output that several commands share."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence

import typer

from adapter_stilts.cli.table import folded, layout, terminal_width
from adapter_stilts.safety import printable


def scores_line(scores: Mapping[str, float]) -> str:
    """`f1 63.0, exact_match 45.8`"""
    return ", ".join(f"{name} {value:.1f}" for name, value in scores.items())


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
