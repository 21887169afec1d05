"""The page in a real browser: what a person sees and does."""

from __future__ import annotations

import dataclasses
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from adapter_stilts.serving.app import create_app
from adapter_stilts.serving.pool import Offer, stock
from adapter_stilts.serving.run import Server, bound

pytestmark = pytest.mark.browser

HOSTILE = "<img src=x onerror=window.hit=1>"


@pytest.fixture
def site(here: Path) -> Iterator[str]:
    """The service in a thread, with a module whose name would be a script."""
    own = stock(["nli"], backbone=None, zoo=True, most=20, precision="fp32")
    squad = own.offers["squad"].resolved
    reference = squad.modules["squad"]
    record = dataclasses.replace(reference.record, run="c" * 16, scores={f"<b>{HOSTILE}</b>": 50.0})
    modules = {"squad": dataclasses.replace(reference, known=record)}
    own.add([Offer(HOSTILE, dataclasses.replace(squad, modules=modules))])
    with bound("127.0.0.1", 0) as listening:
        ready = threading.Event()
        config = uvicorn.Config(create_app(own), log_level="warning", ws="none")
        server = Server(config, ready.set)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        assert ready.wait(20)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        server.should_exit = True
        thread.join(20)


@pytest.fixture
def page(site: str, chromium: Any) -> Iterator[Any]:
    """The page, opened, with every complaint of the browser kept."""
    opened = chromium.new_page(viewport={"width": 1000, "height": 900})
    complaints: list[str] = []
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on(
        "console",
        lambda said: complaints.extend([said.text] if said.type == "error" else []),
    )
    opened.goto(site)
    opened.wait_for_selector("#fields textarea")
    yield opened
    if folder := os.environ.get("ADSTILTS_SCREENSHOTS"):
        opened.screenshot(path=Path(folder) / "page.png", full_page=True)
    opened.close()
    assert [each for each in complaints if "422" not in each] == []


def test_a_person_asks_every_kind_of_module(page: Any) -> None:
    for name, shown in {
        "nli": "entailment",
        "copa": "%",
        "pos": "She",
        "qa-all": "",
    }.items():
        page.select_option("#module", name)
        page.click("#ask")
        page.wait_for_selector("#result:not([hidden])")
        assert shown in page.inner_text("#result")
        assert page.locator("#result .bad").count() == 0
    answer = page.inner_text("#result .answer")
    assert page.inner_text("#result mark") == answer  # where it stands in the text


def test_a_mistake_is_explained_on_the_page(page: Any) -> None:
    page.select_option("#module", "copa")
    page.fill("#field-options", "one\ntwo")
    page.click("#ask")
    page.wait_for_selector("#result .bad")
    assert "4 options, not 2" in page.inner_text("#result")


def test_what_a_module_says_of_itself_is_shown_as_text(page: Any) -> None:
    page.select_option("#module", HOSTILE)
    assert HOSTILE in page.inner_text("#about")
    page.fill("#field-context", f"{HOSTILE} 👍 Ann went to {HOSTILE}.")
    page.click("#ask")
    page.wait_for_selector("#result:not([hidden])")
    assert page.evaluate("window.hit") is None
    assert page.locator("main img").count() == 0


def test_a_narrow_screen_needs_no_sideways_scrolling(page: Any) -> None:
    page.set_viewport_size({"width": 340, "height": 700})
    for name in ("qa-all", "pos", "nli"):
        page.select_option("#module", name)
        page.click("#ask")
        page.wait_for_selector("#result:not([hidden])")
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= 340, name
