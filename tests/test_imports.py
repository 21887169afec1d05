"""Imports run one way and form no circle."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import adapter_stilts

ROOT = Path(adapter_stilts.__file__).parent
PURE = {
    "merging": {"errors", "merging", "registered"},
    "heads": {"errors", "heads"},
}
"""Packages that are functions of their arguments, and all that they may import from here."""


def _imported(tree: ast.AST) -> Iterator[str]:
    """The modules of this package that are imported when a file is read, or later."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("adapter_stilts"):
            yield from (f"{node.module}.{each.name}" for each in node.names)


def _at_the_top(body: list[ast.stmt]) -> Iterator[str]:
    for node in body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("adapter_stilts"):
            yield from (f"{node.module}.{each.name}" for each in node.names)


def _graph() -> dict[str, set[str]]:
    """Every file by its dotted name, and the files that it imports when it is read."""
    files = {
        ".".join(file.relative_to(ROOT.parent).with_suffix("").parts).removesuffix(
            ".__init__"
        ): file
        for file in ROOT.rglob("*.py")
    }
    return {
        name: {
            module if module in files else module.rpartition(".")[0]
            for module in _at_the_top(ast.parse(file.read_text("utf-8")).body)
        }
        - {name}
        for name, file in files.items()
    }


def test_no_circle_of_files() -> None:
    graph = _graph()
    left = dict(graph)
    while ready := [name for name, needs in left.items() if not needs & left.keys()]:
        for name in ready:
            del left[name]
    assert not left, f"these files import each other: {sorted(left)}"


@pytest.mark.parametrize("package", PURE)
def test_pure_packages_stand_alone(package: str) -> None:
    for file in (ROOT / package).rglob("*.py"):
        for module in _imported(ast.parse(file.read_text("utf-8"))):
            assert module.split(".")[1] in PURE[package], f"{file.name} imports {module}"
