"""The forest plot: where its marks lie, and what they say."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from adapter_stilts.display.forest import Line, forest

SVG = "{http://www.w3.org/2000/svg}"
LINES = [
    Line("en", 2.0, 1.0, 3.0),
    Line("<sw>", -1.0, -2.5, 0.5),
    Line("2 languages", -2.0, -3.0, -1.0, bold=True),
]


def draw(lines: list[Line]) -> ET.Element:
    """The plot, read as XML."""
    return ET.fromstring(forest(lines, title="a - b", left="b & c", right="a", legend="points"))


def test_marks_lie_on_the_scale_that_is_written() -> None:
    root = draw(LINES)
    ticks = {
        each.text: float(each.attrib["x"])
        for each in root.iter(f"{SVG}text")
        if each.get("class") == "tick" and "y" in each.attrib and each.text != "points"
    }
    assert list(ticks) == ["-3", "-2", "-1", "+0", "+1", "+2", "+3"]
    circles = list(root.iter(f"{SVG}circle"))
    assert float(circles[0].attrib["cx"]) == pytest.approx(ticks["+2"], abs=0.1)
    assert float(circles[1].attrib["cx"]) == pytest.approx(ticks["-1"], abs=0.1)
    bars = [each for each in root.iter(f"{SVG}line") if each.get("stroke-width") == "2"]
    ends = [float(bars[0].attrib[end]) for end in ("x1", "x2")]
    assert ends == pytest.approx([ticks["+1"], ticks["+3"]], abs=0.1)


def test_filled_is_what_excludes_zero() -> None:
    root = draw(LINES)
    fills = [each.attrib["fill"] for each in root.iter(f"{SVG}circle")]
    assert fills[0] != "white" and fills[1] == "white"
    assert len(list(root.iter(f"{SVG}path"))) == 1
    titles = [each.text for each in root.iter(f"{SVG}title")]
    assert titles[1] == "<sw>: -1.0 (-2.5 to +0.5)"


@pytest.mark.parametrize("reach", [0.0, 1e-9, 0.03, 47.0])
def test_any_differences_have_a_scale(reach: float) -> None:
    root = draw([Line("en", 0.0, -reach, reach)])
    xs = [float(each.attrib["cx"]) for each in root.iter(f"{SVG}circle")]
    assert 0 < xs[0] < float(root.attrib["width"])
