"""What the results of this package share: a short text, a table for notebooks, a data frame."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pandas import DataFrame

    from adapter_stilts.display.picture import Picture

MOST_ROWS = 60
"""A notebook shows so many rows of a table; `to_dataframe` has them all."""


class Result:
    """The base of every result.

    A result says in `summary` what it is in one line, in `records` what its rows are, and in
    `plot` how it is drawn.
    """

    def summary(self) -> str:
        """The result in one line."""
        raise NotImplementedError

    def records(self) -> list[dict[str, Any]]:
        """The rows of the table, each a dictionary of column names and values."""
        raise NotImplementedError

    def plot(self) -> Picture:
        """The result as a picture, which a notebook shows and `Picture.save` writes to a file."""
        raise NotImplementedError

    def to_dataframe(self) -> DataFrame:
        """The rows as a pandas `DataFrame`."""
        import pandas

        return pandas.DataFrame.from_records(self.records())

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.summary()}>"

    def _repr_html_(self) -> str:
        return html_table(self.records(), title=self.summary())


def html_table(records: Sequence[Mapping[str, Any]], *, title: str) -> str:
    """A small table for a notebook. Every text is escaped, as names may come from anybody."""
    columns = list(dict.fromkeys(name for record in records for name in record))
    head = "".join(f"<th>{escape(name)}</th>" for name in columns)
    rows = "".join(_row(record, columns) for record in records[:MOST_ROWS])
    more = len(records) - MOST_ROWS
    note = f"<p>{more:,} more rows: to_dataframe() has them all</p>" if more > 0 else ""
    return (
        f"<div><p><b>{escape(title)}</b></p>"
        f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>{note}</div>"
    )


def _row(record: Mapping[str, Any], columns: Iterable[str]) -> str:
    cells = (cell_text(record.get(name)) for name in columns)
    return "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>"


def cell_text(value: Any) -> str:
    """One value as a reader wants to see it: two decimals, and nothing for what is missing."""
    if value is None:
        return ""
    return f"{value:,.2f}" if isinstance(value, float) else str(value)
