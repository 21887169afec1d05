"""From a row of a user's own file to an example, by the columns that the task file names."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Any

from adapter_stilts.errors import few, shown
from adapter_stilts.heads import get_head
from adapter_stilts.heads.base import UNLABELLED, Example
from adapter_stilts.safety import is_line, printable
from adapter_stilts.tasks.spec import Row

Column = str | int
"""A column by its name, or by its number: 1 is the first, -1 the last."""


@dataclass(frozen=True)
class RowReader:
    """Where in a row the parts of an example stand.

    `columns` has for every part its column, or for the options of a choice several. With
    `unlabelled`, a row may lack the label, answer or tags, as test sets do. `classes` says that
    whole numbers may be labels' numbers, from 0: on the Hub, and in files that have numbers where
    no label is called like one. `no_tag` is what stands for a tag in a sentence that has none.
    """

    head: str
    columns: Mapping[str, Column | tuple[Column, ...]]
    labels: tuple[str, ...] = ()
    unlabelled: bool = False
    classes: bool = False
    no_tag: str = ""

    def __call__(self, row: Row) -> Example:
        """The example in a row.

        Raises:
            KeyError: the row has no such column.
            ValueError: what stands there is not what belongs there.
        """
        return get_head(self.head).example(OwnRow(self, row))

    def label_names(self, row: Row) -> list[str]:
        """The labels or tags of a row as they are written; none where it has none."""
        head = get_head(self.head)
        part = "tags" if head.has_tags else "label"
        if part not in self.columns:
            return []
        value = self.cell(row, self.columns[part])
        if is_missing(value):
            return []
        listed = self.tag_names(value, self.columns[part]) if head.has_tags else [value]
        return [_check_label(self.name(each)) for each in listed]

    def tag_names(self, value: Any, column: Any) -> list[str]:
        """The tags in a cell as they are called: those of a list, or of a text with spaces."""
        if self.classes and self.labels and isinstance(value, list):
            value = [self.name(each) if isinstance(each, int) else each for each in value]
        return _as_list(value, column, split=True, called=_label_name)

    def cell(self, row: Row, column: Any) -> Any:
        """What stands in a column; `data.text` is the member `text` of what stands in `data`."""
        if isinstance(column, str):
            return row[column] if column in row else _member(row, column)
        cells = column_names(row)
        if not -len(cells) <= column <= len(cells) or column == 0:
            raise KeyError(str(column))
        return row[cells[column - 1 if column > 0 else column]]

    def name(self, value: Any) -> str:
        """A label as it is called."""
        number = isinstance(value, int) and not isinstance(value, bool)
        if self.classes and number and 0 <= value < len(self.labels):
            return str(self.labels[value])
        if isinstance(value, bool) and (written := str(value).lower()) in self.labels:
            return written  # as JSON and YAML write it
        return _label_name(value)


@dataclass(frozen=True)
class OwnRow:
    """The parts of one row, as a head kind's `example` asks for them."""

    reader: RowReader
    row: Row

    @property
    def columns(self) -> Mapping[str, Column | tuple[Column, ...]]:
        """The parts that there are columns of."""
        return self.reader.columns

    @property
    def labels(self) -> tuple[str, ...]:
        """The task's labels by number."""
        return self.reader.labels

    def id(self) -> str:
        """The row's own id; empty where it has none."""
        value = self._part("id") if "id" in self.columns else ""
        return str(value if value is not None else "")

    def text(self, part: str) -> str:
        """The text of a part."""
        return _as_text(self._part(part), self.columns[part])

    def words(self, part: str) -> list[str]:
        """The list of a part; a text is cut at white space."""
        return _as_list(self._part(part), self.columns[part], split=True)

    def tags(self) -> list[str]:
        """A tag a word; none where a row may lack them, and does."""
        reader = self.reader
        if column_names(self.row) == ["1"]:
            if not reader.unlabelled:
                raise ValueError("one column, so the words have no tags")
            return []
        if reader.unlabelled and not self._has("tags"):
            return []
        tags = reader.tag_names(self._part("tags"), self.columns["tags"])
        if reader.unlabelled and set(tags) == {reader.no_tag}:
            return []
        return [_check_label(each) for each in tags]

    def options(self) -> list[str]:
        """The options, of one column with a list or of several."""
        named = self.columns["options"]
        if isinstance(named, tuple):
            return [_as_text(self.reader.cell(self.row, each), each) for each in named]
        return _as_list(self._part("options"), named)

    def given(self, part: str) -> Any:
        """What a part holds; None where a row may lack it, and does."""
        if not self.reader.unlabelled:
            return self._part(part)
        if part not in self.columns:
            return None
        try:
            value = self._part(part)
        except KeyError:
            return None
        return None if is_missing(value) or value == UNLABELLED else value

    def label(self, labels: Sequence[str]) -> int:
        """The number of the row's label."""
        value = self.given("label")
        if is_missing(value):
            if self.reader.unlabelled:
                return UNLABELLED
            raise ValueError("the row has no label")
        number = _numbers(tuple(labels)).get(self.reader.name(value))
        if number is None:
            remedy = (
                "" if self.labels else ": these are the options' numbers; list 'labels' of yours"
            )
            raise ValueError(f"label {shown(value)} is none of {few(labels)}{remedy}")
        return number

    def answers(self) -> list[str]:
        """The right answers; none where there is none."""
        if not self._has("answer"):
            if self.reader.unlabelled:
                return []
            value = self._part("answer")
            return [] if value == [] or is_missing(value) else [str(value)]
        value = self._part("answer")
        if isinstance(value, Mapping):  # SQuAD's rows on the Hub
            value = value.get("text", [])
        elif isinstance(value, list) and _are_whole(value):
            value = [each["text"] for each in value]
        if is_missing(value):
            return []
        written = [self._as_written(each) for each in _listed(value)]
        return _as_list(written, self.columns["answer"])

    def _as_written(self, answer: Any) -> Any:
        """An answer; 5.0 of a table with gaps is 5 where the context has no 5.0."""
        if isinstance(answer, float | Decimal) and str(answer) not in self.text("context"):
            return _label_name(answer)
        return answer

    def starts(self, context: str, answers: Sequence[str]) -> list[int]:
        """Where the answers begin; without a column for that, where they first stand."""
        if not answers:
            return []
        given = self._part("answer")
        if isinstance(given, Mapping):
            return [_whole(each) for each in _listed(given.get("answer_start", []))]
        if isinstance(given, list) and _are_whole(given):
            return [_whole(each["answer_start"]) for each in given]
        if self._has("start") or ("start" in self.columns and self._part("start") == 0):
            return [_whole(each) for each in _listed(self._part("start"))]
        starts = [context.find(answer) for answer in answers]
        for answer, start in zip(answers, starts, strict=True):
            if start < 0 and not self.reader.unlabelled:
                near = _other_spelling(context, answer)
                what = f"the answer {shown(answer)} does not stand in the context"
                raise ValueError(what + (f", but {shown(near)} does" if near else ""))
        return starts

    def gives_starts(self) -> bool:
        """Whether the answers are written with where they begin."""
        given = self._part("answer")
        return isinstance(given, Mapping) or (isinstance(given, list) and _are_whole(given))

    def is_ambiguous(self) -> bool:
        """Whether an answer stands in the context several times; the first is taken."""
        context = self.text("context")
        return any(context.count(answer) > 1 for answer in self.answers() if answer)

    def _part(self, part: str) -> Any:
        return self.reader.cell(self.row, self.columns[part])

    def _has(self, part: str) -> bool:
        try:
            return part in self.columns and bool(self._part(part))
        except KeyError:
            return False


