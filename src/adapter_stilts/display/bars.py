"""Bars of scores by language, one colour for each of several compositions, as Vega-Lite."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from adapter_stilts.display.picture import Picture

SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#555555")
"""Colours that the colour-blind tell apart (Okabe and Ito 2008)."""


def bars(
    rows: Sequence[dict[str, Any]], *, label: str, value: str, series: str = "", title: str
) -> Picture:
    """Draws one horizontal bar a row.

    Args:
        rows: the records to draw.
        label: the column that names a bar; the rows' order is kept.
        value: the column with its length.
        series: the column that tells several bars of one label apart by colour and place.
        title: what the picture shows.
    """
    encoding: dict[str, Any] = {
        "y": {"field": label, "type": "nominal", "sort": None, "title": None},
        "x": {"field": value, "type": "quantitative", "title": value},
    }
    if series:
        named = list(dict.fromkeys(row[series] for row in rows))
        scale = {"domain": named, "range": [COLOURS[n % len(COLOURS)] for n in range(len(named))]}
        legend = {"orient": "bottom", "columns": 1, "labelLimit": 400}
        encoding["yOffset"] = {"field": series, "sort": named}
        encoding["color"] = {"field": series, "title": None, "scale": scale, "legend": legend}
    spec = {
        "$schema": SCHEMA,
        "description": title,
        "title": {"text": title, "anchor": "start", "fontSize": 13},
        "background": "white",
        "width": 420,
        "height": {"step": 12 if series else 16},
        "config": {"font": "Helvetica, Arial, sans-serif", "axis": {"labelLimit": 260}},
        "data": {"values": list(rows)},
        "encoding": encoding,
        "mark": {"type": "bar", **({} if series else {"color": COLOURS[0]})},
    }
    return Picture.from_vega_lite(spec)
