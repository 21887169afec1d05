"""A user's own files: words with several columns a line (CoNLL 2003 and its kin), and Parquet."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from adapter_stilts.errors import Place, UserError, bad, shown
from adapter_stilts.schema import load_json, member
from adapter_stilts.tasks.spec import Reading, Row

Lines = Iterable[tuple[int, str]]

DOCUMENT = "-DOCSTART-"
"""The word that begins a document in CoNLL 2003; it is none of its words."""

_SPACES = " \t\r\n"
_COMMENT = re.compile(r"# ?\S+ ?[=:]")
_ROWS = 1000


def column_rows(path: Path, lines: Lines, reading: Reading) -> Iterator[tuple[int, Row]]:
    """Sentences with a word a line and a blank line between them.

    A row has, under the number of every column from 1, what stands there for each word, and in
    `lines` the numbers of the words' lines. Lines of `-DOCSTART-` and comments before a sentence
    (`# id = 3`) are passed over.

    Raises:
        UserError: a line has another number of columns than the first word's line.
    """
    delimiter, width, first = reading.delimiter, 0, 0
    for sentence in _sentences(lines):
        rows: list[list[str]] = []
        numbers: list[int] = []
        for number, line in sentence:
            if line.startswith(DOCUMENT) or (not rows and _COMMENT.match(line)):
                continue
            if not width and not delimiter:
                delimiter = "\t" if "\t" in line else " "
            cells = _cells(line, delimiter)
            width, first = width or len(cells), first or number
            if len(cells) != width:
                raise bad(path, number, _uneven(line, cells, width, first, delimiter))
            rows.append(cells)
            numbers.append(number)
        if rows:
            columns = zip(*rows, strict=True)
            named: dict[str, Any] = {str(i): list(each) for i, each in enumerate(columns, start=1)}
            yield numbers[0], {**named, "lines": numbers}


def _sentences(lines: Lines) -> Iterator[list[tuple[int, str]]]:
    stripped = ((number, line.rstrip("\r\n")) for number, line in lines)
    for blank, group in groupby(stripped, key=lambda numbered: not numbered[1].strip(_SPACES)):
        if not blank:
            yield list(group)


def _cells(line: str, delimiter: str) -> list[str]:
    # Only the spaces of a keyboard part words: a no-break space may stand inside one.
    if delimiter == " ":
        return [cell for cell in re.split(r"[ \t]+", line) if cell]
    return [cell.strip(_SPACES) for cell in line.split(delimiter)]


def _uneven(line: str, cells: list[str], width: int, first: int, delimiter: str) -> str:
    between = {"\t": "tabs", " ": "spaces"}.get(delimiter, f"'{delimiter}'")
    return (
        f"{shown(line)} has {len(cells)} columns where line {first} has {width}, with {between} "
        "between: write every word with the same columns"
    )


def parquet_rows(path: Path) -> Iterator[tuple[Place, Row]]:
    """The rows of a Parquet file.

    Raises:
        UserError: it is none.
    """
    import pyarrow as pa
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            names = file.schema_arrow.names
            if len(set(names)) < len(names):
                raise UserError(f"{path}: two columns have one name ({', '.join(names)})")
            number = 0
            for batch in file.iter_batches(_ROWS):
                for row in batch.to_pylist():
                    number += 1
                    yield f"row {number}", row
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        what = " ".join(str(error).split())[:120]
        raise UserError(f"{path}: not a Parquet file that can be read ({what})") from error


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
