"""What the results of this package share: a short text, a table, a data frame, a picture."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from math import ceil
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
        """Draws what Vega-Lite specifies; the legend stands below the title in small type."""
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
    """A picture's path; refuses an ending that names no format, and where none can be written."""
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


class Table:
    """What shows itself as one line, in a notebook as a table, and to pandas as a data frame.

    It says in `summary` what it is in one line, and in `records` what its rows are.
    """

    def summary(self) -> str:
        """The whole in one line."""
        raise NotImplementedError

    def records(self) -> list[dict[str, Any]]:
        """The rows of the table, each a dictionary of column names and values."""
        raise NotImplementedError

    def to_dataframe(self) -> DataFrame:
        """The rows as a pandas `DataFrame`."""
        import pandas

        return pandas.DataFrame.from_records(self.records())

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.summary()}>"

    def _repr_html_(self) -> str:
        return html_table(self.records(), title=self.summary())


class Result(Table):
    """The base of every result: a table that can be drawn."""

    def plot(self) -> Picture:
        """The result as a picture, which a notebook shows and `Picture.save` writes to a file."""
        raise NotImplementedError


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


def html_facts(facts: Mapping[str, Any], *, title: str) -> str:
    """What is known of one thing as a small table for a notebook; what is empty is left out."""
    rows = "".join(
        f"<tr><th>{escape(name)}</th><td>{escape(cell_text(value))}</td></tr>"
        for name, value in facts.items()
        if value is not None and value != ""
    )
    return f"<div><p><b>{escape(title)}</b></p><table><tbody>{rows}</tbody></table></div>"


def _row(record: Mapping[str, Any], columns: Iterable[str]) -> str:
    cells = (cell_text(record.get(name)) for name in columns)
    return "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>"


def scores_line(scores: Mapping[str, float]) -> str:
    """Scores by name in a line, such as `f1 63.0, exact_match 45.8`."""
    return ", ".join(f"{name} {value:.1f}" for name, value in scores.items())


def percent_text(share: float) -> str:
    """A share in percent, with the decimals that it has.

    >>> percent_text(0.95), percent_text(0.999)
    ('95 %', '99.9 %')
    """
    return f"{100 * share:g} %"


def p_text(p: float) -> str:
    """A p value with three decimals.

    >>> p_text(0.0461), p_text(0.0001)
    ('0.046', '<0.001')
    """
    return f"{p:.3f}" if p >= 0.0005 else "<0.001"


def bound_text(bound: float, edge: float) -> str:
    """A bound of an interval with one decimal, or so many that it does not look like an edge.

    >>> bound_text(-1.14, 0), bound_text(0.04, 0), bound_text(0.98, 1)
    ('-1.1', '+0.04', '+0.98')
    """
    for decimals in (1, 2, 3):
        said = f"{bound:+.{decimals}f}"
        if float(said) != edge:
            break
    return said


def markdown_row(cells: Iterable[str]) -> str:
    """A row of a table in Markdown, in whose cells a bar is no border."""
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def cell_text(value: Any) -> str:
    """One value as a reader wants to see it: two decimals, and nothing for what is missing."""
    if value is None:
        return ""
    return f"{value:,.2f}" if isinstance(value, float) else str(value)


Spec = dict[str, Any]
Rows = Sequence[dict[str, Any]]
SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#555555")
"""Colours that the colour-blind tell apart (Okabe and Ito 2008)."""
BLUE, ORANGE, GREY = COLOURS[0], COLOURS[1], COLOURS[-1]


def chart(title: str, rows: Rows, **parts: Any) -> Spec:
    """The frame of a chart: a title, also for those who do not see it, its rows, other parts."""
    about: Spec = {"$schema": SCHEMA, "description": title, "data": {"values": list(rows)}}
    config = {"font": "Helvetica, Arial, sans-serif", "axis": {"labelLimit": 260}}
    return {**about, "width": "container", "config": config, **parts}


def bars(rows: Rows, *, label: str, value: str, series: str = "", title: str) -> Spec:
    """One horizontal bar a row, in the rows' order, one colour for each of several compositions.

    `label` and `value` are the columns with a bar's name and its length; `series` is the one that
    tells several bars of one label apart by colour and place.
    """
    # Under names of our own: Vega-Lite takes a point in a column's name for a path.
    drawn = [
        {"label": row[label], "value": row[value], "series": row.get(series, "")} for row in rows
    ]
    encoding: Spec = {
        "y": {"field": "label", "type": "nominal", "sort": None, "title": None},
        "x": {"field": "value", "type": "quantitative", "title": value},
    }
    if series:
        named = list(dict.fromkeys(row["series"] for row in drawn))
        scale = {"domain": named, "range": [COLOURS[n % len(COLOURS)] for n in range(len(named))]}
        legend = {"orient": "bottom", "columns": 1, "labelLimit": 400}
        encoding["yOffset"] = {"field": "series", "sort": named}
        encoding["color"] = {"field": "series", "title": None, "scale": scale, "legend": legend}
    mark = {"type": "bar", **({} if series else {"color": BLUE})}
    height = {"step": 12 if series else 16}
    return chart(title, drawn, encoding=encoding, mark=mark, height=height)


