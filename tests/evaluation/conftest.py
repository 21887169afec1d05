"""Small target tasks in four languages, and modules for them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from adapter_stilts.engine.engine import Engine
from adapter_stilts.evaluation import vector_cache
from adapter_stilts.inference.vectors import sentence_vectors
from evaluation_kit import made_zoo, tiny, with_languages

__all__ = ["made_zoo", "tiny", "with_languages"]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Models this small gain nothing from more."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of texts of every set whose vectors are computed."""
    sizes: list[int] = []

    def count(engine: Engine, features: Any, **options: Any) -> Any:
        sizes.append(len(features))
        return sentence_vectors(engine, features, **options)

    monkeypatch.setattr(vector_cache, "sentence_vectors", count)
    return sizes
