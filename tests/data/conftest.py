"""Every test has a cache of its own, and no data folder from outside."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from formats_kit import Writer


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache folder of this test."""
    monkeypatch.setenv("ADSTILTS_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("ADSTILTS_DATA", raising=False)
    return tmp_path / "cache"


@pytest.fixture
def write(tmp_path: Path) -> Writer:
    """Writes a file below `tmp_path / "data"`, dated a minute back."""

    def writer(name: str, content: str | bytes) -> Path:
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        before = path.stat().st_mtime - 60
        os.utime(path, (before, before))
        return path

    return writer
