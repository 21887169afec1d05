"""What is told of a task's data: how its files are called, and whether it is here. No network."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import groupby, islice
from typing import Any, NamedTuple, cast

from adapter_stilts.data.cache import examples_folder, remembered
from adapter_stilts.data.load import examples_key, find_all, origin_of, read_from_of
from adapter_stilts.data.parts import FilePart, HubPart, find_parts, in_cache, samples_folder
from adapter_stilts.errors import UserError
from adapter_stilts.tasks.spec import FileData, FileFormat, Source, Split, TargetSpec, TaskSpec

SPLITS: tuple[Split, ...] = ("train", "dev", "test")
LEARNT: tuple[Split, Split] = ("train", "dev")
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
        parts = {split: find_all(task, split, origin) for split in LEARNT}
    except UserError as error:
        return DataStatus(False, origin, str(error))
    if origin == "hub":
        return _hub_status(task, {split: cast(list[HubPart], parts[split]) for split in LEARNT})
    files = {split: cast(list[FilePart], parts[split]) for split in LEARNT}
    try:
        rows: dict[str, int] = {split: sum(map(count_rows, files[split])) for split in LEARNT}
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
    files = [path for split in LEARNT for path in parts[split][index].files]
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
    if all(in_cache(part.hub, split) for split in LEARNT for part in parts[split]):
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

    A malformed file is refused where counting has to parse it; one that cannot be read is an
    `OSError`.
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
    total = 0
    for path in part.files:
        with path.open("rb") as file:
            total += max(0, counter(file) - header)
    return total


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


FORMATS: Mapping[FileFormat, str] = {
    "jsonl": "JSON Lines",
    "csv": "CSV with a header",
    "tsv": "TSV with a header",
    "table": "CSV or TSV",
    "parquet": "Parquet",
    "columns": "a word a line, with its tag",
    "squad": "SQuAD's JSON",
    "auto": "CCGbank's derivations",
    "pipe": "a sentence a line: word, part of speech and category with | between",
    "conll": "a word and its tag a line, with a tab between, and a blank line after a sentence",
    "conllu": "CoNLL-U",
    "lines": "a sentence a line",
    "xquad-r": "XQuAD-R's JSON",
    "mentions": "Mewsli-X's mentions: JSON Lines",
    "checks": "templates of this package",
}
"""What each format is, for a reader."""
ON_HUB = "data set on the Hub"
_WITH_COLUMNS = ("jsonl", "csv", "tsv", "table", "parquet", "columns")
_LOOKED_AT = 50
Names = dict[str, None]
"""Names in the order in which they were met."""


class Columns(NamedTuple):
    """The columns that are read of every row, and those that are read where they are there."""

    needed: tuple[str, ...]
    optional: tuple[str, ...]

    def __str__(self) -> str:
        also = f" (optional: {', '.join(self.optional)})" if self.optional else ""
        return ", ".join(self.needed) + also


@dataclass(frozen=True)
class Layout:
    """One way in which some splits of a task may lie: their files by name, or a place on the Hub.

    `what` says what they are for where a task has several kinds (its training, its candidates);
    `source` names the data set, of which a task may need several.
    """

    what: str
    source: str
    files: Mapping[Split, tuple[str, ...]]
    form: str
    columns: Columns
    hub: str = ""


class _Recorder(dict[str, Any]):
    """A row that remembers which of its columns were read, and which were only asked for."""

    def __init__(self, row: Mapping[str, Any], needed: Names, optional: Names) -> None:
        super().__init__(row)
        self._needed, self._optional = needed, optional

    def __getitem__(self, name: str) -> Any:
        self._needed[name] = None
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        """The column's value, or the default; it counts as one that may be missing."""
        self._optional[name] = None
        return super().get(name, default)

    def __contains__(self, name: object) -> bool:
        self._optional[str(name)] = None
        return super().__contains__(name)


def layouts(task: TaskSpec | TargetSpec) -> Iterator[Layout]:
    """Every layout of a task: those of its training first, then those of its evaluation."""
    if isinstance(task, TaskSpec):
        yield from _layouts("", task.sources, LEARNT, ("en",), lambda _: task)
        return
    for number, stage in enumerate(task.training):
        what = f"training on {stage.name}" if len(task.training) > 1 else "training"
        made = {each: task.trained_in(each)[number] for each in task.train_languages}
        yield from _layouts(what, stage.sources, LEARNT, made, made.__getitem__)
    retrieval, here = task.retrieval, (EVALUATED, task.languages)
    yield from _layouts("queries" if retrieval else "evaluation", task.sources, *here, task.at)
    if retrieval:
        yield from _layouts("candidates", retrieval.candidates, *here, task.candidates)
        yield from _layouts("pairs", retrieval.gold, *here, task.gold)


def _layouts(
    what: str,
    sources: Sequence[Source],
    splits: Sequence[Split],
    languages: Iterable[str],
    make: Callable[[str], TaskSpec],
) -> Iterator[Layout]:
    """The layouts of some sources; `make` gives the task of one language."""

    def used(found: Mapping[Split, tuple[str, ...]]) -> Mapping[Split, tuple[str, ...]]:
        return {split: names for split, names in found.items() if split in splits}

    for number, source in enumerate(sources):
        tasks = map(make, languages)
        alone = (replace(each, sources=each.sources[number : number + 1]) for each in tasks)
        read = _columns_read(alone)
        if hub := source.hub:
            places = {split: tuple(map(_hub_place, found)) for split, found in hub.splits.items()}
            where = f"{hub.id}@{hub.revision}"
            yield Layout(what, source.name, used(places), ON_HUB, read, where)
        for files in source.files:
            columns = _as_written(files, read)
            yield Layout(what, source.name, used(files.paths), _form(files), columns)


def _hub_place(split: Mapping[str, Any]) -> str:
    if "files" in split:
        return str(split["files"])
    config = f"{split['config']}/" if "config" in split else ""
    return f"{config}{split['split']}"


def _form(files: FileData) -> str:
    if files.format == "tsv" and files.header:
        return f"TSV without a header, with the columns {', '.join(files.header)}"
    return FORMATS[files.format]


def _as_written(files: FileData, read: Columns) -> Columns:
    """The columns as a file calls them; only tables and JSON Lines have names for them."""
    if files.format not in _WITH_COLUMNS or files.header:
        return Columns((), ())
    written = {ours: theirs for theirs, ours in files.columns.items()}
    needed, optional = (tuple(written.get(name, name) for name in names) for names in read)
    return Columns(needed, optional)


def _columns_read(tasks: Iterable[TaskSpec]) -> Columns:
    """The columns that a task's function reads of a row, seen by giving it the bundled samples."""
    needed: Names = {}
    asked: Names = {}
    for task in tasks:
        if task.identity:  # a user's own, whose task file names the columns
            named = getattr(task.to_example, "columns", {}).values()
            listed = (each if isinstance(each, tuple) else (each,) for each in named)
            return Columns(tuple(str(name) for names in listed for name in names), ())
        for row in _sample_rows(task):
            with suppress(KeyError, ValueError):
                task.to_example(_Recorder(row, needed, asked))
        if needed:
            break
    return Columns(tuple(needed), tuple(name for name in asked if name not in needed))


def _sample_rows(task: TaskSpec) -> Iterator[Mapping[str, Any]]:
    for split in SPLITS:
        with suppress(UserError, ValueError):
            for part in find_parts(task, split, samples_folder()):
                names = part.columns
                for _, _, row in islice(part.rows(), _LOOKED_AT):
                    yield {names.get(name, name): value for name, value in row.items()}