def column_names(row: Row) -> list[str]:
    """The columns of a row, without the numbers of lines that files of tagged words add."""
    return [name for name in row if name != "lines" or not isinstance(row[name], list)]


def all_names(row: Row) -> list[str]:
    """The columns of a row; of one that holds an object, its members: `data.text`."""
    found: list[str] = []
    for name in column_names(row):
        inner = row[name]
        members = all_names(inner) if isinstance(inner, Mapping) else []
        found += [f"{name}.{member}" for member in members] or [name]
    return found


def _member(row: Row, column: str) -> Any:
    value: Any = row
    for name in column.split("."):
        if not isinstance(value, Mapping) or name not in value:
            raise KeyError(column)
        value = value[name]
    return value


def is_missing(value: Any) -> bool:
    """Whether a cell holds nothing: no value, an empty text, or what pandas writes for a gap."""
    return value is None or value == "" or (isinstance(value, float) and value != value)


def _are_whole(answers: Sequence[Any]) -> bool:
    """Whether each of the answers has its text and its start, as in SQuAD's own file."""
    keys = {"text", "answer_start"}
    return bool(answers) and all(isinstance(a, Mapping) and keys <= a.keys() for a in answers)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


@lru_cache(maxsize=16)
def _numbers(labels: tuple[str, ...]) -> Mapping[str, int]:
    return {name: number for number, name in enumerate(labels)}


