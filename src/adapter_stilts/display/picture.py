"""A picture that a notebook shows and that `save` writes to a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from textwrap import wrap
from typing import Any

from adapter_stilts.errors import UserError
from adapter_stilts.paths import check_writable, write_whole

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
