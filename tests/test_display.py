"""Charts: where their marks lie, what they say, and that any name may stand in them."""

from __future__ import annotations

import re
from typing import Any
from xml.etree import ElementTree

import pytest

from adapter_stilts.display import (
    BLUE,
    GREY,
    ORANGE,
    Picture,
    Spec,
    attention_map,
    bars,
    forest,
    percent_text,
)

SVG = "{http://www.w3.org/2000/svg}"
NAMES = ("en", '<sw> & "x"', "a.b[c]", "{{ 7 * 7 }}", "'; alert(1)//")


def drawn(spec: Spec) -> ElementTree.Element:
    """The picture, read as XML."""
    return ElementTree.fromstring(Picture.from_vega_lite(spec, legend="L").svg)


def texts(root: ElementTree.Element) -> list[str]:
    return [" ".join(each.itertext()) for each in root.iter(f"{SVG}text")]


def marks(root: ElementTree.Element, kind: str) -> list[ElementTree.Element]:
    return [each for each in root.iter() if each.get("aria-roledescription") == kind]


def place(mark: ElementTree.Element) -> float:
    found = re.match(r"translate\(([-\d.e]+)", mark.attrib["transform"])
    assert found
    return float(found[1])


def row(name: str, value: float, low: float, high: float, **more: Any) -> dict[str, Any]:
    return {"name": name, "difference": value, "low": low, "high": high, **more}


ROWS = [
    row("en", 2.0, 1.0, 3.0),
    row("<sw>", -1.0, -2.5, 0.5),
    row("2 languages", -2.0, -3.0, -1.0, mean=True),
]


def test_a_forest_plot_has_its_marks_on_the_scale_that_is_written() -> None:
    root = drawn(forest(ROWS, first="a & c", second="b", title="T", numbers=True))
    points = marks(root, "point")
    assert [each.attrib["fill"] for each in points] == [BLUE, GREY, ORANGE]
    ticks = {
        float(str(each.text).replace("\u2212", "-")): place(each)
        for each in root.iter(f"{SVG}text")
        if re.fullmatch("[\u2212\\d.]+", str(each.text))
    }
    unit = (ticks[2.0] - ticks[-2.0]) / 4
    middle = place(points[0]) - 2 * unit
    assert [(place(each) - middle) / unit for each in points] == pytest.approx([2, -1, -2])
    starts = [place(each) for each in marks(root, "rule mark")]
    ends = [float(each.get("x2", 0)) for each in marks(root, "rule mark")]
    assert [(each - middle) / unit for each in starts] == pytest.approx([1, -2.5, -3])
    assert [each / unit for each in ends] == pytest.approx([2, 3, 2])
    found = texts(root)
    assert {"T", "L", "<sw>", "a & c better", "b better", "-1.0 (-2.5 to +0.5)"} <= set(found)
    bold = [each.text for each in root.iter(f"{SVG}text") if each.get("font-weight") == "bold"]
    assert "2 languages" in bold and "en" not in bold


@pytest.mark.parametrize("reach", [0.0, 1e-9, 0.03, 47.0])
def test_any_differences_have_a_scale(reach: float) -> None:
    root = drawn(forest([row("en", 0.0, -reach, reach)], first="a", second="b", title="T"))
    (point,) = marks(root, "point")
    assert 0 < place(point) < float(root.attrib["width"])


def test_an_interval_far_beyond_the_others_is_cut_and_the_axis_says_so() -> None:
    rows = [*(row(f"{n}", 0.5, 0.0, 1.0) for n in range(9)), row("x", 0.5, -90.0, 90.0)]
    spec = forest(rows, first="a", second="b", title="T")
    low, high = spec["layer"][1]["encoding"]["x"]["scale"]["domain"]
    assert -2 < low < 0 and 1 < high < 2
    assert "some intervals end outside" in " ".join(texts(drawn(spec)))


def test_a_level_between_two_percent_is_not_rounded() -> None:
    """An interval of 99.9 % is not one of all."""
    assert [percent_text(level) for level in (0.5, 0.57, 0.95, 0.999)] == [
        "50 %", "57 %", "95 %", "99.9 %"
    ]  # fmt: skip


def test_a_difference_is_said_as_in_tables_wherever_it_is_shown() -> None:
    """The page's charts have it where one points; a point in the tooltip is rounded once."""
    spec = forest([row("x", 0.25, -0.04, 1.349)], first="a", second="b", title="T")
    (point,) = (each for each in spec["layer"] if "tooltip" in each["encoding"])
    assert [each["field"] for each in point["encoding"]["tooltip"]] == ["name", "said"]
    assert spec["data"]["values"][0]["said"] == "+0.2 (-0.0 to +1.3)"


def cells(weights: dict[tuple[str, int, str], float | None]) -> list[dict[str, Any]]:
    return [
        {"texts": where, "layer": layer, "source": source, "weight": weight}
        for (where, layer, source), weight in weights.items()
    ]


def maps(rows: list[dict[str, Any]], **more: Any) -> Spec:
    names = list(dict.fromkeys(each["texts"] for each in rows))
    return attention_map(rows, title="T", facet={"field": "texts", "sort": names}, **more)


def darkness(mark: ElementTree.Element) -> int:
    return -sum(map(int, re.findall(r"\d+", mark.attrib["fill"])))


def test_attention_has_one_scale_for_all_maps() -> None:
    rows = cells(
        {
            ("two", 0, "a"): 0.25, ("two", 0, "b"): None, ("two", 3, "a"): 0.1,
            ("one", 0, "a"): 0.5, ("one", 0, "b"): 0.25, ("one", 3, "a"): None,
        }
    )  # fmt: skip
    root = drawn(maps(rows, mark=0.25, columns=2))
    found = {str(each.get("aria-label")): each for each in marks(root, "rect mark")}
    weights = {float(label.rsplit(": ", 1)[1]): each for label, each in found.items()}
    assert len(found) == 4 and set(weights) == {0.1, 0.25, 0.5}
    assert darkness(weights[0.1]) < darkness(weights[0.25]) < darkness(weights[0.5])
    same = {each.attrib["fill"] for label, each in found.items() if label.endswith("0.250")}
    assert len(same) == 1
    assert len(marks(root, "point")) == 2  # a dot for what is not there
    said = texts(root)
    assert {"T", "L", "a", "b", "0.50", "0.25: all alike"} <= set(said)
    assert said.index("two") < said.index("one")  # the order that was given


@pytest.mark.parametrize("name", NAMES)
def test_any_name_may_stand_in_a_chart(name: str) -> None:
    attention = maps(cells({(name, 0, name): 1.0}))
    difference = forest([row(name, 1.0, 0.0, 2.0)], first=name, second="b", title=name)
    columns = {"language": name, "composition": name, name: 5.0}
    bar = bars([columns], label="language", value=name, series="composition", title=name)
    for spec, times in ((attention, 2), (difference, 2), (bar, 4)):
        assert texts(drawn(spec)).count(name) == times


def test_a_bar_is_as_long_as_its_value_whatever_the_column_is_called() -> None:
    rows = [{"task": "x", "squad.f1": 20.0}, {"task": "y", "squad.f1": 40.0}]
    found = marks(drawn(bars(rows, label="task", value="squad.f1", title="T")), "bar")
    one, two = (float(re.findall(r"h([\d.]+)", each.attrib["d"])[0]) for each in found)
    assert two == pytest.approx(2 * one) and one > 0
