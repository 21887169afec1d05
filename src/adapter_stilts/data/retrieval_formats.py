"""Sentences by line (Tatoeba), and mentions of entities in news articles (Mewsli-X)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from adapter_stilts.data.json_values import load_json, member
from adapter_stilts.errors import bad
from adapter_stilts.tasks.spec import Row

Lines = Iterable[tuple[int, str]]


def line_rows(path: Path, lines: Lines) -> Iterator[tuple[int, Row]]:
    """A sentence a line, in `text`, and the number of the line: line i translates line i."""
    for number, line in lines:
        text = line.strip()
        if not text:
            raise bad(path, number, "an empty line where a sentence was expected")
        yield number, {"text": text, "line": number}


def mention_rows(path: Path, lines: Lines) -> Iterator[tuple[int, Row]]:
    """The mentions of Mewsli-X: a line is an article, a row one of its mentions in it."""
    for number, line in lines:
        if not line.strip():
            continue
        article = load_json(path, number, line, "one article of Mewsli-X a line")
        context = _member(path, number, article, "context", dict)
        mentions = _member(path, number, article, "mentions", list)
        for mention in mentions:
            _member(path, number, mention, "mention_span", dict)
            yield number, {"context": context, "mention": mention}


def _member(path: Path, number: int, value: Any, name: str, kind: type) -> Any:
    return member(path, number, value, name, kind, "Mewsli-X's JSON")
