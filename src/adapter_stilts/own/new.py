"""A task file written from data: the columns, labels and lengths that were found."""

from __future__ import annotations

import csv
import logging
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from string import ascii_lowercase, ascii_uppercase
from typing import Any

from adapter_stilts.data.formats import broken_table, named_columns, read_lines, read_rows
from adapter_stilts.errors import Place, UserError, bad, counted, few, unknown
from adapter_stilts.heads import KINDS, get_head
from adapter_stilts.own.build import OwnTask, build_task
from adapter_stilts.own.model import FORMATS, MOST_LABELS, form_by_name, parse_task
from adapter_stilts.own.rows import OwnRow, RowReader, all_names, column_names
from adapter_stilts.tasks.spec import Reading
from adapter_stilts.yaml_files import NoLines, write_yaml

logger = logging.getLogger(__name__)
NAMES: Mapping[str, tuple[str, ...]] = {
    "text": (
        "text",
        "text_a",
        "sentence",
        "sentence1",
        "premise",
        "question1",
        "review",
        "content",
    ),
    "text_b": ("text_b", "sentence2", "hypothesis", "question2"),
    "score": ("score", "similarity", "rating", "value"),
    "label": ("label", "labels", "class", "category", "target", "gold_label", "answer", "verdict"),
    "prompt": ("prompt", "context", "ctx", "premise", "stem", "question"),
    "options": ("options", "choices", "endings"),
    "question": ("question", "query"),
    "context": ("context", "passage", "paragraph", "document"),
    "answer": ("answer", "answers", "answer_text"),
    "start": ("start", "answer_start", "answer_starts"),
    "words": ("words", "tokens"),
    "tags": ("tags", "ner_tags", "upos", "pos_tags", "labels"),
    "query": ("query", "question", "anchor"),
    "id": ("id", "uid", "guid"),
}
"""What the columns are called in data sets that are around; text and query have others too."""
_KNOWN = frozenset(name for names in NAMES.values() for name in names)
_OPTION = re.compile(r"(option|choice|ending|answer|sol)[_-]?([a-z]|\d+)")
_LOOKED_AT = 1000
_CONLLU = 10
_WORD_ID = re.compile(r"\d+([-.]\d+)?")
_NUMBER = re.compile(r"[+-]?\d+([.,]\d+)?")
_TABLES = ("csv", "tsv", "jsonl", "parquet")
_DELIMITERS = ",;\t|"


@dataclass(frozen=True)
class FoundData:
    """What a file of data holds: `keys` are the task file's lines that it takes to read it.

    `options` are those of a choice.
    """

    form: str
    columns: tuple[str, ...]
    parts: dict[str, Any]
    keys: dict[str, Any]
    rows: int
    labels: Counter[str] = field(default_factory=Counter)
    words: tuple[int, int] = (0, 0)
    options: int = 0


def look_at(path: Path, head: str, given: Sequence[str] = ()) -> FoundData:
    """What a file of data holds: its format, the columns of a head's parts, labels, lengths.

    `given` are columns that the user names, each as `PART=COLUMN`; the others are guessed. Refuses
    a file that cannot be read, or has no column for what the head needs.
    """
    if head not in KINDS:
        raise unknown("kind of head", head, KINDS)
    _check_file(path)
    path, kind = path.expanduser(), get_head(head)
    try:
        form = form_by_name(str(path), head)
    except ValueError as error:
        raise UserError(f"data file {error}") from None
    if form == "squad" and "question" not in kind.parts:
        raise UserError(
            f"data file '{path}': .json is SQuAD's format, for a span head: write the rows as JSON "
            "Lines (.jsonl), one object a line, or as CSV"
        )
    reading, keys = _reading(path, form)
    rows = read_rows(path, FORMATS[form], (), reading)
    first = list(islice(rows, _LOOKED_AT))
    if not first:
        raise UserError(f"{path}: the file has no rows")
    names = tuple(column_names(first[0][1]))
    looked_at = [row for _, row in first]
    numbered = reading is not None and not reading.header
    known = (*names, *all_names(first[0][1]))
    named = _named_columns(path, head, known, given, numbered=numbered)
    parts = _parts(path, form, head, names, looked_at, named)
    return _count_rows(path, form, head, names, parts, keys, chain(first, rows))