def _other_spelling(context: str, answer: str) -> str:
    """Where an answer stands in other letters: cases, spaces around, other code points."""
    for form in ("NFC", "NFD"):
        text, wanted = (unicodedata.normalize(form, each) for each in (context, answer.strip()))
        start = text.lower().find(wanted.lower()) if wanted else -1
        if start >= 0:
            found = text[start : start + len(wanted)]
            same = unicodedata.normalize("NFC", found) == unicodedata.normalize("NFC", answer)
            return f"{found} (in other code points of Unicode)" if same else found
    return ""


def _whole(value: Any) -> int:
    try:
        if isinstance(value, bool) or int(value) != float(value):
            raise ValueError
        return int(value)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{shown(value)} where a whole number was expected") from None


@lru_cache(maxsize=10_000)
def _check_label(label: str) -> str:
    """A label that a module's record can hold."""
    if not is_line(label):
        what = "is not one line that can be printed"
        if hidden := next((char for char in label if printable(char) != char), ""):
            what = f"has a character that is not seen (U+{ord(hidden):04X}): remove it"
        raise ValueError(f"the label {shown(label)} {what}")
    return label


def _label_name(value: Any) -> str:
    """A label as it is written: 1.0 of a table with gaps is 1."""
    if isinstance(value, _NO_TEXT):
        raise ValueError(f"label {shown(value)} where one value was expected")
    if isinstance(value, float | Decimal) and value % 1 == 0:
        value = int(value)
    return str(value).strip()


_NO_TEXT = (list, dict, bytes)
_PYTHON_LIST = re.compile(r"""\[((['"]).*\2|\s*\d+([\s,]+\d+)+\s*)\]""", re.DOTALL)
"""A list as Python and numpy write it into a table: of texts, or of two numbers or more."""


def _as_text(value: Any, column: Any) -> str:
    if value != "" and is_missing(value):
        raise ValueError(f"column '{column}' has no value")
    if isinstance(value, _NO_TEXT):
        raise ValueError(f"column '{column}' is {shown(value)} where a text was expected")
    return str(value) if set(map(unicodedata.category, str(value))) - _UNSEEN else ""


_UNSEEN = {"Cc", "Cf", "Zl", "Zp", "Zs"}
"""Controls, zero-width characters and spaces."""


def _as_list(
    value: Any, column: Any, *, split: bool = False, called: Callable[[Any], str] = str
) -> list[str]:
    if isinstance(value, str) and split and not _PYTHON_LIST.fullmatch(value.strip()):
        return value.split()
    if isinstance(value, str):
        between = ": write them with spaces between" if split else ""
        raise ValueError(f"column '{column}' is {shown(value)} where a list was expected{between}")
    if not isinstance(value, list) or any(isinstance(each, _NO_TEXT) for each in value):
        raise ValueError(f"column '{column}' is {shown(value)} where a list was expected")
    if any(each is None for each in value):
        raise ValueError(f"column '{column}' is {shown(value)}: one of the list has no value")
    return [called(each).strip() or str(each) for each in value]
