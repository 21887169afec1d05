"""Pages of results are what their scripts make of the committed records, to the letter."""

from __future__ import annotations

import importlib
import shutil
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "docs/results"


@pytest.fixture(autouse=True)
def _scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    monkeypatch.chdir(ROOT)


@pytest.mark.parametrize("name", ["recipes", "memory"])
def test_a_page_is_made_of_its_records(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = tmp_path / f"{name}.md"
    monkeypatch.setattr(sys, "argv", ["page", "--out", str(made)])
    importlib.import_module(f"{name}_page").main()
    assert made.read_bytes() == (RESULTS / made.name).read_bytes()


def test_the_page_of_the_zoo_and_the_table_of_readme(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, readme = tmp_path / "zoo.md", tmp_path / "README.md"
    shutil.copy(ROOT / "README.md", readme)
    monkeypatch.setattr(sys, "argv", ["page", "--out", str(made), "--readme", str(readme)])
    importlib.import_module("shipped_zoo_page").main()
    assert made.read_bytes() == (RESULTS / "zoo.md").read_bytes()
    assert readme.read_bytes() == (ROOT / "README.md").read_bytes()