def _reading(path: Path, form: str) -> tuple[Reading | None, dict[str, Any]]:
    """How a table is written, and the keys that say so where it is not the usual way."""
    if form == "conll":
        return Reading("", "", False), {}
    if form not in ("csv", "tsv"):
        return None, {}
    usual = "," if form == "csv" else "\t"
    many = [line for _, line in islice(read_lines(path), _LOOKED_AT)]
    lines = many[:20]
    delimiter = usual
    if usual not in lines[0]:
        delimiter = max(_DELIMITERS, key=lambda each: (lines[0].count(each), each == usual))
    quote = '"' if form == "csv" or _is_quoted(many, delimiter) else ""
    keys: dict[str, Any] = {} if delimiter == usual else {"delimiter": delimiter}
    keys |= {"quote": '"'} if form == "tsv" and quote else {}
    return Reading(delimiter, quote, _has_header(path, lines, delimiter, quote)), keys


def _is_quoted(lines: Sequence[str], delimiter: str) -> bool:
    """Whether a cell stands in quotes, and none begins with one that is never closed."""
    cells = [cell for line in lines for cell in line.rstrip("\r\n").split(delimiter)]
    if not any(cell.startswith('"') and cell.endswith('"') and len(cell) > 1 for cell in cells):
        return False
    with suppress(csv.Error):
        return bool(list(csv.reader(lines, delimiter=delimiter, strict=True)))
    return False


def _has_header(path: Path, lines: Sequence[str], delimiter: str, quote: str) -> bool:
    """Without a header, the first line has long texts, as the others have, one cell twice, one
    that stands again below it, or a number above numbers.

    A usual name of a column makes it a header all the same; its first cell may be empty, as pandas
    writes its index, or all of them the columns' numbers.
    """
    quoting = csv.QUOTE_MINIMAL if quote else csv.QUOTE_NONE
    rows = csv.reader(lines, delimiter=delimiter, quotechar=quote or None, quoting=quoting)  # type: ignore[arg-type,unused-ignore]
    try:
        cells, *others = [[cell.strip() for cell in row] for row in rows]
        cells = cells[: named_columns(cells)] or cells
    except csv.Error as error:
        raise broken_table(path, 1, error) from error
    if any(len(cell.split()) > 4 for cell in cells):
        return False
    usual = not _KNOWN.isdisjoint(cell.lower() for cell in cells)
    again = any(
        cell in column or all(map(_NUMBER.fullmatch, (cell, *column)))
        for cell, *column in zip(cells, *others, strict=False)
    )
    numbered = cells == [str(number) for number in range(len(cells))]
    distinct = all(cells[1:]) and len(set(cells)) == len(cells)
    return usual or (distinct and (numbered or not again))


def _named_columns(
    path: Path, head: str, names: Sequence[str], given: Sequence[str], *, numbered: bool
) -> dict[str, Any]:
    """The columns that the user names, by part; `numbered` ones have no names but numbers."""
    known = (*get_head(head).parts, *get_head(head).optional_parts)
    found: dict[str, Any] = {}
    for each in given:
        part, sign, column = each.partition("=")
        if not sign or part not in known:
            raise UserError(
                f"--column '{each}': PART=COLUMN was expected, with one of a {head} head's parts, "
                f"which are {', '.join(known)}"
            )
        if column not in names:
            raise UserError(f"{path}: {unknown('column', column, names)}")
        value = int(column) if numbered else column
        found[part] = [*found[part], value] if part in found else [value]
    for part, columns in found.items():
        if len(columns) > 1 and part != "options":
            raise UserError(f"--column: '{part}' is one column, not {len(columns)}")
    return {part: each if len(each) > 1 else each[0] for part, each in found.items()}


