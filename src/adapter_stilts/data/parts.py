"""Finding a task's data: official files in a folder, a user's own in their place, or the Hub's."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from adapter_stilts.data.cache import file_digests
from adapter_stilts.data.formats import read_rows
from adapter_stilts.errors import Place, UserError, hint
from adapter_stilts.hub import is_commit
from adapter_stilts.paths import is_file, is_folder
from adapter_stilts.tasks.languages import other_spellings
from adapter_stilts.tasks.spec import (
    FileData,
    HubData,
    HubSplit,
    Row,
    Source,
    Split,
    TargetSpec,
    TaskSpec,
)

Located = tuple[str, Place, Row]
"""A row, the file or Hub data set it is from, and its place there."""


def samples_folder() -> Path:
    """The folder of the bundled samples, laid out like a folder of official releases."""
    return Path(str(resources.files("adapter_stilts.data") / "samples"))


@dataclass(frozen=True)
class FilePart:
    """One source of a task, found as files: one split of it."""

    source: Source
    layout: FileData
    files: tuple[Path, ...]

    def identity(self) -> dict[str, Any]:
        """What decides the rows: the files' bytes and how they are read, not where they lie.

        A file that cannot be read is refused.
        """
        try:
            digests = file_digests(self.files)
        except OSError as error:
            raise UserError(f"{error.filename}: cannot be read ({error.strerror})") from error
        return {
            "name": self.source.name,
            "format": self.layout.format,
            "columns": dict(self.layout.columns),
            **({"header": list(self.layout.header)} if self.layout.header else {}),
            **({"only": list(self.layout.only)} if self.layout.only[0] else {}),
            **({"reading": asdict(self.layout.reading)} if self.layout.reading else {}),
            "sha256": digests,
        }

    def describe(self) -> dict[str, Any]:
        """Where the rows come from, for the record of a run."""
        return {"name": self.source.name, "files": [str(path) for path in self.files]}

    @property
    def columns(self) -> Mapping[str, str]:
        """The names that the task has for the files' columns, where they differ."""
        return self.layout.columns

    def rows(self) -> Iterator[Located]:
        """Every row of every file, as the file has it; refuses one that is malformed or empty."""
        some = False
        for path in self.files:
            here = False
            for place, row in read_rows(
                path, self.layout.format, self.layout.header, self.layout.reading
            ):
                if self._is_wanted(row):
                    here = some = True
                    yield str(path), place, row
            # CCGbank has a file for every article, and may have found no derivation in one.
            if not here and (self.layout.format != "auto" or (path == self.files[-1] and not some)):
                column, prefix = self.layout.only
                which = f" with {column} {prefix}" if column else ""
                expected = f"{self.layout.format} expected"
                raise UserError(f"{path}: the file has no rows{which} ({expected})")

    def _is_wanted(self, row: Row) -> bool:
        column, prefix = self.layout.only
        value: Any = row
        for name in filter(None, column.split(".")):
            value = value.get(name) if isinstance(value, Mapping) else None
        return not column or str(value).startswith(prefix)


def check_folder(folder: Path) -> None:
    """Refuses a folder of data that is none: it is a file, or not there."""
    if not is_folder(folder):
        what = "is a file, not a folder" if is_file(folder) else "is not there"
        meant = hint(str(folder), ("hub", "sample"), "--data takes 'hub', 'sample' or a folder")
        raise UserError(f"data folder '{folder}' {what}: {meant}")


def find_parts(task: TaskSpec, split: Split, folder: Path) -> list[FilePart]:
    """The files of one split of every source of the task; a source without any is refused."""
    sources = [source for source in task.sources if source.has(split)]
    if any(not source.root for source in sources or task.sources):
        check_folder(folder)
    if not sources:
        raise UserError(f"{task.name} has no {split} data")
    return [
        _find_source(task, source, split, Path(source.root) if source.root else folder)
        for source in sources
    ]


def _find_source(task: TaskSpec, source: Source, split: Split, folder: Path) -> FilePart:
    found = _search(source, source.files, split, folder)
    if found is None and source.spelled:
        for code in other_spellings(task.language):
            files = tuple(layout.filled({"lang": code}) for layout in source.spelled)
            found = found or _search(source, files, split, folder)
    if found is None:
        raise UserError(_missing(task, source, split, folder))
    return found


def _search(
    source: Source, layouts: tuple[FileData, ...], split: Split, folder: Path
) -> FilePart | None:
    roots = [folder / name for name in source.folders] + [folder]
    partial: FilePart | None = None
    for root in roots:
        for layout in layouts:
            found = {each: _match(root, layout, each) for each in layout.paths}
            part = FilePart(source, layout, found.get(split, ()))
            if part.files and all(found.values()):
                return part
            # Only one split is there: enough to evaluate, or for a source tested on another.
            if part.files and partial is None:
                partial = part
    return partial


