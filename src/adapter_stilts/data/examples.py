"""From rows to examples: every one checked, and what is wrong named with its place."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from adapter_stilts.data import cache
from adapter_stilts.data.folders import FilePart
from adapter_stilts.data.hub import HubPart
from adapter_stilts.errors import Place, UserError, bad
from adapter_stilts.hashing import json_digest
from adapter_stilts.heads import get_head
from adapter_stilts.heads.base import Example
from adapter_stilts.heads.span import OffsetError
from adapter_stilts.heads.tagging import WordError
from adapter_stilts.tasks.spec import Row, Split, TaskSpec

Part = FilePart | HubPart


@dataclass
class Bad:
    """Rows of a part that cannot be used: how many, and what is said of the first."""

    count: int = 0
    first: UserError | None = None

    def add(self, error: UserError) -> None:
        """Counts one more."""
        self.first = self.first or error
        self.count += 1

    def complaint(self) -> UserError:
        """One line on all of them, which are answers that are not at their offsets."""
        more = f"; {self.count - 1:,} more answers are not at theirs" if self.count > 1 else ""
        return UserError(f"{self.first}{more}: --skip-bad-rows leaves such rows out of a training")


def read_examples(
    task: TaskSpec,
    split: Split,
    parts: Sequence[Part],
    counts: cache.Parts,
    *,
    skip_bad: bool = False,
) -> Iterator[Example]:
    """Every example of every part, checked; `counts` gains the numbers of each part.

    Args:
        skip_bad: rows that cannot be used are counted and left out.

    Raises:
        UserError: a row cannot be used. Of answers that are not at their offsets all are counted
            first.
    """
    seen: set[str] = set()
    for part in parts:
        kept = left_out = 0
        wrong = Bad()
        for where, place, row in part.rows():
            try:
                example = _checked(task, split, row, part, seen)
            except ValueError as error:
                at = _word_place(row, error.word, place) if isinstance(error, WordError) else place
                complaint = bad(where, at, str(error))
                if not (skip_bad or isinstance(error, OffsetError)):
                    raise complaint from error
                wrong.add(complaint)
                continue
            if example is None:
                left_out += 1
                continue
            if not example["id"]:
                number = kept + left_out + wrong.count
                example = {**example, "id": f"{part.source.name}-{number}"}
            kept += 1
            if skip_bad or not wrong.count:
                yield example
        if wrong.count and not skip_bad:
            raise wrong.complaint()
        if not kept:
            raise UserError(f"{part.source.name}: none of its {left_out} rows can be used")
        counts.append({"rows_kept": kept, "rows_left_out": left_out, **_bad_rows(wrong)})


def _bad_rows(wrong: Bad) -> dict[str, int | str]:
    return {"rows_bad": wrong.count, "first_bad": str(wrong.first)} if wrong.count else {}


def _checked(task: TaskSpec, split: Split, row: Row, part: Part, seen: set[str]) -> Example | None:
    example = convert_row(task, row, part)
    if example is None:
        return None
    head = get_head(task.head)
    if head.unique_ids:
        example = _unique(task, example, seen)
    if split == "train":
        head.check_learnt(example)
    return example


def _word_place(row: Row, word: int, place: Place) -> Place:
    """The line of a word, in files with a word a line."""
    lines = row.get("lines")
    return lines[word] if isinstance(lines, list) and word < len(lines) else place


def _unique(task: TaskSpec, example: Example, seen: set[str]) -> Example:
    """What is scored by its id would be hidden by another of the same id.

    Where a task's ids may repeat, a later one gains a hash of what the example holds. All others
    stay as they are: it is by them that official code finds predictions.
    """
    if example["id"] in seen and task.repeated_ids:
        example = {**example, "id": f"{example['id']}-{json_digest(example)[:12]}"}
    if example["id"] and example["id"] in seen:
        raise ValueError("this id appears a second time")
    seen.add(example["id"])
    return example


def convert_row(task: TaskSpec, row: Row, part: Part) -> Example | None:
    """The row as an example that holds against the task; what is wrong as a `ValueError`."""
    columns = part.columns
    try:
        example = task.to_example(
            {columns.get(name, name): value for name, value in row.items()} if columns else row
        )
    except KeyError as error:
        missing = next((old for old, new in columns.items() if new == error.args[0]), error.args[0])
        there = ", ".join(row)
        raise ValueError(f"no column '{missing}' (the columns are {there})") from error
    except (TypeError, AttributeError, IndexError) as error:
        raise ValueError(f"a value of another type than expected ({error})") from error
    if example is not None:
        get_head(task.head).check(task, example)
    return example
