"""Imports run one way and form no circle."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import TypeGuard

import pytest

import adapter_stilts

ROOT = Path(adapter_stilts.__file__).parent
PURE = {
    "merging": {"errors", "merging", "registered"},
    "heads": {"errors", "heads"},
}
"""Packages that are functions of their arguments, and all that they may import from here."""


def _imported(nodes: Iterable[ast.AST]) -> set[str]:
    """What is imported from this package: `package.file.name`, without the package's own name."""
    return {
        f"{node.module}.{each.name}".removeprefix("adapter_stilts.")
        for node in nodes
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("adapter_stilts.")
        for each in node.names
    }


@cache
def _read() -> dict[str, ast.Module]:
    """Every file by its dotted name within the package."""
    found = {}
    for file in ROOT.rglob("*.py"):
        name = ".".join(file.relative_to(ROOT).with_suffix("").parts)
        found[name.removesuffix(".__init__")] = ast.parse(file.read_text("utf-8"))
    return found


def _circle(graph: Mapping[str, set[str]]) -> list[str]:
    """What is left where whatever needs nothing else is taken away, again and again."""
    left = {name: needs - {name} for name, needs in graph.items()}
    while ready := [name for name, needs in left.items() if not needs & left.keys()]:
        for name in ready:
            del left[name]
    return sorted(left)


def test_no_circle_of_files() -> None:
    files = _read()
    graph = {
        name: {each if each in files else each.rpartition(".")[0] for each in _imported(tree.body)}
        for name, tree in files.items()
    }
    assert _circle(graph) == []


def test_no_circle_of_packages() -> None:
    """What is imported when a file is read; the entry points that find everything load later."""
    graph: dict[str, set[str]] = {}
    for name, tree in _read().items():
        if name not in ("__init__", "__main__"):
            needs = graph.setdefault(name.partition(".")[0], set())
            needs |= {each.partition(".")[0] for each in _imported(tree.body)}
    assert _circle(graph) == []


@pytest.mark.parametrize("package", PURE)
def test_pure_packages_stand_alone(package: str) -> None:
    for name, tree in _read().items():
        if name.partition(".")[0] == package:
            needs = {each.partition(".")[0] for each in _imported(ast.walk(tree))}
            assert needs <= PURE[package], name


def test_no_name_of_a_file_is_given_twice() -> None:
    """An import or a constant that hides another of its name goes unseen until it is used."""
    twice = []
    for name, tree in _read().items():
        given: list[str] = []
        for node in tree.body:
            if isinstance(node, ast.ImportFrom | ast.Import):
                given += [each.asname or each.name for each in node.names]
            elif isinstance(node, ast.Assign):
                found = [each for target in node.targets for each in ast.walk(target)]
                given += [each.id for each in found if _is_set(each)]
        twice += [f"{name}.{each}" for each, times in Counter(given).items() if times > 1]
    assert twice == []


def _is_set(node: ast.AST) -> TypeGuard[ast.Name]:
    """Whether it is a name that is given a value."""
    return isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
