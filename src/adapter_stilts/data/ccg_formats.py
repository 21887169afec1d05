"""The two formats of CCG supertags: CCGbank's derivations, and C&C's tagged lines."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from adapter_stilts.errors import bad, shown
from adapter_stilts.tasks.spec import Row

# (<T category head daughters>, (<L category tag tag word predicate-argument-category>), and )
_NODE = re.compile(r"\(<T (\S+) (\d+) (\d+)>\s*")
_LEAF = re.compile(r"\(<L (\S+) (\S+) (\S+) (\S+) (\S+)>\)\s*")
_CLOSE = re.compile(r"\)\s*")


class _TreeError(ValueError):
    """What is wrong with a derivation, and at which column (from 1)."""

    def __init__(self, column: int, what: str) -> None:
        super().__init__(what)
        self.column = column


def parse_auto(tree: str) -> tuple[list[str], list[str]]:
    """The words and categories at the leaves of one CCGbank derivation.

    >>> parse_auto("(<T NP 1 2> (<L NP/N DT DT a NP/N>) (<L N NN NN dog N>) )")
    (['a', 'dog'], ['NP/N', 'N'])

    Raises:
        ValueError: the brackets do not match, or a node has not the daughters it announces.
    """
    words: list[str] = []
    tags: list[str] = []
    open_nodes: list[list[int]] = []  # of each: its column, daughters announced, daughters seen
    at = 0
    while at < len(tree):
        if at and not open_nodes:
            raise _TreeError(at + 1, f"{shown(tree[at:], 20)} after the end of the tree")
        if leaf := _LEAF.match(tree, at):
            tags.append(leaf[1])
            words.append(leaf[4])
        elif node := _NODE.match(tree, at):
            open_nodes.append([at + 1, int(node[3]), 0])
            at = node.end()
            continue
        elif not (_CLOSE.match(tree, at) and open_nodes):
            expected = "'(<T …>', '(<L …>)' or ')'" if open_nodes else "'(<T …>' or '(<L …>)'"
            raise _TreeError(at + 1, f"{shown(tree[at:], 20)} where {expected} was expected")
        else:
            column, announced, seen = open_nodes.pop()
            if announced != seen:
                raise _TreeError(column, f"the node announces {announced} daughters, has {seen}")
        if open_nodes:
            open_nodes[-1][2] += 1
        match = leaf or _CLOSE.match(tree, at)
        assert match is not None
        at = match.end()
    if open_nodes:
        raise _TreeError(open_nodes[-1][0], "this bracket is never closed")
    return words, tags


def auto_rows(path: Path, lines: Iterable[tuple[int, str]]) -> Iterator[tuple[int, Row]]:
    """Sentences of a CCGbank `.auto` file: a line "ID=…", then a line with the derivation."""
    name = ""
    for number, line in lines:
        tree = line.strip()
        if tree.startswith("ID="):
            name = tree.split()[0].removeprefix("ID=").rstrip(",")
        elif tree:
            if not tree.startswith("("):
                raise bad(path, number, f"{shown(tree, 30)} where 'ID=…' or '(<T …' was expected")
            try:
                words, tags = parse_auto(tree)
            except _TreeError as error:
                indent = len(line) - len(line.lstrip())
                what = f"bracket error at column {error.column + indent}: {error}"
                raise bad(path, number, what) from error
            yield number, {"id": name, "tokens": words, "ccg_tags": tags}
            name = ""


def pipe_rows(path: Path, lines: Iterable[tuple[int, str]]) -> Iterator[tuple[int, Row]]:
    """Sentences in C&C's format: one a line, every word as `word|POS|category`."""
    for number, line in lines:
        # C&C's own output opens with comments; a word "#" would stand as "#|#|N".
        if not line.strip() or (line.startswith("#") and not line.startswith("#|")):
            continue
        words: list[str] = []
        tags: list[str] = []
        for position, token in enumerate(line.split(), start=1):
            parts = token.rsplit("|", 2)
            if len(parts) != 3 or not all(parts):
                what = f"word {position} is {shown(token)} where 'word|POS|category' was expected"
                raise bad(path, number, what)
            words.append(parts[0])
            tags.append(parts[2])
        yield number, {"tokens": words, "ccg_tags": tags}
