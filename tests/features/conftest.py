"""Tokenizers of both architectures, and a cache of each test's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from adapter_stilts.backbones import find_backbone


@pytest.fixture
def features_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of cached features, in a cache of the test's own."""
    monkeypatch.setenv("ADSTILTS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "features"


@pytest.fixture(scope="session")
def tiny_tokenizer(tiny_xlmr: Path) -> Any:
    """The tiny XLM-R's tokenizer."""
    return find_backbone(str(tiny_xlmr)).tokenizer


@pytest.fixture(scope="session")
def embedded_tokenizer(embedded: str) -> Any:
    """The embedded backbone's tokenizer, which is XLM-R's."""
    return find_backbone(embedded).tokenizer


@pytest.fixture(params=["tiny", "embedded"])
def tokenizer(request: pytest.FixtureRequest) -> Any:
    """Each tokenizer in turn."""
    return request.getfixturevalue(f"{request.param}_tokenizer")
