"""From a task file to the specs that all other code knows."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from adapter_stilts.data.folders import LANG
from adapter_stilts.errors import UserError, few
from adapter_stilts.hashing import text_digest
from adapter_stilts.heads import get_head
from adapter_stilts.own.labels import labels_and_choices, listed_labels
from adapter_stilts.own.model import (
    FORMATS,
    SPLITS,
    TaskFile,
    columns_of,
    form_of,
    named_splits,
    paths_of,
    read_task_file,
    reading_of,
)
from adapter_stilts.own.rows import RowReader
from adapter_stilts.tasks.languages import check_language
from adapter_stilts.tasks.spec import (
    FileData,
    HubData,
    HubSplit,
    Source,
    Split,
    TaskSpec,
)
from adapter_stilts.tasks.target_spec import Category, TargetSpec
from adapter_stilts.yaml_files import Lines

_WITH_NUMBERS = ("jsonl", "parquet")
"""Formats that tell a number from a text."""


@dataclass(frozen=True)
class OwnTask:
    """A user's own task: to be learnt from as `task`, to be evaluated as `target`.

    `form` is how its files are written.
    """

    path: Path
    file: TaskFile
    lines: Lines
    form: str
    target: TargetSpec

    @property
    def task(self) -> TaskSpec:
        """What a module is trained on, in the first language that there is training data in.

        Raises:
            UserError: the file names no training or dev data.
        """
        for split in ("train", "dev"):
            if split not in named_splits(self.file):
                raise self.lines.bad(
                    ("files" if self.file.files else "hub",),
                    f"{self.file.name} has no {split} data, so nothing can be trained on it: add "
                    f"a line '{split}: …'",
                )
        return self.target.trained_in(self.target.train_languages[0])[-1]


def load_task_file(path: Path) -> OwnTask:
    """The task of a task file.

    Raises:
        UserError: the file or its data cannot be used; names file, line and remedy.
    """
    path = path.expanduser()
    return build_task(path, *read_task_file(path))


def build_task(path: Path, file: TaskFile, lines: Lines) -> OwnTask:
    """The task that a checked task file declares; relative paths begin at the file's folder.

    A metric that does not fit the head is refused.
    """
    _check_name(file, lines)
    form = form_of(file, lines)
    reading = reading_of(file, form, lines)
    columns = columns_of(file, form, lines)
    languages, source = _languages(file, lines)
    paths = paths_of(file)
    listed = listed_labels(file)
    # An option's number may count from 0 or from 1.
    names = get_head(file.head).is_named and not any(map(str.isdecimal, listed))
    classes = file.hub is not None or (names and form in _WITH_NUMBERS)
    no_tag = "_" if form == "conllu" else ""
    reader = RowReader(file.head, columns, listed, classes=classes, no_tag=no_tag)
    layout = FileData(FORMATS[form], paths, reading=reading)
    hub = _hub(file)
    root = str(path.resolve().parent) if file.files else ""
    first = Source(file.name, () if hub else (layout,), hub, root=root)
    labels, choices = labels_and_choices(file, lines, first, reader, source)
    if file.metric in get_head(file.head).of_two and len(labels) > 2:
        what = f"{file.metric} is defined for two labels, and there are {few(labels)}: write "
        raise lines.bad(("metric",), f"{what}'metric: {_metric(file)}'")
    reader = replace(reader, labels=labels)
    target = _target(file, first, reader, labels, choices, languages, source)
    return OwnTask(path, file, lines, form, target)


def _check_name(file: TaskFile, lines: Lines) -> None:
    from adapter_stilts.tasks.registry import built_in

    if known := built_in(file.name):
        what = f"the package has a task '{known}' already, so give yours another name"
        raise lines.bad(("name",), what)


def _languages(file: TaskFile, lines: Lines) -> tuple[tuple[str, ...], str]:
    """The languages, and the one that is learnt from."""
    known: set[str] = set()
    for number, code in enumerate(file.languages):
        try:
            usual = check_language(code, ())
        except UserError as error:
            raise lines.bad(("languages", number), str(error)) from error
        if usual in known:
            raise lines.bad(("languages", number), f"the language '{code}' stands there twice")
        known.add(usual)
    usual = "en" if "en" in file.languages or not file.languages else file.languages[0]
    source = file.source_language or usual
    try:
        check_language(source, ())
    except UserError as error:
        raise lines.bad(("source_language",), str(error)) from error
    languages = tuple(file.languages) or (source,)
    patterns = [each for paths in paths_of(file).values() for each in paths]
    if len(languages) > 1 and not file.hub and not any(LANG in each for each in patterns):
        what = "several languages, but no file name has {lang} in it: write 'test: test-{lang}.csv'"
        raise lines.bad(("languages",), what)
    return languages, source


def _hub(file: TaskFile) -> HubData | None:
    if file.hub is None:
        return None
    names = file.hub.splits.model_dump()
    config: dict[str, Any] = {"config": file.hub.config} if file.hub.config else {}
    splits: dict[Split, tuple[HubSplit, ...]] = {
        split: (cast(HubSplit, {"split": names[split], **config}),)
        for split in SPLITS
        if names[split]
    }
    return HubData(file.hub.id, file.hub.revision, splits)


_ABOUT = {"title", "licence", "citation"}


def _identity(file: TaskFile, labels: tuple[str, ...], choices: int) -> str:
    content = [file.model_dump(mode="json", exclude=_ABOUT), list(labels), choices]
    written = json.dumps(content, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return text_digest(written, 16)


def _target(
    file: TaskFile,
    source: Source,
    reader: RowReader,
    labels: tuple[str, ...],
    choices: int,
    languages: tuple[str, ...],
    learnt: str,
) -> TargetSpec:
    identity, head = _identity(file, labels, choices), get_head(file.head)
    by_language = any(LANG in each for each in paths_of(file).get("train", ()))
    shared: dict[str, Any] = {
        "name": file.name,
        "title": file.title or file.name,
        "head": file.head,
        "metric": file.metric or _metric(file),
        "licence": file.licence or "unknown",
        "citation": file.citation,
        "labels": labels if head.has_labels else (),
        "tags": labels if head.has_tags else (),
        "choices": choices if head.chooses else 0,
        "max_length": file.max_length,
        "identity": identity,
        "unanswerable": file.unanswerable,
    }
    stage = TaskSpec(
        **shared,
        sources=(source,),
        to_example=reader,
        sizes={},
        language=learnt,
        languages=languages,
    )
    trained = "train" in named_splits(file)
    sources = tuple(languages) if by_language else (learnt,)
    return TargetSpec(
        **shared,
        category=cast(Category, get_head(file.head).category),
        suites={},
        sources=(_evaluation_source(source, languages),),
        to_example=replace(reader, unlabelled=True),
        training=(stage,) if trained else (),
        train_languages=tuple(sorted(sources, key=lambda each: each != learnt)),
        own_languages=tuple(sorted(languages, key=lambda each: each != learnt)),
    )


def _metric(file: TaskFile) -> str:
    if file.unanswerable and "squad_v2" in get_head(file.head).metrics:
        return "squad_v2"
    return get_head(file.head).metrics[0]


def _evaluation_source(source: Source, languages: tuple[str, ...]) -> Source:
    """The source without splits that are there in one of several languages alone."""
    if len(languages) == 1:
        return source
    return source.keeping(lambda _, places: any(LANG in str(each) for each in places))
