"""What the results of this package share: a short text, a table, a data frame, a picture."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from adapter_stilts.errors import UserError
from adapter_stilts.paths import check_writable, write_whole

if TYPE_CHECKING:
    from pandas import DataFrame

SUFFIXES = (".svg", ".png", ".pdf")
"""The formats that `Picture.save` writes; each is chosen by the file's ending."""
PNG_SCALE = 2.0
WIDTH = 420
"""Pixels from the left to the right end of a chart's axis."""


@dataclass(frozen=True, repr=False)
class Picture:
    """A drawing as SVG text. A notebook shows it; `save` writes it as SVG, PNG or PDF."""

    svg: str
    title: str = ""

    @classmethod
    def from_vega_lite(cls, spec: Mapping[str, Any], *, legend: str = "") -> Picture:
        """Draws a Vega-Lite specification, with its description as the title.

        Args:
            spec: such as `display.charts` makes it.
            legend: what stands below the title in small type.
        """
        import vl_convert  # large: only where something is drawn

        title = str(spec.get("description", ""))
        head = {"text": title, "anchor": "start", "fontSize": 13, "offset": 12}
        if legend:
            head |= {"subtitle": wrap(legend, 90), "subtitleFontSize": 11, "subtitleColor": "#555"}
        framed = {"background": "white", "title": head, **spec}
        if framed.get("width") == "container":
            framed["width"] = WIDTH
        return cls(vl_convert.vegalite_to_svg(framed), title)

    def save(self, path: str | Path) -> Path:
        """Writes the picture; the ending of the name decides the format.

        Raises:
            UserError: the ending names no format, or the file cannot be written.
        """
        path = check_picture(path)
        write_whole(path, self._as_bytes(path.suffix.lower()))
        return path

    def _as_bytes(self, suffix: str) -> bytes:
        if suffix == ".svg":
            return self.svg.encode("utf-8")
        import vl_convert

        if suffix == ".png":
            return bytes(vl_convert.svg_to_png(self.svg, scale=PNG_SCALE))
        return bytes(vl_convert.svg_to_pdf(self.svg))

    def _repr_svg_(self) -> str:
        return self.svg

    def __repr__(self) -> str:
        return f"<Picture {self.title or 'without a title'}; save('name.svg') writes it to a file>"


def check_picture(path: str | Path) -> Path:
    """Refuses a file that no picture can be written to.

    Raises:
        UserError: its ending names no format, it is a folder, or nothing can be written there.
    """
    path = Path(path).expanduser()
    if path.suffix.lower() not in SUFFIXES:
        endings = " or ".join(SUFFIXES)
        raise UserError(f"picture '{path}': its name must end in {endings}, as {path.stem}.svg")
    if path.is_dir():
        raise UserError(f"picture '{path}' is a folder: choose another name")
    check_writable(path.parent)
    return path


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
