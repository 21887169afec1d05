"""A Chromium for the tests of a file; each of its pages has cookies and a cache of its own."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """Starts once for the file."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    where = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if where is None:
        pytest.skip("no Chromium is installed (CHROMIUM names one)")
    with api.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=where, args=[*ARGUMENTS])
        yield browser
        browser.close()