def _match(root: Path, layout: FileData, split: Split) -> tuple[Path, ...]:
    """The files of all globs, or none where the layout is not complete."""
    if not root.is_dir():
        return ()
    matches = [
        # By their names first: XTREME joins treebanks so, whatever their folders are called.
        sorted(
            (path for path in glob_files(root, glob) if path.is_file()),
            key=lambda path: (path.name, path),
        )
        for glob in layout.paths[split]
    ]
    complete = layout.any_of or all(matches)
    return tuple(path for match in matches for path in match) if complete else ()


def glob_files(root: Path, glob: str) -> Iterator[Path]:
    """The files of a glob, which in a user's own task file may be a whole path.

    A glob that can name no file is refused.
    """
    try:
        path = Path(glob).expanduser()
        if path.is_absolute():
            root, path = Path(path.anchor), path.relative_to(path.anchor)
        yield from root.glob(str(path))
    except (IndexError, RuntimeError, ValueError) as error:
        why = "it is a folder" if isinstance(error, IndexError) else str(error).rstrip(".")
        raise UserError(f"'{glob}' names no file ({why})") from error


def _missing(task: TaskSpec, source: Source, split: Split, folder: Path) -> str:
    wanted = dict.fromkeys(
        ", ".join(layout.paths[split]) for layout in source.files if split in layout.paths
    )
    names = " or ".join(list(wanted)[:3])
    hint = f" ({source.obtain})" if source.obtain else ""
    if source.root:
        globs = [glob for layout in source.files for glob in layout.paths.get(split, ())]
        lacking = [
            glob for glob in globs if not any(each.is_file() for each in glob_files(folder, glob))
        ]
        a_folder = next(
            (glob for glob in lacking if (folder / Path(glob).expanduser()).is_dir()), ""
        )
        remedy = (
            f": '{a_folder}' is a folder, so name its files, as {a_folder}/*.csv"
            if a_folder
            else ""
        )
        named = f"its task file names {', '.join(lacking)}"
        return f"no {split} data of {task.name} in '{folder}': {named}{remedy}"
    if folder == samples_folder():
        return (
            f"no {split} data of {task.name} among the bundled samples: use --data hub, or "
            f"--data PATH for a folder with {names}{hint}"
        )
    return (
        f"no {split} data of {task.name} in '{folder}': expected {names} there or in "
        f"'{folder / source.folders[0]}'{hint}"
    )


AnyTask = TypeVar("AnyTask", TaskSpec, TargetSpec)
LANG = "{lang}"
"""Stands in a file's name where the code of a language does."""
Files = Mapping[Split, str | Path | None]


def with_files(task: AnyTask, files: Files) -> AnyTask:
    """The task with files of the user's own in place of some of its splits.

    A file is read in one of the task's formats, which its ending chooses. Of a target, these are
    files to evaluate on. A file that is not there, or for whose ending the task has no format, is
    refused; a retrieval task needs more than one file.
    """
    given: dict[Split, Path] = {
        split: Path(path).expanduser() for split, path in files.items() if path
    }
    if not given:
        return task
    for split, path in given.items():
        if LANG not in path.name and not path.is_file():
            what = "is a folder" if path.is_dir() else "is not there"
            raise UserError(f"--{split}-file '{path}' {what}")
    if isinstance(task, TargetSpec) and task.retrieval is not None:
        raise UserError(
            f"{task.name} searches among candidates, so one file is not enough: --data takes a "
            "folder with its files"
        )
    sources = [each.keeping(lambda split, _: split not in given) for each in task.sources]
    sources += [_given(task, split, path) for split, path in given.items()]
    return replace(task, sources=tuple(sources))


def given_files(task: TaskSpec | TargetSpec) -> dict[Split, Path]:
    """The files that `with_files` was given, by split."""
    return {
        split: Path(source.given)
        for source in task.sources
        if source.given
        for split in source.files[0].paths
    }


def check_languages(task: TargetSpec, split: Split, languages: Iterable[str]) -> None:
    """Refuses a single file for several languages."""
    path = given_files(task).get(split)
    if path is not None and LANG not in path.name and len(list(languages)) > 1:
        raise UserError(
            f"--{split}-file '{path}' is a file of one language: name the language, as in "
            f"--langs sw, or write {LANG} in the name of the file where its code stands"
        )


def _given(task: TaskSpec | TargetSpec, split: Split, path: Path) -> Source:
    source, layout = _layout(task, split, path)
    escaped = glob.escape(path.name)
    files = replace(layout, paths={split: (escaped,)}, any_of=False)
    folder = str(path.absolute().parent)
    return Source(source.name, (files,), None, folders=(".",), root=folder, given=str(path))


def _layout(task: TaskSpec | TargetSpec, split: Split, path: Path) -> tuple[Source, FileData]:
    """How the file is read: as that file of the task whose name, or else whose ending, it has."""
    found = [
        (source, layout)
        for each in dict.fromkeys((split, "train", "dev", "test"))
        for source in task.sources
        for layout in source.files
        if any(Path(name).suffix == path.suffix for name in layout.paths.get(each, ()))
    ]
    if not found and path.suffix == ".jsonl":
        # Rows with the columns that the data set has on the Hub.
        return task.sources[0], FileData("jsonl", {})
    if not found:
        known = {
            Path(name).suffix
            for source in task.sources
            for layout in source.files
            for names in layout.paths.values()
            for name in names
        }
        endings = ", ".join(sorted(filter(None, known | {".jsonl"})))
        raise UserError(f"--{split}-file '{path}': {task.name} reads files that end in {endings}")
    official = [
        (source, layout)
        for source, layout in found
        if any(path.match(Path(name).name) for name in layout.paths.get(split, ()))
    ]
    return (official or found)[0]


