"""What `adstilts tasks` shows of a task's data: whether it is there, and where. No network."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import cast

from adapter_stilts.data.cache import examples_folder, remembered
from adapter_stilts.data.folders import FilePart
from adapter_stilts.data.hub import HubPart, in_cache
from adapter_stilts.data.load import examples_key, find_all, origin_of, read_from_of
from adapter_stilts.errors import UserError
from adapter_stilts.tasks.spec import FileFormat, Split, TaskSpec
from adapter_stilts.tasks.target_spec import TargetSpec

SPLITS: tuple[Split, Split] = ("train", "dev")
EVALUATED: tuple[Split, Split] = ("test", "dev")


@dataclass(frozen=True)
class DataStatus:
    """Whether both splits can be read without the network, and one line on where they are.

    `rows` are those that are here, by split, as far as they can be counted; `languages` is in how
    many languages a target has any.
    """

    found: bool
    origin: str
    detail: str
    rows: Mapping[str, int] = field(default_factory=dict)
    languages: int = 1


def data_status(task: TaskSpec, where: str | None = None) -> DataStatus:
    """Whether the task's data is here; `where` as in `load_examples`. Nothing is downloaded."""
    origin = origin_of(task, where)
    try:
        parts = {split: find_all(task, split, origin) for split in SPLITS}
    except UserError as error:
        return DataStatus(False, origin, str(error))
    if origin == "hub":
        return _hub_status(task, {split: cast(list[HubPart], parts[split]) for split in SPLITS})
    files = {split: cast(list[FilePart], parts[split]) for split in SPLITS}
    try:
        rows: dict[str, int] = {split: sum(map(count_rows, files[split])) for split in SPLITS}
    except (UserError, OSError) as error:
        return DataStatus(False, origin, str(error))
    if origin == "sample":
        counts = ", ".join(f"{count} {split}" for split, count in rows.items())
        return DataStatus(True, origin, f"bundled samples: {counts}", rows)
    places = "; ".join(_folder(files, i) for i in range(len(task.sources)))
    return DataStatus(True, origin, places, rows)


def target_status(target: TargetSpec, where: str | None = None) -> DataStatus:
    """In how many languages a target task's data is here, by split; as `data_status`."""
    origin = origin_of(target, where)
    found: dict[str, dict[str, int]] = {
        split: {
            language: count
            for language in target.languages
            if (count := _rows_here(target.at(language), split, origin)) is not None
        }
        for split in EVALUATED
        if any(source.has(split) for source in target.sources)
    }
    total = len(target.languages)
    detail = ", ".join(f"{split} in {len(here)} of {total}" for split, here in found.items())
    rows = {split: sum(here.values()) for split, here in found.items() if any(here.values())}
    languages = len({language for here in found.values() for language in here})
    return DataStatus(bool(languages), origin, f"{detail} languages", rows, languages)


def _rows_here(task: TaskSpec, split: Split, origin: str) -> int | None:
    """The rows of one language; 0 where they are here uncounted, None where they are not."""
    try:
        parts = find_all(task, split, origin)
        if origin != "hub":
            return sum(map(count_rows, cast(list[FilePart], parts)))
    except (UserError, OSError):
        return None
    whole = all(in_cache(part.hub, split) for part in cast(list[HubPart], parts))
    return 0 if whole else None


def _folder(parts: dict[Split, list[FilePart]], index: int) -> str:
    """One source's folder and its files, or their number where they are many."""
    files = [path for split in SPLITS for path in parts[split][index].files]
    names = ", ".join(path.name for path in files) if len(files) <= 6 else f"{len(files)} files"
    return f"{files[0].parent}: {names}"


def _hub_status(task: TaskSpec, parts: dict[Split, list[HubPart]]) -> DataStatus:
    ids = ", ".join(part.hub.id for part in parts["train"])
    kept = {
        each: _converted(examples_key(task, read_from_of(task, each, parts[each])))
        for each in parts
    }
    if None not in kept.values():
        rows: dict[str, int] = {split: count for split, count in kept.items() if count is not None}
        return DataStatus(True, "hub", f"{ids}, converted in the cache", rows)
    if all(in_cache(part.hub, split) for split in SPLITS for part in parts[split]):
        return DataStatus(True, "hub", f"{ids}, downloaded")
    return DataStatus(False, "hub", f"{ids}, not downloaded yet")


def _converted(key: str) -> int | None:
    """The examples that were made of a split; None where they were not."""
    try:
        about = json.loads((examples_folder(key) / "examples.json").read_text(encoding="utf-8"))
        return sum(int(part["rows_kept"]) for part in about["parts"])
    except (OSError, ValueError, LookupError, TypeError):
        return None


def count_rows(part: FilePart) -> int:
    """The rows of a part; as long as its files keep their sizes and times, from memory.

    Raises:
        UserError: a file is malformed, where counting has to parse it.
        OSError: a file cannot be read.
    """
    layout = part.layout
    rules = (layout.format, list(layout.header), list(layout.only))
    found: int = remembered(
        "counts", part.files, lambda known: type(known) is int, lambda: _count(part), *rules
    )
    return found


def _count(part: FilePart) -> int:
    counter = _COUNTERS.get(part.layout.format)
    if counter is None or part.layout.only[0]:
        return sum(1 for _ in part.rows())
    header = part.layout.format == "tsv" and not part.layout.header
    return sum(max(0, _counted(path, counter) - header) for path in part.files)


def _counted(path: Path, counter: Callable[[Iterable[bytes]], int]) -> int:
    with path.open("rb") as file:
        return counter(file)


def _lines(lines: Iterable[bytes]) -> int:
    return sum(1 for line in lines if not line.isspace())


def _sentences(lines: Iterable[bytes]) -> int:
    """Groups of lines between blank ones; lines of comments alone are none."""
    groups = groupby(lines, key=bytes.isspace)
    return sum(
        any(not line.startswith(b"#") for line in group) for blank, group in groups if not blank
    )


def _words(lines: Iterable[bytes]) -> int:
    return sum(not blank for blank, _ in groupby(lines, key=bytes.isspace))


_COUNTERS: dict[FileFormat, Callable[[Iterable[bytes]], int]] = {
    "jsonl": _lines,
    "tsv": _lines,
    "lines": _lines,
    "conll": _words,
    "conllu": _sentences,
}
