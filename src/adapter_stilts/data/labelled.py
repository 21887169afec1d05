"""Whether a set can be scored: all of its examples have labels, or none has (a blind test set)."""

from __future__ import annotations

from collections.abc import Iterator

from adapter_stilts.data.examples import convert_row
from adapter_stilts.data.load import ExampleSet, find_all, resolve_where
from adapter_stilts.errors import UserError, bad
from adapter_stilts.heads import get_head
from adapter_stilts.tasks.spec import HeadKind, Split, TaskSpec


def has_labels(task: TaskSpec, split: Split, where: str | None, data: ExampleSet) -> bool:
    """Whether the examples have what they are scored by.

    Args:
        data: what `load_examples` read of that split from there.

    Raises:
        UserError: only some have; names the file and the first one without.
    """
    found = set(_labelled(task.head, data))
    if len(found) == 2:
        raise _partly_labelled(task, split, where)
    return found == {True}


def _labelled(head: HeadKind, data: ExampleSet) -> Iterator[bool]:
    kind = get_head(head)
    column = kind.gold
    for batch in data.examples.select_columns([column]).iter(1000):
        for value in batch[column]:
            yield kind.is_labelled({column: value})


def _partly_labelled(task: TaskSpec, split: Split, where: str | None) -> UserError:
    for part in find_all(task, split, resolve_where(where)):
        for source, place, row in part.rows():
            example = convert_row(task, row, part)
            if example is not None and not get_head(task.head).is_labelled(example):
                what = "has no label, while other examples of the set have one"
                return bad(source, place, what)
    return UserError(f"{task.name}: some examples of the set have labels, others none")