if TYPE_CHECKING:
    from adapter_stilts.hub.client import Repository
    from adapter_stilts.hub.guard import Guard

_ELSEWHERE = "use --data PATH for a folder of official files, or --data sample"


@dataclass(frozen=True)
class HubPart:
    """One source of a task on the Hub: one split of it."""

    source: Source
    hub: HubData
    split: Split

    @property
    def columns(self) -> Mapping[str, str]:
        """The task has the Hub's names for the columns."""
        return {}

    def identity(self) -> dict[str, Any]:
        """What decides the rows: the data set, its revision, configurations and splits."""
        return self.describe()

    def describe(self) -> dict[str, Any]:
        """Where the rows come from, for the record of a run."""
        return {
            "name": self.source.name,
            "hub": self.hub.id,
            "revision": self.hub.revision,
            "splits": [dict(split) for split in self.hub.splits[self.split]],
        }

    def rows(self) -> Iterator[Located]:
        """Every row of every split, downloaded where it is not here yet.

        Data that the Hub does not have is refused, and all where it cannot be reached.
        """
        from adapter_stilts.hub.client import Repository
        from adapter_stilts.hub.guard import guard_downloads

        splits = self.hub.splits[self.split]
        # A user's own task that is on the Hub has no other data.
        remedy = _ELSEWHERE if self.source.files else ""
        repository = Repository(self.hub.id, "data set", self.hub.revision, remedy)
        with guard_downloads() as guard:
            trouble = _ask(repository, guard)
            loaded = [_load(repository, split, trouble) for split in splits]
        for split, rows in zip(splits, loaded, strict=True):
            where = f"{self.hub.id}, split {split['split']}"
            column, prefix = split.get("only", ("", ""))
            number = 0
            for table in rows.with_format("arrow").iter(1000):
                for row in table.to_pylist():
                    if not column or str(row.get(column)).startswith(prefix):
                        yield where, f"row {number}", row
                    number += 1


def hub_parts(task: TaskSpec, split: Split) -> list[HubPart]:
    """One split of every source of the task, to be read from the Hub; refused where one is not."""
    parts = []
    for source in (each for each in task.sources if each.has(split)):
        if source.hub is None or split not in source.hub.splits:
            if source.obtain:
                raise UserError(f"{source.obtain}, or use --data sample")
            raise UserError(f"{source.name} is not on the Hub; {_ELSEWHERE}")
        parts.append(HubPart(source, source.hub, split))
    if not parts:
        raise UserError(f"{task.name} has no {split} data")
    return parts


def in_cache(hub: HubData, split: Split) -> bool:
    """Whether `datasets` has the split, at its revision, from an earlier time."""
    from huggingface_hub import constants

    home = os.environ.get("HF_DATASETS_CACHE") or f"{constants.HF_HOME}/datasets"
    folder = Path(home) / hub.id.replace("/", "___")
    commit = hub.revision if is_commit(hub.revision) else "*"
    return all(
        any(folder.glob(f"{each.get('config', '*')}/*/{commit}/dataset_info.json"))
        for each in hub.splits[split]
    )


def _ask(repository: Repository, guard: Guard) -> UserError | None:
    """One quick question to the Hub, as `datasets` would try for half a minute, and not quietly.

    What is returned is for the user should the cache not help, where the Hub does not answer. A
    data set or revision that it does not have is refused.
    """
    from adapter_stilts.hub.client import look, status_of

    try:
        commit, files = look(repository)
    except UserError as error:
        if status_of(error) is not None:
            raise
        return error
    for revision in {repository.revision, commit}:
        guard.expect(repository.id, revision, files, kind="datasets/")
    return None


def _load(repository: Repository, split: HubSplit, trouble: UserError | None) -> Any:
    """One split as a `datasets.Dataset` at the pinned revision."""
    import datasets

    from adapter_stilts.hub.client import call
    from adapter_stilts.hub.guard import close_hub

    name = split["split"]
    revision = repository.revision
    given: dict[str, Any] = {"split": name, "revision": revision}
    if "files" in split:
        given["data_files"] = {name: split["files"]}
    try:
        with close_hub() if trouble else nullcontext():
            loaded = call(
                repository,
                lambda: datasets.load_dataset(repository.id, split.get("config"), **given),
            )
    except UserError as error:
        raise trouble or error from error
    # Without the Hub, `datasets` takes the newest it has, of whatever revision; the folder of
    # what it converted is named after the commit.
    commits = {Path(file["filename"]).parent.name for file in loaded.cache_files}
    if trouble and is_commit(revision) and any(map(is_commit, commits - {revision})):
        raise UserError(f"{trouble} (the cache has it at another revision than this one needs)")
    return loaded
