"""One saved LoRA on the tiny XLM-R, copied for each test that spoils it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from adapter_stilts.engine.engine import Engine
from made_modules import make_engine, save_made


@pytest.fixture(scope="session")
def tiny_engine(tiny_xlmr: Path) -> Engine:
    """The tiny XLM-R with the saved module still in it."""
    engine: Engine = make_engine(str(tiny_xlmr))
    return engine


@pytest.fixture(scope="session")
def saved(tiny_engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LoRA for MNLI, in the native format and in peft's."""
    folder = tmp_path_factory.mktemp("saved") / "mnli-lora"
    save_made(tiny_engine, "mnli-lora", "lora", "classification", folder)
    return folder


@pytest.fixture
def module(saved: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(saved, tmp_path / "module"))