def _parts(
    path: Path,
    form: str,
    head: str,
    names: Sequence[str],
    rows: Sequence[Mapping[str, Any]],
    given: Mapping[str, Any],
) -> dict[str, Any]:
    """The column of every part of an example."""
    if form == "conll":
        if len(names) < 2:
            raise UserError(f"{path}: one column, so its words have no tags")
        if len(names) == _CONLLU and all(map(_WORD_ID.fullmatch, rows[0]["1"])):
            raise UserError(
                f"{path}: these are the ten columns of CoNLL-U: let its name end in .conllu, or "
                "write a task file with 'format: conllu'"
            )
        return {"words": 1 + _counts_words(rows), "tags": len(names), **given}
    if form == "conllu":
        return {"words": "tokens", "tags": "tags", **given}
    if form == "squad":
        usual = {"question": "question", "context": "context", "answer": "answers", "id": "id"}
        return {**usual, **given}
    kind = get_head(head)
    if all(name.isdigit() for name in names) and not set(kind.parts) <= set(given):
        return {**_numbered_columns(path, head, names), **given}
    lowered = {name.lower(): name for name in names if name not in given.values()}
    found: dict[str, Any] = dict(given)
    for part in (*kind.parts, *kind.optional_parts):
        if part in found:
            continue
        known = [lowered[each] for each in NAMES.get(part, (part,)) if each in lowered]
        if free := [name for name in known if name not in found.values()]:
            found[part] = free[0]
    if kind.chooses and "options" not in found:
        options = [name for name in names if _OPTION.fullmatch(name.lower())]
        found |= {"options": options} if len(options) > 1 else {}
    if kind.has_labels and "label" not in found:
        found |= _fewest(names, found, rows)
    if kind.has_labels and "text" not in found:
        found |= _longest(names, found, rows)
    for part in kind.parts:
        if part not in found:
            there = ", ".join(all_names(rows[0]))
            raise UserError(
                f"{path}: no column looks like the '{part}' of a {head} head (there are {there}): "
                f"`adstilts task new --column {part}=NAME` says which one it is"
            )
    return {part: found[part] for part in (*kind.parts, *kind.optional_parts) if part in found}


