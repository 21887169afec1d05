"""Readers of official file formats: generators of (place, row), one complaint a problem.

A place is a line number, or words where the format has no lines to speak of ("question 'x'").
Line-based formats are streamed. Every reader raises `UserError` with one line that names the
file, the place and what was expected there.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from adapter_stilts.data.squad_formats import check_rows, sentence_rows, squad_rows
from adapter_stilts.data.tagging_formats import (
    auto_rows,
    column_rows,
    conll_rows,
    conllu_rows,
    pipe_rows,
)
from adapter_stilts.errors import Place, UserError, bad, counted, shown
from adapter_stilts.safety import load_json, member
from adapter_stilts.tasks.spec import FileFormat, Reading, Row

Lines = Iterable[tuple[int, str]]
BOM = b"\xef\xbb\xbf"
_ROWS = 1000
_CELL = 1 << 24
_UTF_16 = "UTF-16: save the file as UTF-8 (iconv -f UTF-16 -t UTF-8)"
_PARQUET = b"PAR1"
_MARKS: Mapping[bytes, str] = {
    b"\xff\xfe": _UTF_16,
    b"\xfe\xff": _UTF_16,
    b"\x1f\x8b": "compressed by gzip: unpack it first (gunzip)",
    b"PK\x03\x04": "a zip archive, as Excel writes them: unpack it, or save the table as CSV",
    _PARQUET: "a Parquet file: its name ends in .parquet, or 'format: parquet' says so",
    b"version https://git-lfs": "a pointer of Git LFS and not the data: fetch that (git lfs pull)",
    b"<!doctype html": "a web page and no data: was it saved in place of the file that it names?",
    b"<html": "a web page and no data: was it saved in place of the file that it names?",
}
"""What a file that is none of data begins with, in small letters or not, and what is said of it."""
_UNNAMED = "unnamed"
_FOR_EXCEL = re.compile(r'"?sep=.?"?\s*\Z')


def read_rows(
    path: Path, form: FileFormat, header: Sequence[str] = (), reading: Reading | None = None
) -> Iterator[tuple[Place, Row]]:
    """The rows of a file in one of the formats; `header` names columns that a TSV does not.

    A file that cannot be read, is empty or malformed is refused.
    """
    try:
        if form == "tsv":
            yield from _read_tsv(path, header)
        elif form in ("csv", "table"):
            yield from _read_table(path, reading or Reading(","))
        elif form == "columns":
            yield from column_rows(path, read_lines(path), reading or Reading())
        elif form == "parquet":
            yield from parquet_rows(path)
        else:
            yield from _OF_LINES[form](path, read_lines(path))
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from error


def decode(path: Path, number: int, line: bytes) -> str:
    """A line as text, without a byte order mark; refused where it is not UTF-8."""
    line = line.removeprefix(BOM) if number == 1 else line
    if number == 1 and (what := _other_kind(line)):
        raise bad(path, number, what)
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        byte = line[error.start]
        raise bad(
            path,
            number,
            f"not UTF-8: byte 0x{byte:02x} at byte {error.start + 1} of the line; save the file "
            "as UTF-8",
        ) from error


def _other_kind(start: bytes) -> str:
    """What a file is that begins in that way; empty where it may be data."""
    kinds = (what for mark, what in _MARKS.items() if start.lower().startswith(mark.lower()))
    return next(kinds, "")


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of a UTF-8 file with their numbers, line ends kept; a byte order mark is dropped.

    A file that is empty or not UTF-8 is refused.
    """
    number = 0
    # Read as bytes: only a line feed ends a line, not the other characters that Unicode
    # counts as line ends and that stand inside real texts.
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            yield number, decode(path, number, line)
    if number == 0:
        raise UserError(f"{path}: the file is empty")


def json_object(path: Path, number: int, line: str) -> dict[str, Any]:
    """The JSON object of a line; refuses what is none."""
    row = load_json(path, number, line, "one JSON object a line")
    if not isinstance(row, dict):
        raise bad(path, number, f"{shown(row)} where a JSON object was expected")
    return row


