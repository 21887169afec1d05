"""Small pieces of output that several commands share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table

from adapter_stilts.safety import printable


def scores_line(scores: Mapping[str, float]) -> str:
    """`f1 63.0, exact_match 45.8`"""
    return ", ".join(f"{name} {value:.1f}" for name, value in scores.items())


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A plain table on standard output; whole cells when the output is not a terminal."""
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console.width = 10_000
    table = Table(box=None, pad_edge=False, header_style="bold")
    for place, column in enumerate(columns):
        table.add_column(column, overflow="fold", no_wrap=place == 0)
    for row in rows:
        table.add_row(*map(printable, row))  # modules and their texts may come from anybody
    console.print(table)
