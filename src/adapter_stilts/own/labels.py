"""The labels of a user's own task: those that its file lists, or that its training data has."""

from __future__ import annotations

import logging
import unicodedata
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from adapter_stilts.data.folders import Located, find_parts
from adapter_stilts.data.load import word_place
from adapter_stilts.errors import UserError, bad, counted, hint, located, shown
from adapter_stilts.evaluation.chunk_tags import CHUNK_METRIC, ChunkTags, placed
from adapter_stilts.heads import get_head
from adapter_stilts.heads.base import Head
from adapter_stilts.own.model import FROM_DATA, MOST_LABELS, TaskFile, paths_of
from adapter_stilts.own.rows import OwnRow, RowReader, all_names, column_names
from adapter_stilts.tasks.spec import Source, TaskSpec
from adapter_stilts.yaml_files import Lines

logger = logging.getLogger(__name__)
_HEADER = {"text", "sentence", "word", "words", "token", "tokens", "tag", "tags", "ner", "pos"} | {
    "label",
    "labels",
    "class",
    "category",
}
"""What a line of column names has where text and label are."""


def listed_labels(file: TaskFile) -> tuple[str, ...]:
    """The labels that a task file lists; none where they are those of the data."""
    return () if file.labels == FROM_DATA else tuple(file.labels)


def labels_and_choices(
    file: TaskFile, lines: Lines, source: Source, reader: RowReader, language: str
) -> tuple[tuple[str, ...], int]:
    """Labels and number of choices, as far as the training data says them, which is checked.

    Labels or choices that neither the file nor its data says are refused.
    """
    listed, kind = listed_labels(file), get_head(file.head)
    options = reader.columns.get("options")
    choices = len(options) if isinstance(options, tuple) else file.choices
    if kind.chooses and listed and choices not in (0, len(listed)):
        raise lines.bad(("labels",), f"{len(listed)} labels, but {choices} options")
    if source.hub:
        if kind.has_labels and not listed:
            raise lines.bad(("labels",), "the labels of a data set on the Hub are to be listed")
        if kind.chooses and not (choices or listed):
            raise lines.bad(("choices",), "say how many options there are: 'choices: 4'")
        return listed, _enough(choices or len(listed), kind, lines)
    try:
        seen, options_seen = _look_through(file, lines, source, reader, language)
    except _NoDataError as error:
        if (kind.has_labels or kind.chooses) and not listed and not choices:
            key = ("files", "train") if "train" in paths_of(file) else ("files",)
            what = f"{error}; labels and options are read from there, if they are not listed"
            raise lines.bad(key, what) from error
        return listed, _enough(choices or len(listed), kind, lines)
    _warn_of_ambiguous_answers(file, source, reader, language)
    if listed and not kind.chooses:
        _check_used(lines, listed, seen)
    elif kind.is_named:
        _check_spellings(seen)
    if kind.has_labels and not listed:
        return _sort_labels(seen, lines), choices
    if kind.has_tags and len(seen) == 1:
        _say_once(f"{file.name}: every word has the tag {next(iter(seen))}: nothing can be learnt")
    return listed, _enough(choices or len(listed) or options_seen, kind, lines)


def _enough(choices: int, kind: Head, lines: Lines) -> int:
    if kind.chooses and choices < 2:
        raise lines.bad(("choices",), f"{choices} options: two or more are needed to choose among")
    return choices


def _look_through(
    file: TaskFile, lines: Lines, source: Source, reader: RowReader, language: str
) -> tuple[dict[str, str], int]:
    """The labels of the training data with the place of the first row of each, and the options.

    Without labels, the first row alone is read, whose columns are checked.
    """
    kind, from_data = get_head(file.head), not listed_labels(file)
    seen: dict[str, str] = {}
    words: set[str] = set()
    chunks = ChunkTags()
    first: Mapping[str, Any] = {}
    options = 0
    for where, place, row in _rows(file, source, language):
        _check_row(file, lines, reader, row, located(where, place))
        try:
            if kind.chooses and not options:
                options = len(OwnRow(reader, row).options())
            names = reader.label_names(row)
            if kind.has_tags and len(words) <= MOST_LABELS:
                words.update(OwnRow(reader, row).words("words"))
        except ValueError as error:
            raise bad(where, place, str(error)) from error
        first = first or row
        if not kind.is_named:
            break
        if kind.has_tags:
            chunks.add(names, placed(where, place, row))
        for word, name in enumerate(names):
            if name not in seen:
                seen[name] = located(where, word_place(row, word, place))
        if len(seen) > MOST_LABELS and from_data:
            what = f"over {MOST_LABELS} different labels: is it the right column?"
            raise lines.bad(("columns", "tags" if kind.has_tags else "label"), what)
    if kind.is_named and from_data:
        _check_header(file, lines, reader, first, seen)
    if kind.has_tags and from_data and len(seen) > len(words):
        many, few_words = counted(len(seen), "different tag"), counted(len(words), "different word")
        what = (
            f"{many}, but {few_words}: are the columns swapped? If not, list the tags in 'labels'"
        )
        raise lines.bad(("columns", "tags"), what)
    if (file.metric or kind.metrics[0]) == CHUNK_METRIC:
        for remark in chunks.remarks():
            _say_once(remark)
    return seen, options


@cache
def _say_once(remark: str) -> None:
    """Logs what is odd about data, which one command may read several times."""
    logger.warning("%s", remark)


