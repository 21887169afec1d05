"""A pool of modules of every kind on the tiny XLM-R, for tests of the service."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from browser_kit import chromium
from evaluation_kit import made_zoo

__all__ = ["chromium", "made_zoo"]

pytest.importorskip("fastapi", reason="the extra 'serve' is not installed")

from adapter_stilts.serving.pool import ModulePool, stock

STACK = "stack(squad, qa)"


@pytest.fixture
def here(made_zoo: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The zoo is the made one."""
    monkeypatch.setenv("ADSTILTS_ZOO", str(made_zoo))
    return made_zoo


@pytest.fixture(scope="session")
def pool(made_zoo: Path) -> Iterator[ModulePool]:
    """A stack that is named, and everything else there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ADSTILTS_ZOO", str(made_zoo))
        yield stock([STACK], backbone=None, zoo=True, most=20, precision="fp32")
