"""From a row of a user's own file to an example, by the columns that the task file names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from adapter_stilts.errors import shown
from adapter_stilts.heads import get_head
from adapter_stilts.heads.base import UNLABELLED, Example
from adapter_stilts.schema import is_line
from adapter_stilts.tasks.spec import Row

Column = str | int
"""A column by its name, or by its number: 1 is the first, -1 the last."""


@dataclass(frozen=True)
class RowReader:
    """Where in a row the parts of an example stand.

    `columns` has for every part its column, or for the options of a choice several. With
    `unlabelled`, a row may lack the label, answer or tags, as test sets do. `classes` says that
    whole numbers may be labels' numbers, as on the Hub.
    """

    head: str
    columns: Mapping[str, Column | tuple[Column, ...]]
    labels: tuple[str, ...] = ()
    unlabelled: bool = False
    classes: bool = False

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
        if value is None or value == "":
            return []
        listed = _as_list(value, self.columns[part], split=True) if head.has_tags else [value]
        return [_checked(_label_name(each)) for each in listed]

    def cell(self, row: Row, column: Any) -> Any:
        """What stands in a column."""
        if isinstance(column, str):
            return row[column]
        cells = [name for name in row if name != "lines"]
        if not -len(cells) <= column <= len(cells) or column == 0:
            raise KeyError(str(column))
        return row[cells[column - 1 if column > 0 else column]]

    def name(self, value: Any) -> str:
        """A label as it is called."""
        number = isinstance(value, int) and not isinstance(value, bool)
        if self.classes and number and 0 <= value < len(self.labels):
            return str(self.labels[value])
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
        if [name for name in self.row if name != "lines"] == ["1"]:
            if not reader.unlabelled:
                raise ValueError("one column, so the words have no tags")
            return []
        if reader.unlabelled and not self._has("tags"):
            return []
        value = self._part("tags")
        if reader.classes and isinstance(value, list) and reader.labels:
            value = [reader.name(each) for each in value]
        return [_checked(each) for each in _as_list(value, self.columns["tags"], split=True)]

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
        return None if value in (None, "", UNLABELLED) else value

    def label(self, labels: Sequence[str]) -> int:
        """The number of the row's label."""
        value = self.given("label")
        if value is None and self.reader.unlabelled:
            return UNLABELLED
        name = self.reader.name(value)
        if not name:
            raise ValueError("the row has no label")
        if name not in labels:
            raise ValueError(f"label {shown(value)} is none of {', '.join(labels)}")
        return list(labels).index(name)

    def answers(self) -> list[str]:
        """The right answers; none where there is none."""
        if not self._has("answer"):
            if self.reader.unlabelled:
                return []
            value = self._part("answer")
            return [] if value in (None, "", []) else [str(value)]
        value = self._part("answer")
        if isinstance(value, Mapping):  # SQuAD's own rows
            return [str(each) for each in value.get("text", ())]
        return _as_list(value, self.columns["answer"]) if isinstance(value, list) else [str(value)]

    def starts(self, context: str, answers: Sequence[str]) -> list[int]:
        """Where the answers begin; without a column for that, where they first stand."""
        if not answers:
            return []
        given = self._part("answer")
        if isinstance(given, Mapping):
            return [int(each) for each in given.get("answer_start", ())]
        if self._has("start") or ("start" in self.columns and self._part("start") == 0):
            value = self._part("start")
            return [_whole(each) for each in (value if isinstance(value, list) else [value])]
        starts = [context.find(answer) for answer in answers]
        for answer, start in zip(answers, starts, strict=True):
            if start < 0 and not self.reader.unlabelled:
                raise ValueError(f"the answer {shown(answer)} does not stand in the context")
        return starts

    def _part(self, part: str) -> Any:
        return self.reader.cell(self.row, self.columns[part])

    def _has(self, part: str) -> bool:
        try:
            return part in self.columns and bool(self._part(part))
        except KeyError:
            return False


def _whole(value: Any) -> int:
    try:
        return int(value)
    except (TypeError, ValueError):
        raise ValueError(f"{shown(value)} where a whole number was expected") from None


@lru_cache(maxsize=10_000)
def _checked(label: str) -> str:
    """A label that a module's record can hold."""
    if not is_line(label):
        raise ValueError(f"the label {shown(label)} is not one line that can be printed")
    return label


def _label_name(value: Any) -> str:
    """A label as it is written: 1.0 of a table with gaps is 1."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip()


def _as_text(value: Any, column: Any) -> str:
    if value is None:
        raise ValueError(f"column '{column}' has no value")
    if isinstance(value, list | dict):
        raise ValueError(f"column '{column}' is {shown(value)} where a text was expected")
    return str(value)


def _as_list(value: Any, column: Any, *, split: bool = False) -> list[str]:
    if isinstance(value, str) and split:
        return value.split()
    if not isinstance(value, list) or any(isinstance(each, list | dict) for each in value):
        raise ValueError(f"column '{column}' is {shown(value)} where a list was expected")
    return [str(each).strip() or str(each) for each in value]