def jsonl_rows(path: Path, lines: Lines) -> Iterator[tuple[Place, Row]]:
    """One JSON object a line; blank lines are passed over."""
    for number, line in lines:
        if not line.strip():
            continue
        yield number, json_object(path, number, line)


def named_columns(names: Sequence[str]) -> int:
    """How many columns there are without those at the end that have no name, as Excel adds them."""
    return max((place for place, name in enumerate(names, start=1) if name.strip()), default=0)


def _header(path: Path, number: int, names: list[str]) -> list[str]:
    names = [name.strip() for name in names]
    if twice := next((name for name in names if name and names.count(name) > 1), ""):
        raise bad(path, number, f"the header names the column '{twice}' twice: rename one of them")
    if len(names) > 1 and names[0] == "" and all(names[1:]) and _UNNAMED not in names:
        return [_UNNAMED, *names[1:]]  # as pandas writes its index
    if not all(names):
        raise bad(path, number, f"expected a header of distinct column names, not {shown(names)}")
    return names


def _other_count(
    path: Path, place: Place, cells: list[str], header: Sequence[str], reading: Reading
) -> UserError:
    """What is wrong where a row has more or fewer cells than the header, and the remedy."""
    columns = f"{counted(len(header), 'column')} ({', '.join(header[:8])})"
    what = f"{counted(len(cells), 'cell')} where the header has {columns}"
    delimiter = {"\t": "tab"}.get(reading.delimiter, f"'{reading.delimiter or ','}'")
    found = (each for each in "\"'" if each != reading.quote and _opens_and_closes(cells, each))
    if quote := next(found, ""):
        written = f"'{quote}'" if quote == '"' else f'"{quote}"'
        return bad(
            path, place, f"{what}: are texts quoted by {quote}? In a task file: quote: {written}"
        )
    if len(cells) < len(header):
        return bad(
            path, place, f"{what}: write one cell for every column, with a {delimiter} between"
        )
    remedy = f"put a text that has a {delimiter} in it between quotes ({reading.quote})"
    return bad(path, place, f"{what}: {remedy if reading.quote else f'remove a {delimiter}'}")


def _opens_and_closes(cells: Sequence[str], quote: str) -> bool:
    """Whether one cell begins with a quote, and that one or a later one ends with it."""
    opened = [place for place, cell in enumerate(cells) if cell.strip().startswith(quote)]
    closed = [place for place, cell in enumerate(cells) if cell.strip().endswith(quote)]
    return bool(opened and closed) and opened[0] < closed[-1]


def _cells(path: Path, reading: Reading) -> Any:
    """The csv module's reader of the file."""
    csv.field_size_limit(max(_CELL, csv.field_size_limit()))
    return csv.reader(
        (_whole(path, number, line) for number, line in read_lines(path)),
        delimiter=reading.delimiter or ",",
        quotechar=reading.quote or None,
        quoting=csv.QUOTE_MINIMAL if reading.quote else csv.QUOTE_NONE,
        strict=True,
    )


def _whole(path: Path, number: int, line: str) -> str:
    if "\0" in line:
        raise bad(path, number, "a NUL character: is it UTF-16? save the file as UTF-8")
    if number == 1 and _FOR_EXCEL.match(line):
        raise bad(path, number, f"{shown(line.strip())} is for Excel and no row: remove the line")
    return line


def _one_column(path: Path, number: int, name: str, delimiter: str) -> UserError | None:
    """What is wrong where a header has one column with another delimiter in its name."""
    other = next((each for each in "\t;,|" if each in name and each != delimiter), None)
    if other is None:
        return None
    shown_as = {"\t": "a tab"}.get(other, f"'{other}'")
    return bad(
        path,
        number,
        f"the header {shown(name)} is one column: is the delimiter {shown_as}? In a task file: "
        f"delimiter: {json.dumps(other, allow_nan=False)}",
    )


