"""From a row of a user's own file to an example, by the columns that the task file names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from adapter_stilts.tasks.rows import shown
from adapter_stilts.tasks.spec import (
    UNLABELLED,
    ChoiceExample,
    EmbeddingExample,
    Example,
    PairExample,
    Row,
    SpanExample,
    TaggingExample,
)

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

    def __call__(self, row: Row) -> Example | None:
        """The example in a row.

        Raises:
            KeyError: the row has no such column.
            ValueError: what stands there is not what belongs there.
        """
        made: Example | None = getattr(self, f"_{self.head}")(row)
        return made

    def _classification(self, row: Row) -> PairExample:
        label = self._label(row, self.labels)
        text_b = self._text(row, "text_b") if "text_b" in self.columns else ""
        return {
            "id": self._id(row),
            "text_a": self._text(row, "text"),
            "text_b": text_b,
            "label": label,
        }

    def _choice(self, row: Row) -> ChoiceExample:
        named = self.columns["options"]
        if isinstance(named, tuple):
            options = [_as_text(self._cell(row, each), each) for each in named]
        else:
            options = _as_list(self._cell(row, named), named)
        labels = self.labels or tuple(str(number) for number in range(len(options)))
        label = self._label(row, labels)
        prompt = self._text(row, "prompt")
        return {"id": self._id(row), "prompt": prompt, "options": options, "label": label}

    def _span(self, row: Row) -> SpanExample:
        context = self._text(row, "context")
        answers = self._answers(row)
        starts = self._starts(row, context, answers)
        return {
            "id": self._id(row),
            "question": self._text(row, "question"),
            "context": context,
            "answers": answers,
            "answer_starts": starts,
        }

    def _tagging(self, row: Row) -> TaggingExample:
        words = _as_list(self._cell(row, self.columns["words"]), self.columns["words"], split=True)
        if [name for name in row if name != "lines"] == ["1"]:
            if not self.unlabelled:
                raise ValueError("one column, so the words have no tags")
            return {"id": self._id(row), "words": words, "tags": []}
        if self.unlabelled and not self._has(row, "tags"):
            return {"id": self._id(row), "words": words, "tags": []}
        column = self.columns["tags"]
        value = self._cell(row, column)
        if self.classes and isinstance(value, list) and self.labels:
            value = [self._name(each) for each in value]
        return {
            "id": self._id(row),
            "words": words,
            "tags": _as_list(value, column, split=True),
        }

    def _embedding(self, row: Row) -> EmbeddingExample:
        context = self._text(row, "context") if "context" in self.columns else ""
        query, text = self._text(row, "query"), self._text(row, "text")
        return {"id": self._id(row), "query": query, "text": text, "context": context, "gold": []}

    def label_names(self, row: Row) -> list[str]:
        """The labels or tags of a row as they are written; none where it has none."""
        part = "tags" if self.head == "tagging" else "label"
        if part not in self.columns:
            return []
        value = self._cell(row, self.columns[part])
        if value is None or value == "":
            return []
        listed = _as_list(value, self.columns[part], split=True) if part == "tags" else [value]
        return [_label_name(each) for each in listed]

    def _id(self, row: Row) -> str:
        value = self._cell(row, self.columns["id"]) if "id" in self.columns else ""
        return str(value if value is not None else "")

    def _text(self, row: Row, part: str) -> str:
        return _as_text(self._cell(row, self.columns[part]), self.columns[part])

    def _has(self, row: Row, part: str) -> bool:
        try:
            return part in self.columns and bool(self._cell(row, self.columns[part]))
        except KeyError:
            return False

    def _cell(self, row: Row, column: Any) -> Any:
        if isinstance(column, str):
            return row[column]
        cells = [name for name in row if name != "lines"]
        if not -len(cells) <= column <= len(cells) or column == 0:
            raise KeyError(str(column))
        return row[cells[column - 1 if column > 0 else column]]

    def _label(self, row: Row, labels: Sequence[str]) -> int:
        if self.unlabelled and "label" not in self.columns:
            return UNLABELLED
        try:
            value = self._cell(row, self.columns["label"])
        except KeyError:
            if self.unlabelled:
                return UNLABELLED
            raise
        if self.unlabelled and value in (None, "", UNLABELLED):
            return UNLABELLED
        name = self._name(value)
        if name not in labels:
            raise ValueError(f"label {shown(value)} is none of {', '.join(labels)}")
        return list(labels).index(name)

    def _name(self, value: Any) -> str:
        number = isinstance(value, int) and not isinstance(value, bool)
        if self.classes and number and 0 <= value < len(self.labels):
            return str(self.labels[value])
        return _label_name(value)

    def _answers(self, row: Row) -> list[str]:
        if not self._has(row, "answer"):
            if self.unlabelled:
                return []
            value = self._cell(row, self.columns["answer"])
            return [] if value in (None, "", []) else [str(value)]
        value = self._cell(row, self.columns["answer"])
        if isinstance(value, Mapping):  # SQuAD's own rows
            return [str(each) for each in value.get("text", ())]
        return _as_list(value, self.columns["answer"]) if isinstance(value, list) else [str(value)]

    def _starts(self, row: Row, context: str, answers: Sequence[str]) -> list[int]:
        """Where the answers begin; without a column for that, where they first stand."""
        if not answers:
            return []
        given = self._cell(row, self.columns["answer"])
        if isinstance(given, Mapping):
            return [int(each) for each in given.get("answer_start", ())]
        if self._has(row, "start") or (
            "start" in self.columns and self._cell(row, self.columns["start"]) == 0
        ):
            value = self._cell(row, self.columns["start"])
            return [_whole(each) for each in (value if isinstance(value, list) else [value])]
        starts = [context.find(answer) for answer in answers]
        for answer, start in zip(answers, starts, strict=True):
            if start < 0 and not self.unlabelled:
                raise ValueError(f"the answer {shown(answer)} does not stand in the context")
        return starts


def _whole(value: Any) -> int:
    try:
        return int(value)
    except (TypeError, ValueError):
        raise ValueError(f"{shown(value)} where a whole number was expected") from None


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
