"""Small target tasks in four languages, and modules for them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from adapter_stilts.engine.engine import Engine
from adapter_stilts.evaluation import retrieval
from adapter_stilts.inference.vectors import sentence_vectors
from evaluation_kit import made_zoo, tiny, with_languages
from made_modules import make_engine, remove_module

__all__ = ["made_zoo", "tiny", "with_languages"]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Models this small gain nothing from more."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own: where its vectors lie."""
    monkeypatch.setenv("ADSTILTS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "vectors"


@pytest.fixture(scope="module")
def shared_engine(tiny_xlmr: Path) -> Engine:
    return make_engine(str(tiny_xlmr))


@pytest.fixture
def engine(shared_engine: Engine) -> Iterator[Engine]:
    """The tiny XLM-R, without modules before and after."""
    yield shared_engine
    for name in list(shared_engine.modules):
        remove_module(shared_engine, name)


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of texts of every set whose vectors are computed."""
    sizes: list[int] = []

    def count(engine: Engine, features: Any, **options: Any) -> Any:
        sizes.append(len(features))
        return sentence_vectors(engine, features, **options)

    monkeypatch.setattr(retrieval, "sentence_vectors", count)
    return sizes
