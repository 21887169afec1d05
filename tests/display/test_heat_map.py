"""Heat maps: one scale, colours in the order of the values, texts that cannot break the file."""

from __future__ import annotations

from itertools import pairwise
from xml.etree import ElementTree

from adapter_stilts.display.heat_map import colour, heat_map

SVG = "{http://www.w3.org/2000/svg}"


def _lightness(written: str) -> float:
    red, green, blue = (int(written[place : place + 2], 16) for place in (1, 3, 5))
    return 0.299 * red + 0.587 * green + 0.114 * blue


def test_greater_values_are_darker() -> None:
    ramp = [colour(step / 50) for step in range(51)]
    assert all(_lightness(a) > _lightness(b) for a, b in pairwise(ramp))
    assert (colour(-1), colour(2)) == (ramp[0], ramp[-1])


def test_one_scale_for_all_panels() -> None:
    panels = {"one": {0: {"a": 0.5, "b": 0.25}}, "two": {0: {"a": 0.25}, 3: {"a": 0.1, "b": 0.2}}}
    root = ElementTree.fromstring(
        heat_map(panels, ["a", "b"], [0, 3], title="T", legend="L", mark=0.25)
    )
    cells = {
        str(cell.findtext(f"{SVG}title")): str(cell.get("fill"))
        for cell in root.iter(f"{SVG}rect")
        if cell.find(f"{SVG}title") is not None
    }
    assert set(cells) == {
        "one, layer 0, a: 0.500",
        "one, layer 0, b: 0.250",
        "two, layer 0, a: 0.250",
        "two, layer 3, a: 0.100",
        "two, layer 3, b: 0.200",
    }
    assert cells["one, layer 0, b: 0.250"] == cells["two, layer 0, a: 0.250"] == colour(0.5)
    assert len(list(root.iter(f"{SVG}circle"))) == 3  # a dot for what is not there
    texts = [text.text for text in root.iter(f"{SVG}text")]
    assert {"T", "L", "one", "two", "a", "b", "0.50", "0.25: all alike"} <= set(texts)
    inside = [
        (float(str(each.get("x"))), float(str(each.get("y")))) for each in root.iter(f"{SVG}text")
    ]
    assert all(0 <= x <= float(root.get("width", 0)) for x, _ in inside)
    assert all(0 <= y <= float(root.get("height", 0)) for _, y in inside)


def test_any_name_may_stand_in_it() -> None:
    name = 'stack(<a> & "b")'
    root = ElementTree.fromstring(
        heat_map({name: {0: {name: 1.0}}}, [name], [0], title=name, legend=name)
    )
    assert [text.text for text in root.iter(f"{SVG}text")].count(name) == 4