def broken_table(path: Path, number: int, error: csv.Error) -> UserError:
    """What is wrong where the csv module cannot read a row, and the remedy."""
    if "new-line" in str(error):
        what = "a line ends in a carriage return alone: save the file with usual line ends (LF)"
        return bad(path, number, what)
    what = f"broken CSV in the row that starts here ({error}); is a quote left open?"
    return bad(path, number, what)


def _read_table(path: Path, reading: Reading) -> Iterator[tuple[Place, Row]]:
    """Cells as the csv module reads them: one row may go over several lines."""
    reader, delimiter = _cells(path, reading), reading.delimiter or ","
    header: list[str] = []
    unnamed: list[str] = []
    blank: list[tuple[Place, Row]] = []
    start = 1
    try:
        for cells in reader:
            start, here = reader.line_num + 1, start
            if not header and cells:
                if len(cells) == 1 and (wrong := _one_column(path, here, cells[0], delimiter)):
                    raise wrong
                if reading.header:
                    header = _header(path, here, cells[: named_columns(cells)] or cells)
                    unnamed = [""] * (len(cells) - len(header))
                    continue
                header = [str(number) for number in range(1, len(cells) + 1)]
            if not cells:
                continue
            if unnamed and cells[len(header) :] == unnamed:
                cells = cells[: len(header)]
            if len(cells) != len(header):
                raise _other_count(path, here, cells, header, reading)
            blank.append((here, dict(zip(header, cells, strict=True))))
            if any(map(str.strip, cells)):  # of a sheet, empty rows at the end are none
                yield from blank
                blank.clear()
    except csv.Error as error:
        raise broken_table(path, start, error) from error


def _read_tsv(path: Path, header: Sequence[str] = ()) -> Iterator[tuple[Place, Row]]:
    """Tab-separated cells as GLUE has them: quotes mean nothing, missing cells become None.

    `header` names the columns of a file without a first line for that.
    """
    told = bool(header)
    for number, line in read_lines(path):
        if told and line.strip() and "\t" not in line and len(header) > 1:
            expected = f"{len(header)} columns with tabs between ({', '.join(header)})"
            raise bad(path, number, f"{shown(line.strip())} where {expected} were expected")
        cells: list[str | None] = list(line.rstrip("\r\n").split("\t"))
        if not header:
            header = _header(path, number, line.rstrip("\r\n").split("\t"))
        elif line.strip():
            if len(cells) > len(header):
                raise _other_count(path, number, line.split("\t"), header, Reading("\t", ""))
            cells += [None] * (len(header) - len(cells))
            yield number, dict(zip(header, cells, strict=True))


def parquet_rows(path: Path) -> Iterator[tuple[Place, Row]]:
    """The rows of a Parquet file; refuses what is none."""
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
        with path.open("rb") as read:
            start = read.read(40)
        what = " ".join(str(error).split())[:120]
        other = "" if start.startswith(_PARQUET) else _other_kind(start)
        said = other or f"not a Parquet file that can be read ({what})"
        raise UserError(f"{path}: {said}") from error


def line_rows(path: Path, lines: Lines) -> Iterator[tuple[int, Row]]:
    """A sentence a line, in `text`, and the number of the line: line i translates line i.

    An empty line is refused.
    """
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
        known = partial(member, path, number, format_name="Mewsli-X's JSON")
        context, mentions = known(article, "context", dict), known(article, "mentions", list)
        for mention in mentions:
            known(mention, "mention_span", dict)
            yield number, {"context": context, "mention": mention}


_OF_LINES: dict[FileFormat, Callable[[Path, Lines], Iterator[tuple[Place, Row]]]] = {
    "jsonl": jsonl_rows,
    "squad": squad_rows,
    "xquad-r": sentence_rows,
    "auto": auto_rows,
    "pipe": pipe_rows,
    "conll": conll_rows,
    "conllu": conllu_rows,
    "lines": line_rows,
    "mentions": mention_rows,
    "checks": check_rows,
}
