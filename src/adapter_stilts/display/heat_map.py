"""Heat maps as SVG: one file that browsers, Inkscape and LaTeX read, with nothing to install."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from math import ceil
from typing import NamedTuple

Cells = Mapping[int, Mapping[str, float]]
"""Values by column and row."""

# Lightness falls evenly, so that it reads in grey as well.
_RAMP = ((247, 251, 255), (198, 219, 239), (107, 174, 214), (33, 113, 181), (8, 48, 107))
_HEIGHT = 16
_STYLE = (
    "text{font-family:Helvetica,Arial,'DejaVu Sans',sans-serif;font-size:11px;fill:#222}"
    ".title{font-size:13px;font-weight:bold}.panel{font-weight:bold}.tick{font-size:9px;fill:#555}"
)


def colour(share: float) -> str:
    """A colour of the ramp: 0 the lightest, 1 the darkest.

    >>> colour(0.0), colour(1.0)
    ('#f7fbff', '#08306b')
    """
    place = min(max(share, 0.0), 1.0) * (len(_RAMP) - 1)
    low = min(int(place), len(_RAMP) - 2)
    mix = zip(_RAMP[low], _RAMP[low + 1], strict=True)
    return "#" + "".join(f"{round(a + (b - a) * (place - low)):02x}" for a, b in mix)


class _Grid(NamedTuple):
    """Where everything lies: `left` and `upper` of the first panel, `across` panels a line.

    `width` is from one panel's left side to the next one's, `top` the greatest value.
    """

    rows: Sequence[str]
    columns: Sequence[int]
    axis: str
    top: float
    across: int
    left: float
    cell: int
    width: float
    upper: float = 48

    @property
    def height(self) -> float:
        """From one panel's upper side to the next one's."""
        return len(self.rows) * _HEIGHT + 34


def heat_map(
    panels: Mapping[str, Cells],
    rows: Sequence[str],
    columns: Sequence[int],
    *,
    title: str,
    legend: str,
    axis: str = "layer",
    mark: float | None = None,
) -> str:
    """Several heat maps on one scale, from 0 to the greatest value.

    Args:
        panels: values by panel, column and row; in place of one that is not there, a dot.
        rows, columns: from top to bottom, and from left to right.
        title: above all panels; `legend` stands below them.
        axis: what the columns are.
        mark: a value that is marked on the scale.
    """
    greatest = max((v for p in panels.values() for c in p.values() for v in c.values()), default=1)
    cell = max(11, min(22, 300 // len(columns)))
    left = 16 + max(map(len, rows)) * 7.0
    pitch = max(len(columns) * cell, max(map(len, panels), default=0) * 7) + 24
    across = max(1, min(3, len(panels), int((1100 - left) // pitch)))
    top = max(ceil(greatest * 20) / 20, 0.05)
    grid = _Grid(rows, columns, axis, top, across, left, cell, pitch)
    parts = [f'<text class="title" x="12" y="20">{escape(title)}</text>']
    for number, (name, cells) in enumerate(panels.items()):
        x = left + number % across * grid.width
        y = grid.upper + number // across * grid.height
        parts += _panel(name, cells, grid, x, y)
        if number % across == 0:
            parts += _row_names(grid, y)
    parts += _scale(left + across * grid.width, grid, mark)
    width = max(left + across * grid.width + 80, 24 + max(len(title) * 7.8, len(legend) * 5.2))
    height = grid.upper + max(ceil(len(panels) / across) * grid.height, 100) + 14
    parts.append(f'<text class="tick" x="12" y="{height - 8:.0f}">{escape(legend)}</text>')
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" role="img">\n<style>{_STYLE}</style>\n'
        f'<rect width="100%" height="100%" fill="white"/>\n{body}\n</svg>\n'
    )


def _row_names(grid: _Grid, y: float) -> Iterator[str]:
    for place, row in enumerate(grid.rows):
        yield (
            f'<text x="{grid.left - 6:.1f}" y="{y + place * _HEIGHT + 12:.1f}" '
            f'text-anchor="end">{escape(row)}</text>'
        )


def _panel(name: str, cells: Cells, grid: _Grid, x: float, y: float) -> Iterator[str]:
    yield f'<text class="panel" x="{x:.1f}" y="{y - 5:.1f}">{escape(name)}</text>'
    size = f'width="{grid.cell - 1}" height="{_HEIGHT - 1}"'
    every = 1 if grid.cell >= 16 else 2  # numbers that would run into each other
    for across, column in enumerate(grid.columns):
        left, middle = x + across * grid.cell, x + (across + 0.5) * grid.cell
        for down, row in enumerate(grid.rows):
            value, upper = cells.get(column, {}).get(row), y + down * _HEIGHT
            if value is None:
                yield f'<circle cx="{middle:.1f}" cy="{upper + 7:.1f}" r="1" fill="#bbb"/>'
                continue
            told = escape(f"{name}, {grid.axis} {column}, {row}: {value:.3f}")
            yield (
                f'<rect x="{left:.1f}" y="{upper:.1f}" {size} fill="{colour(value / grid.top)}">'
                f"<title>{told}</title></rect>"
            )
        if across % every == 0:
            lower = y + len(grid.rows) * _HEIGHT + 9
            yield _tick(middle, lower, str(column), ' text-anchor="middle"')


def _scale(x: float, grid: _Grid, mark: float | None) -> Iterator[str]:
    """The colours with their values, the greatest above."""
    steps, high = 20, 4.0
    for step in range(steps):
        yield (
            f'<rect x="{x:.1f}" y="{grid.upper + (steps - 1 - step) * high:.1f}" width="12" '
            f'height="{high + 0.5}" fill="{colour((step + 0.5) / steps)}"/>'
        )
    values = {0.0: "0", grid.top: f"{grid.top:.2f}"}
    if mark is not None and 0.12 < mark / grid.top < 0.88:
        values[mark] = f"{mark:.2f}: all alike"
    for value, text in values.items():
        yield _tick(x + 16, grid.upper + (1 - value / grid.top) * steps * high + 3, text)


def _tick(x: float, y: float, text: str, more: str = "") -> str:
    return f'<text class="tick" x="{x:.1f}" y="{y:.1f}"{more}>{text}</text>'
