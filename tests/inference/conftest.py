"""One saved module for each head kind on the tiny XLM-R."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from made_modules import TASKS, make_engine, remove_module, save_made


@pytest.fixture(scope="session")
def folders(tiny_xlmr: Path, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """The modules' folders by head kind."""
    engine = make_engine(str(tiny_xlmr))
    top = tmp_path_factory.mktemp("modules")
    for head, task in TASKS.items():
        save_made(engine, task, "bottleneck", head, top / task)
        remove_module(engine, task)
    return {head: top / task for head, task in TASKS.items()}
