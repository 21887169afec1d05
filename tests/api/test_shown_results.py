"""Results say what they are in one line, in a table, as a data frame and as a picture."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import adapter_stilts as ads
from adapter_stilts.display import MOST_ROWS, Picture, Result, html_table
from evaluation_kit import made_zoo, tiny

__all__ = ["made_zoo", "tiny"]


class Table(Result):
    """A result with names that nobody should trust."""

    def __init__(self, count: int) -> None:
        self.count = count

    def summary(self) -> str:
        """One line."""
        return f"<b>{self.count}</b>"

    def records(self) -> list[dict[str, Any]]:
        """So many rows."""
        return [{"name": f"<script>{n}", "score": n / 3, "none": None} for n in range(self.count)]


def test_one_line_and_a_table_whose_texts_are_escaped() -> None:
    table = Table(2)
    assert repr(table) == "<Table <b>2</b>>"
    html = table._repr_html_()
    root = ET.fromstring(html)  # it is whole
    assert "<script>" not in html and "<b>2</b>" not in html
    assert [each.text for each in root.iter("th")] == ["name", "score", "none"]
    assert [each.text for each in root.iter("td")][:3] == ["<script>0", "0.00", None]


def test_a_long_table_is_cut_in_a_notebook_only() -> None:
    html = html_table(Table(MOST_ROWS + 5).records(), title="x")
    assert html.count("<tr>") == MOST_ROWS + 1 and "5 more rows" in html
    assert len(Table(MOST_ROWS + 5).to_dataframe()) == MOST_ROWS + 5


def test_a_picture_is_written_in_the_format_of_its_name(tmp_path: Path) -> None:
    picture = Picture('<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>', "dots")
    assert picture._repr_svg_().startswith("<svg") and "dots" in repr(picture)
    assert picture.save(tmp_path / "a.svg").read_text("utf-8") == picture.svg
    with pytest.raises(ads.UserError, match=r"\.svg"):
        picture.save(tmp_path / "a.gif")
    with pytest.raises(ads.UserError, match="folder"):
        (tmp_path / "b.svg").mkdir()
        picture.save(tmp_path / "b.svg")
    assert picture.save(tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert picture.save(tmp_path / "a.pdf").read_bytes().startswith(b"%PDF")


def test_modules_records_and_tasks_show_themselves(tiny: Path) -> None:
    module = ads.load("nli")
    pulled = ads.Pulled(Path("zoo"), module.record)
    for thing in (module, module.record, pulled, module.task, ads.get_target("xnli")):
        assert repr(thing).startswith(f"<{type(thing).__name__} ") and len(repr(thing)) < 200
        html = thing._repr_html_()
        facts = dict(zip(*(_texts(html, tag) for tag in ("th", "td")), strict=True))
        assert facts["head"] == "classification" and "" not in facts.values()
    record = replace(module.record, task="<script>", scores={"f1": 7.25})
    html = record._repr_html_()
    assert "<script>" not in html and "f1 7.2" in html


def _texts(html: str, tag: str) -> list[str]:
    return [str(each.text) for each in ET.fromstring(html).iter(tag)]


def test_evaluations_side_by_side(tiny: Path) -> None:
    found = ads.evaluate("tiny-nli", ["nli", "nli-lora"], data=str(tiny / "data"))
    assert isinstance(found, list) and len(found) == 2
    frame = found.to_dataframe()
    assert set(frame["language"]) == set(found[0].languages)
    assert len(frame) == 2 * len(found[0].languages)
    assert list(frame[frame["composition"] == "nli"]["accuracy"]) == [
        scores["accuracy"] for scores in found[0].scores.values()
    ]
    assert repr(found[0]).startswith("<Evaluation tiny-nli test, nli: accuracy")
    assert "tiny-nli" in found._repr_html_()
    ET.fromstring(found.plot().svg)
    assert "nli-lora" in found.plot().svg
    ET.fromstring(found[0].plot().svg)