def _warn_of_ambiguous_answers(
    file: TaskFile, source: Source, reader: RowReader, language: str
) -> None:
    """Says how many answers stand in their context several times, where no start is given."""
    count, first = 0, ""
    if "answer" not in reader.columns or "start" in reader.columns:
        return
    for where, place, row in _rows(file, source, language):
        mine = OwnRow(reader, row)
        try:
            if mine.gives_starts():
                return  # as the other rows of such a file
            again = mine.is_ambiguous()
        except (KeyError, ValueError):  # a row that is refused where it is read
            continue
        count += again
        first = first or (located(where, place) if again else "")
    if count:
        _say_once(
            f"{first}: the answer stands in its context several times, and the first is taken "
            f"({counted(count, 'such row')}): a column 'start' would say which one is meant"
        )


class _NoDataError(UserError):
    """The training data is not here."""


def _rows(file: TaskFile, source: Source, language: str) -> Iterator[Located]:
    """The rows of the training data with their places."""
    train = source.keeping(lambda split, _: split == "train")
    files = tuple(layout.filled({"lang": language}) for layout in train.files)
    # As much of a task as finding its files takes.
    task = cast(TaskSpec, SimpleNamespace(name=file.name, sources=(replace(train, files=files),)))
    try:
        (part,) = find_parts(task, "train", Path(source.root))
    except (UserError, ValueError) as error:
        raise _NoDataError(str(error) or f"{file.name} has no train data") from error
    yield from part.rows()


def _check_row(
    file: TaskFile, lines: Lines, reader: RowReader, row: Mapping[str, Any], place: str
) -> None:
    """Refuses columns that a row has not: at the line that names them."""
    names = all_names(row)
    for part, column in reader.columns.items():
        for each in column if isinstance(column, tuple) else (column,):
            try:
                reader.cell(row, each)
            except KeyError:
                known = hint(str(each), names, f"there are {', '.join(names)}")
                key = ("columns", part) if part in file.columns else ("columns",)
                of = "" if part in file.columns else f" for '{part}'"
                what = f"no column '{each}'{of} in {place}: {known}"
                raise lines.bad(key, " ".join(what.split())[:600]) from None


def _check_header(
    file: TaskFile, lines: Lines, reader: RowReader, first: Mapping[str, Any], seen: Collection[str]
) -> None:
    """Refuses a header that is read as the first row, and a first row that is read as a header."""
    columns, names = reader.columns, column_names(first)
    label = columns["tags" if get_head(file.head).has_tags else "label"]
    if not isinstance(label, int):
        return
    name = names[label - 1 if label > 0 else label]
    if name in seen and not name.isdigit():
        what = f"line 1 is read as a header, but '{name}' is a label: add 'header: false'"
        raise lines.bad(("columns",), what)
    cells = [reader.cell(first, columns[each]) for each in ("text", "words") if each in columns]
    cells = [each[0] if isinstance(each, list) else each for each in (*cells, first[name])]
    if {str(each).strip().lower() for each in cells} <= _HEADER:
        what = f"the first line looks like a header ({', '.join(map(shown, cells))})"
        remedy = "remove it" if "lines" in first else "remove 'header: false'"
        raise lines.bad(("columns",), f"{what}: {remedy}, or list the labels in 'labels'")


def _check_spellings(seen: Mapping[str, str]) -> None:
    """Refuses two labels that are one in two spellings, such as 1 and 1.0, or Yes and yes.

    So are quotes around a label, and characters in it that are not seen.
    """
    known: dict[str, str] = {}
    for name, place in seen.items():
        other = known.setdefault(_spelling(name), name)
        if other != name:
            same = unicodedata.normalize("NFC", name) == unicodedata.normalize("NFC", other)
            how = "in other code points of Unicode" if same else "in another spelling"
            raise UserError(
                f"{place}: label {shown(name)} is {shown(other)} of {seen[other]} {how}: write "
                "one of them everywhere; two labels are to be listed in 'labels'"
            )


def _spelling(name: str) -> str:
    """What all spellings of a label have in common."""
    with suppress(ValueError):
        if "_" not in name:
            return str(float(name))
    plain = name.strip("\"'") or name
    plain = "".join(char for char in plain if unicodedata.category(char) != "Cf") or name
    return " ".join(unicodedata.normalize("NFKC", plain).casefold().split())


def _check_used(lines: Lines, listed: tuple[str, ...], seen: Mapping[str, str]) -> None:
    """Refuses a list of labels that is not the data's."""
    if extra := next((name for name in seen if name not in listed), None):
        what = f"{seen[extra]}: label {shown(extra)} is not among 'labels': add it, or mend the row"
        raise lines.bad(("labels",), what)
    if len(listed) < 2:
        raise lines.bad(("labels",), f"one label ({listed[0]}): two or more are needed")
    for number, name in enumerate(listed):
        if name not in seen and name != "O":
            raise lines.bad(
                ("labels", number),
                f"no row of the training data has the label '{name}': remove it from 'labels'",
            )


def _sort_labels(seen: Mapping[str, str], lines: Lines) -> tuple[str, ...]:
    if len(seen) < 2:
        what = (
            f"the training data has one label ({', '.join(seen)})" if seen else "no row has a label"
        )
        raise lines.bad(("columns", "label"), f"{what}: two or more are needed to tell apart")
    numbers = all(name.isascii() and name.isdigit() for name in seen)
    return tuple(sorted(seen, key=(lambda name: (int(name), name)) if numbers else None))
