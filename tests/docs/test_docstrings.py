"""The examples in docstrings give what stands below them."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

import adapter_stilts

PACKAGE = Path(adapter_stilts.__file__).parent
WITH_EXAMPLES = [
    path.relative_to(PACKAGE.parent).with_suffix("")
    for path in sorted(PACKAGE.rglob("*.py"))
    if ">>> " in path.read_text(encoding="utf-8")
]


@pytest.mark.parametrize("path", WITH_EXAMPLES, ids=str)
def test_the_examples_of_a_module(path: Path) -> None:
    module = importlib.import_module(".".join(path.parts).removesuffix(".__init__"))
    assert doctest.testmod(module).failed == 0
