"""One engine and one plain model of `adapters` for each backbone, shared by all tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import pytest
import torch

from adapter_stilts.backbones import find_backbone
from adapter_stilts.engine.engine import Engine
from made_modules import make_engine, remove_module


@pytest.fixture(scope="package", autouse=True)
def one_thread() -> Iterator[None]:
    """Models this small gain nothing from more, and lose much where processors are busy."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def engine_for() -> Callable[[str], Engine]:
    """The engine of a backbone, in float32."""
    return cache(make_engine)


@pytest.fixture
def engine(backbone: str, engine_for: Callable[[str], Engine]) -> Iterator[Engine]:
    """The engine of each backbone in turn, without modules before and after."""
    engine = engine_for(backbone)
    yield engine
    for name in list(engine.modules):
        remove_module(engine, name)


@pytest.fixture(scope="session")
def plain_for() -> Callable[[str], Any]:
    """The backbone as a user of plain `adapters` loads it."""

    @cache
    def load(backbone: str) -> Any:
        from adapters import AutoAdapterModel

        return AutoAdapterModel.from_pretrained(str(find_backbone(backbone).path)).eval()

    return load