def forest(rows: Rows, *, first: str, second: str, title: str, numbers: bool = False) -> Spec:
    """Differences with their intervals around zero: a difference is the `first` less the `second`.

    Colour and shape say whether an interval lies above zero, below it, or on both sides. Rows have
    `name`, `difference`, `low` and `high`; and `mean`, if they are the mean of other rows. With
    `numbers`, each difference stands beside its interval: a page that fits the chart to its width
    has no room for them.
    """
    effects = [f"{first} better", f"{second} better", "no clear difference"]
    drawn = [
        {
            **row,
            "effect": effects[0 if row["low"] > 0 else 1 if row["high"] < 0 else 2],
            "said": f"{row['difference']:+.1f} ({row['low']:+.1f} to {row['high']:+.1f})",
        }
        for row in rows
    ]
    low, high = _domain(rows)
    cut = any(row["low"] < low or row["high"] > high for row in rows)
    axis = [f"points: {first} less {second}"] + ["(some intervals end outside)"] * cut
    effect = {"field": "effect", "type": "nominal", "title": None,
              "scale": {"domain": effects, "range": [BLUE, ORANGE, GREY]},
              "legend": {"orient": "bottom", "labelLimit": 400, "columns": 1}}  # fmt: skip
    shapes = ["triangle-right", "triangle-left", "circle"]
    shape = {**effect, "scale": {"domain": effects, "range": shapes}}
    means = [row["name"] for row in rows if row.get("mean")]
    bold = {"condition": {"test": {"field": "value", "oneOf": means}, "value": "bold"},
            "value": "normal"}  # fmt: skip
    y = {"field": "name", "type": "nominal", "sort": None, "title": None,
         "axis": {"labelFontWeight": bold}}  # fmt: skip
    x = {"type": "quantitative", "title": axis,
         "scale": {"domain": [low, high], "nice": False}}  # fmt: skip
    said = {"field": "said", "type": "nominal"}
    layers = [
        {"mark": {"type": "rule", "color": "#999"}, "encoding": {"x": {"datum": 0}}},
        {"mark": {"type": "rule", "strokeWidth": 2, "clip": True}, "encoding": {
            "y": y, "x": {**x, "field": "low"}, "x2": {"field": "high"}, "color": effect}},
        {"mark": {"type": "point", "filled": True, "size": 80, "opacity": 1}, "encoding": {
            "y": y, "x": {**x, "field": "difference"}, "color": effect, "shape": shape,
            "tooltip": [{"field": "name"}, {**said, "title": "difference"}]}},
    ]  # fmt: skip
    if numbers:
        layers.append(
            {"mark": {"type": "text", "align": "left", "dx": 8}, "encoding": {
                "y": y, "x": {"value": "width"}, "text": said}}
        )  # fmt: skip
    return chart(title, drawn, layer=layers, height=18 * len(rows))


def _domain(rows: Rows) -> tuple[float, float]:
    """What the axis shows: zero, all differences, and nearly all intervals, whole."""
    bounds = sorted(max(abs(row["low"]), abs(row["high"])) for row in rows)
    points = max((abs(row["difference"]) for row in rows), default=0.0)
    reach = max(bounds[int(0.85 * (len(bounds) - 1))] if bounds else 0.0, points)
    low = max(min(row["low"] for row in rows), -reach) if rows else 0.0
    high = min(max(row["high"] for row in rows), reach) if rows else 0.0
    room = 0.04 * (max(high, 0.0) - min(low, 0.0)) or 1.0
    return min(low, 0.0) - room, max(high, 0.0) + room


def attention_map(rows: Rows, *, title: str, mark: float | None = None, **facets: Any) -> Spec:
    """Heat maps of attention weights on one scale from 0: layers across, sources down.

    Rows have `layer`, `source` and `weight`; a weight of None is drawn as a dot. `mark` is a weight
    that the scale names: that of sources that are listened to all alike. `facets` say, as Vega-Lite
    does, by what there are several maps.
    """
    greatest = max((row["weight"] for row in rows if row["weight"] is not None), default=1.0)
    top = max(ceil(greatest * 20) / 20, 0.05)
    legend: Spec = {"orient": "bottom", "gradientLength": 200, "format": ".2f"}
    if mark is not None and 0.12 < mark / top < 0.88:
        alike = f"datum.value == {mark!r} ? '{mark:.2f}: all alike' : datum.label"
        legend |= {"values": [0, mark, top], "labelExpr": alike}
    colour = {"field": "weight", "type": "quantitative", "title": "attention weight",
              "scale": {"scheme": "blues", "domain": [0, top]}, "legend": legend}  # fmt: skip
    told = [{"field": name} for name in (*_fields(facets), "layer", "source")]
    told.append({"field": "weight", "format": ".3f"})
    panel = {
        "encoding": {
            "x": {"field": "layer", "type": "ordinal",
                  "axis": {"labelAngle": 0, "labelOverlap": True}},
            "y": {"field": "source", "type": "nominal", "sort": None, "title": None},
        },
        "layer": [
            {"mark": "rect", "transform": [{"filter": "isValid(datum.weight)"}],
             "encoding": {"color": colour, "tooltip": told}},
            {"mark": {"type": "point", "filled": True, "size": 6, "color": "#bbb"},
             "transform": [{"filter": "!isValid(datum.weight)"}]},
        ],
        "height": {"step": 14},
        "width": {"step": 15},
    }  # fmt: skip
    made = chart(title, rows, spec=panel, **facets)
    del made["width"]  # its maps have theirs
    return made


def _fields(facets: Spec) -> list[str]:
    facet = facets["facet"]
    return [facet["field"]] if "field" in facet else [each["field"] for each in facet.values()]