def _counts_words(rows: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the first of three columns or more has the number of every word in its sentence."""
    sentences = [list(row["1"]) for row in rows if len(column_names(row)) > 2]
    return bool(sentences) and all(
        words in ([str(n + first) for n in range(len(words))] for first in (0, 1))
        for words in sentences
    )


def _numbered_columns(path: Path, head: str, names: Sequence[str]) -> dict[str, Any]:
    kind = get_head(head)
    if "text" in kind.parts and "text_b" in kind.optional_parts and len(names) in (2, 3):
        between = {"text_b": 2} if len(names) == 3 else {}
        return {"text": 1, kind.parts[-1]: len(names), **between}
    raise UserError(
        f"{path}: line 1 is no header of column names, so the columns' numbers are to be written: "
        f"a task file with 'header: false' and 'columns: {{{kind.parts[0]}: 1, …}}'"
    )


def _fewest(names: Sequence[str], found: Mapping[str, Any], rows: Sequence[Any]) -> dict[str, str]:
    """The column with the fewest different values, where these come again and again."""
    counts = {
        name: len({str(row.get(name)) for row in rows})
        for name in names
        if name not in found.values() and not isinstance(rows[0][name], Mapping)
    }
    counts = {name: count for name, count in counts.items() if 1 < count <= max(2, len(rows) // 2)}
    return {"label": min(counts, key=lambda name: counts[name])} if counts else {}


def _longest(names: Sequence[str], found: Mapping[str, Any], rows: Sequence[Any]) -> dict[str, str]:
    free = [
        name
        for name in names
        if name not in found.values() and not isinstance(rows[0][name], Mapping)
    ]
    size = {name: sum(len(str(row.get(name) or "")) for row in rows) for name in free}
    return {"text": max(free, key=lambda name: size[name])} if free else {}


def _count_rows(
    path: Path,
    form: str,
    head: str,
    names: tuple[str, ...],
    parts: dict[str, Any],
    keys: dict[str, Any],
    rows: Iterator[tuple[Place, Mapping[str, Any]]],
) -> FoundData:
    columns = {
        part: tuple(column) if isinstance(column, list) else column
        for part, column in parts.items()
    }
    reader = RowReader(head, columns)
    labels: Counter[str] = Counter()
    lengths: list[int] = []
    text = columns.get("text", columns.get("context", columns.get("words", columns.get("prompt"))))
    count = options = 0
    for place, row in rows:
        count += 1
        try:
            if get_head(head).chooses and not options:
                options = len(OwnRow(reader, row).options())
            if len(labels) <= MOST_LABELS:
                labels.update(reader.label_names(row))
        except KeyError as error:
            what = f"no column {error} (the columns are {', '.join(all_names(row))})"
            raise bad(path, place, what) from error
        except ValueError as error:
            raise bad(path, place, str(error)) from error
        value = None
        with suppress(KeyError):
            value = reader.cell(row, text)
        lengths.append(len(value if isinstance(value, list) else str(value or "").split()))
    lengths.sort()
    words = (lengths[len(lengths) // 2], lengths[-1])
    keys = {**keys, **({"header": False} if form in ("csv", "tsv") and names[0] == "1" else {})}
    return FoundData(form, names, parts, keys, count, labels, words, options)


def task_text(
    head: str, files: Mapping[str, Path], found: FoundData, *, name: str, folder: Path
) -> str:
    """A task file for the files, to be read in that folder, with what was found as remarks."""
    content: dict[str, Any] = {
        "name": name,
        "head": head,
        "files": {split: _relative(path, folder) for split, path in files.items()},
        **found.keys,
        "columns": found.parts,
    }
    kind = get_head(head)
    if kind.chooses:
        content |= _options(files["train"], found)
    elif kind.is_named:
        content["labels"] = "from the data"
    written = write_yaml(content, flow=None)
    shown = ", ".join(f"{label} {count:,}" for label, count in found.labels.most_common(20))
    named = (each if isinstance(each, list) else [each] for each in found.parts.values())
    used = {str(each) for columns in named for each in columns}
    used |= {each.partition(".")[0] for each in used}
    unused = [name for name in found.columns if name not in used and found.form in _TABLES]
    remarks = [
        f"{counted(found.rows, 'row')} with the columns {', '.join(found.columns)}",
        *([f"columns that are not used: {', '.join(unused)}"] if unused else []),
        f"words a text: {found.words[0]:,} in the middle, {found.words[1]:,} at most",
        *([f"labels: {shown}"] if shown else []),
    ]
    lines = "".join(f"# {' '.join(each.split())[:300]}\n" for each in remarks)
    return f"{lines}{written}licence: unknown  # of the data; the module's card names it\n"


def _options(path: Path, found: FoundData) -> dict[str, Any]:
    """How labels call the options: by numbers from 0 or 1, or letters; refuses other labels."""
    numbers = [str(number) for number in range(found.options + 1)]
    if found.labels and set(found.labels) <= set(numbers[1:-1]):
        logger.warning(
            "%s: the labels (%s) may count %d options from 0 or from 1, and are read as from 0; if "
            "they count from 1, write 'labels: [%s]' in place of 'choices' in the task file",
            path,
            few(sorted(found.labels)),
            found.options,
            ", ".join(numbers[1:]),
        )
    for names in (numbers[:-1], numbers[1:], ascii_uppercase, ascii_lowercase):
        if set(found.labels) <= set(names[: found.options]):
            return (
                {"choices": found.options}
                if names[0] == "0"
                else {"labels": list(names[: found.options])}
            )
    raise UserError(
        f"{path}: the labels ({few(sorted(found.labels))}) are neither numbers nor letters of the "
        f"{found.options} options: write the right option's number, or a task file with 'labels' "
        "in the order of the options"
    )


def _relative(path: Path, folder: Path) -> str:
    whole = path.expanduser().resolve()
    inside = whole.is_relative_to(folder.resolve())
    return str(whole.relative_to(folder.resolve()) if inside else whole)


def usual_name(path: Path) -> str:
    """What a task of a file is called, if nothing else: after it, or after its folder."""
    stem = re.sub(r"(^|[-_.])(train|dev|test|valid|validation)($|[-_.])", "-", path.stem.lower())
    for text in (stem, path.expanduser().resolve().parent.name.lower()):
        if slug := re.sub(r"[^a-z0-9]+", "-", text).strip("-"):
            return slug
    return "my-task"


def task_of_files(head: str, files: Mapping[str, Path]) -> OwnTask:
    """The task that files of rows make up, without a task file; refuses as `look_at` does."""
    place = files["train"].expanduser().resolve()
    return new_task(head, files, place, name=usual_name(place))[1]


def new_task(
    head: str, files: Mapping[str, Path], place: Path, *, name: str, columns: Sequence[str] = ()
) -> tuple[str, OwnTask]:
    """The text of a task file that is to lie at a place, and the task that it makes.

    Refuses as `look_at`, which takes `columns`, and names the training data: no line of the task
    file can be looked up.
    """
    found = look_at(files["train"], head, columns)
    for path in files.values():
        _check_file(path)
    text = task_text(head, files, found, name=name, folder=place.parent)
    file, _ = parse_task(place, text)
    return text, build_task(place, file, NoLines(files["train"]))


def _check_file(path: Path) -> None:
    if not path.expanduser().is_file():
        what = "is a folder" if path.expanduser().is_dir() else "is not there"
        raise UserError(f"data file '{path}' {what}")
