"""A user's own files in place of a task's splits: `--train-file`, `--dev-file`, `--test-file`."""

from __future__ import annotations

import glob
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from adapter_stilts.errors import UserError
from adapter_stilts.tasks.spec import FileData, Source, Split, TaskSpec
from adapter_stilts.tasks.target_spec import TargetSpec

AnyTask = TypeVar("AnyTask", TaskSpec, TargetSpec)
LANG = "{lang}"
"""Stands in a file's name where the code of a language does."""
Files = Mapping[Split, str | Path | None]


def with_files(task: AnyTask, files: Files) -> AnyTask:
    """The task with files of the user's own in place of some of its splits.

    A file is read in one of the task's formats, which its ending chooses. Of a target, these are
    files to evaluate on.

    Raises:
        UserError: a file is not there, the task has no format for its ending, or the task is a
            retrieval task, which needs more than one file.
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
    """Refuses a single file for several languages.

    Raises:
        UserError: says how one language is named, or several files.
    """
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
