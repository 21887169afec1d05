"""What the `to_example` functions share: values of a row, and sentences of a paragraph."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from adapter_stilts.errors import shown
from adapter_stilts.heads.base import UNLABELLED
from adapter_stilts.tasks.spec import Row


def text(row: Row, column: str) -> str:
    """The text in that column; `KeyError` without the column, `ValueError` for another value."""
    value = row[column]
    if value is None:
        raise ValueError(f"column '{column}' has no value")
    if not isinstance(value, str):
        raise ValueError(f"column '{column}' is {shown(value)} where a text was expected")
    return value


def texts(row: Row, column: str) -> list[str]:
    """The list of texts in that column, with the errors of `text`."""
    value = row[column]
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError(f"column '{column}' is {shown(value)} where a list of texts was expected")
    return value


def label_index(value: Any, labels: Sequence[str]) -> int:
    """The index of a label given as its name, or as a number (which may be written as text).

    >>> label_index("neutral", ("entailment", "neutral", "contradiction"))
    1
    >>> label_index("2", ("entailment", "neutral", "contradiction"))
    2

    What is none of the labels is a `ValueError`.
    """
    labels = tuple(labels)  # a string of letters would find "" and "12" in itself
    if isinstance(value, str):
        if value in labels:
            return labels.index(value)
        value = int(value) if value.isascii() and value.isdigit() else value
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(labels):
        return value
    known = ", ".join(f"{index} {name}" for index, name in enumerate(labels))
    if all(str(index) == name for index, name in enumerate(labels)):
        known = f"0 to {len(labels) - 1}"
    raise ValueError(f"label {shown(value)} is outside the set ({known})")


def given_label(row: Row, column: str, labels: Sequence[str]) -> int:
    """The label as `label_index` reads it; -1 where the row has none, as in published test sets."""
    value = row.get(column)
    return UNLABELLED if value in (None, "", UNLABELLED) else label_index(value, labels)


def tag_names(row: Row, column: str, names: Sequence[str]) -> list[str]:
    """The tags in that column as names (the Hub has their numbers), with the errors of `text`."""
    values = row[column]
    if isinstance(values, list) and all(type(value) is int for value in values):
        return [names[label_index(value, names)] for value in values]
    return texts(row, column)


def unquoted(cell: str) -> str:
    r"""A cell without the quotes that Python's csv module put around it; other cells as they are.

    XTREME writes its TSV files with that module: a text with a quote in it is put in quotes, and
    its own ones are doubled. In other files quotes mean nothing.

    >>> unquoted('"He said ""no""."')
    'He said "no".'
    >>> unquoted('"Why?"')
    '"Why?"'
    """
    if len(cell) > 2 and cell[0] == cell[-1] == '"':
        inner = cell[1:-1].replace('""', "\0")
        if "\0" in inner and '"' not in inner:
            return inner.replace("\0", '"')
    return cell


# A full stop with closing quotes and brackets, white space, and what may open a sentence.
_STOP = re.compile(r"""[.!?…]+[)\]"'”’»]*(?=\s+["'“‘«(\[¿¡]*(\S))|[。！？।॥]+["'”’」』)]*|\n\n+""")
_WORD = re.compile(r"[^\s(\[\"'“‘]*$")
_ABBREVIATED = (
    "adm al approx apr aug ca capt cf co col corp dec dept dr e.g est etc feb fig fr ft gen gov "
    "hon i.e inc jan jr jul jun lt ltd maj mr mrs ms mt nov oct op p pp pres prof pt rep rev sen "
    "sep sept sgt sr st vol vs"
)
_ABBREVIATIONS = frozenset(_ABBREVIATED.split())


def sentence_spans(text: str) -> list[tuple[int, int]]:
    """The [start, end) of every sentence, without the white space between them.

    A sentence ends at a stop before white space and an upper-case letter, a digit or a script
    without cases, unless an abbreviation or an initial precedes it; at a stop of the scripts that
    set no space after theirs; and at an empty line.

    >>> text = "Dr. Lee left. She was late."
    >>> [text[start:end] for start, end in sentence_spans(text)]
    ['Dr. Lee left.', 'She was late.']
    """
    cuts = [match.end() for match in _STOP.finditer(text) if _ends(text, match)]
    spans = []
    for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True):
        piece = text[start:end]
        if stripped := piece.strip():
            first = start + piece.index(stripped)
            spans.append((first, first + len(stripped)))
    return spans


def _ends(text: str, match: re.Match[str]) -> bool:
    following = match[1]
    if following is None:  # a stop that needs no space, or an empty line
        return True
    if following.islower() or not following.isalnum():
        return False
    if not match[0].startswith(".") or match[0].startswith(".."):
        return True
    before = _WORD.search(text, 0, match.start())
    word = before[0].lower() if before else ""
    initial = len(word.rpartition(".")[2]) == 1 and word[-1:].isalpha()
    return word not in _ABBREVIATIONS and not initial


def sentence_at(text: str, offset: int) -> str | None:
    """The sentence that holds the character at that offset; None between two sentences."""
    for start, end in sentence_spans(text):
        if start <= offset < end:
            return text[start:end]
    return None
