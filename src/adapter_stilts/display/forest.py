"""Forest plots as SVG: differences with their intervals, one a line, around zero."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from math import ceil, floor, log10
from typing import NamedTuple

_ROW = 18
_WIDE = 420
_STYLE = (
    "text{font-family:Helvetica,Arial,'DejaVu Sans',sans-serif;font-size:11px;fill:#222}"
    ".title{font-size:13px;font-weight:bold}.bold{font-weight:bold}.tick{font-size:9px;fill:#555}"
)
# Told apart by the colour-blind (Okabe and Ito 2008), and by their marks.
_BETTER, _WORSE, _OPEN = "#0072b2", "#d55e00", "#555555"


class Line(NamedTuple):
    """A difference with its interval; `bold` for those of several languages together."""

    name: str
    value: float
    low: float
    high: float
    bold: bool = False


def forest(lines: Sequence[Line], *, title: str, left: str, right: str, legend: str) -> str:
    """The plot as one file that browsers, Inkscape and LaTeX read.

    A filled mark is an interval without zero, a diamond one of several languages.

    Args:
        left, right: what a difference below and above zero says.
    """
    reach = max((abs(each) for line in lines for each in (line.low, line.high)), default=1.0)
    step = _step(reach)
    most = step * max(1, ceil(reach / step))
    start = 24 + max((len(line.name) for line in lines), default=0) * 7.0
    middle, scale = start + _WIDE / 2, _WIDE / 2 / most
    upper, lower = 60, 60 + len(lines) * _ROW
    parts = [f'<text class="title" x="12" y="20">{escape(title)}</text>']
    parts.append(f'<text x="{middle - 8:.1f}" y="44" text-anchor="end">← {escape(left)}</text>')
    parts.append(f'<text x="{middle + 8:.1f}" y="44">{escape(right)} →</text>')
    for place in range(-round(most / step), round(most / step) + 1):
        x = middle + place * step * scale
        colour = "#222" if place == 0 else "#ddd"
        parts.append(_stroke(x, upper - 6, x, lower, colour))
        parts.append(
            f'<text class="tick" x="{x:.1f}" y="{lower + 12}" text-anchor="middle">'
            f"{place * step:+g}</text>"
        )
    for number, line in enumerate(lines):
        parts += _line(line, start, middle, scale, upper + number * _ROW + 6)
    width = max(start + _WIDE + 120, 24 + max(len(title) * 7.8, len(legend) * 5.2))
    height = lower + 40
    parts.append(f'<text class="tick" x="12" y="{height - 10}">{escape(legend)}</text>')
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height}" '
        f'viewBox="0 0 {width:.0f} {height}" role="img">\n<style>{_STYLE}</style>\n'
        f'<rect width="100%" height="100%" fill="white"/>\n{body}\n</svg>\n'
    )


def _step(reach: float) -> float:
    """The distance of two marks of the scale: 1, 2 or 5 times a power of ten."""
    rough = max(reach, 1e-6) / 4
    power = 10.0 ** floor(log10(rough))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)


def _stroke(x1: float, y1: float, x2: float, y2: float, colour: str, width: float = 1) -> str:
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" '
        f'stroke-width="{width}"/>'
    )


def _line(line: Line, start: float, middle: float, scale: float, y: float) -> Iterator[str]:
    colour = _BETTER if line.low > 0 else _WORSE if line.high < 0 else _OPEN
    kind = ' class="bold"' if line.bold else ""
    told = f"{line.name}: {line.value:+.1f} ({line.low:+.1f} to {line.high:+.1f})"
    x = middle + line.value * scale
    yield f"<g><title>{escape(told)}</title>"
    named = f'<text{kind} x="{start - 10:.1f}" y="{y + 4}" text-anchor="end">'
    yield f"{named}{escape(line.name)}</text>"
    yield _stroke(middle + line.low * scale, y, middle + line.high * scale, y, colour, 2)
    fill = "white" if line.low <= 0 <= line.high else colour
    if line.bold:
        yield (
            f'<path d="M{x - 6:.1f} {y}L{x:.1f} {y - 5}L{x + 6:.1f} {y}L{x:.1f} {y + 5}Z" '
            f'fill="{fill}" stroke="{colour}"/>'
        )
    else:
        yield f'<circle cx="{x:.1f}" cy="{y}" r="3.5" fill="{fill}" stroke="{colour}"/>'
    numbers = told.removeprefix(f"{line.name}: ")
    yield f'<text{kind} x="{middle + _WIDE / 2 + 8:.1f}" y="{y + 4}">{escape(numbers)}</text></g>'
