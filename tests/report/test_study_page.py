"""The report of a study in a real browser, offline, at the width of a desk and of a phone."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from adapter_stilts.report.page import LONG, PAGE, Report, make_report, write_report
from adapter_stilts.report.page import page as html
from adapter_stilts.report.tables import Table
from adapter_stilts.study.findings import read_study
from study_kit import write_study

pytestmark = [pytest.mark.browser, pytest.mark.whole]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> tuple[Report, Path]:
    """The report of the made study, and its page."""
    pytest.importorskip("itables", reason="the extra `report` is not installed")
    folder = tmp_path_factory.mktemp("report")
    made = make_report(*read_study(write_study(folder)), draws=200)
    write_report(made, folder / "report")
    return made, folder / "report" / PAGE


@pytest.mark.parametrize(("width", "height"), [(1200, 900), (390, 844)])
def test_the_page_opens_offline(
    chromium: Any, report: tuple[Report, Path], width: int, height: int
) -> None:
    made, path = report
    assert path.stat().st_size < 5_000_000
    page = chromium.new_page(viewport={"width": width, "height": height}, offline=True)
    complaints: list[str] = []
    asked: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda said: _keep(said, complaints))
    page.on("request", lambda each: asked.append(each.url))
    page.goto(path.as_uri())
    page.wait_for_function("document.querySelectorAll('table.dataTable').length > 3")
    page.wait_for_function(
        "document.querySelectorAll('.chart svg').length == "
        "document.querySelectorAll('.chart').length"
    )
    assert page.inner_text(".answer") == made.answers[0]
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    _filters_and_sorts(page)
    if folder := os.environ.get("ADSTILTS_SCREENSHOTS"):
        page.screenshot(path=Path(folder) / f"report-{width}.png", full_page=True)
    assert complaints == [], "\n".join(complaints)
    assert [each for each in asked if not each.startswith(("file:", "data:", "blob:"))] == []


def test_a_long_table_is_turned_over_page_by_page(tmp_path: Path, chromium: Any) -> None:
    rows = [(f"arm-{k}", float(k)) for k in range(LONG + 1)]
    tables = [Table("long", "Long", ("arm", "score"), rows)]
    tables += [Table("short", "Short", ("arm", "score"), rows[1:])]
    path = tmp_path / PAGE
    path.write_text(html(Report("Study s", "", ["Yes."], [], tables, [])), encoding="utf-8")
    page = chromium.new_page(offline=True)
    page.goto(path.as_uri())
    page.wait_for_function("document.querySelectorAll('table.dataTable').length == 2")
    long, short = (page.locator("section", has=page.locator(f"#{each.name}")) for each in tables)
    assert short.locator("tbody tr").count() == LONG
    assert long.locator("tbody tr").count() == 25
    long.locator("input[type=search]").first.fill(f"arm-{LONG}")
    page.wait_for_timeout(600)
    assert long.locator("tbody tr").all_inner_texts() == [f"arm-{LONG}\t{LONG:.1f}"]


def _keep(said: Any, complaints: list[str]) -> None:
    if said.type in ("error", "warning"):
        complaints.append(said.text)


def _filters_and_sorts(page: Any) -> None:
    section = page.locator("section", has=page.locator("#languages"))
    every = section.locator("tbody tr").count()
    section.locator("input[type=search]").first.fill("Georgian")
    page.wait_for_timeout(600)
    shown = section.locator("tbody tr").all_inner_texts()
    assert 0 < len(shown) < every
    assert all("Georgian" in row for row in shown)
    section.locator("input[type=search]").first.fill("")
    page.wait_for_timeout(600)
    section.locator("th", has_text="difference").first.click()
    page.wait_for_timeout(300)
    column = section.locator("tbody tr td:nth-child(7)").all_inner_texts()
    values = [float(each) for each in column]
    assert values in (sorted(values), sorted(values, reverse=True))
