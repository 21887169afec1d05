"""From a task file to the specs that all other code knows, and the labels that its data has."""

from __future__ import annotations

import json
import logging
import unicodedata
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from adapter_stilts.data.load import word_place
from adapter_stilts.data.parts import LANG, Located, find_parts
from adapter_stilts.errors import UserError, bad, counted, few, hint, located, shown
from adapter_stilts.evaluation.chunk_tags import CHUNK_METRIC, ChunkTags, placed
from adapter_stilts.hashing import text_digest
from adapter_stilts.heads import get_head
from adapter_stilts.heads.base import Head
from adapter_stilts.own.model import (
    FORMATS,
    FROM_DATA,
    MOST_LABELS,
    SPLITS,
    TaskFile,
    columns_of,
    form_of,
    named_splits,
    paths_of,
    read_task_file,
    reading_of,
)
from adapter_stilts.own.rows import OwnRow, RowReader, all_names, column_names
from adapter_stilts.tasks.languages import check_language
from adapter_stilts.tasks.spec import (
    Category,
    FileData,
    HubData,
    HubSplit,
    Source,
    Split,
    TargetSpec,
    TaskSpec,
)
from adapter_stilts.yaml_files import Lines

logger = logging.getLogger(__name__)
_HEADER = {"text", "sentence", "word", "words", "token", "tokens", "tag", "tags", "ner", "pos"} | {
    "label",
    "labels",
    "class",
    "category",
}
"""What a line of column names has where text and label are."""


def listed_labels(file: TaskFile) -> tuple[str, ...]:
    """The labels that a task file lists; none where they are those of the data."""
    return () if file.labels == FROM_DATA else tuple(file.labels)


def labels_and_choices(
    file: TaskFile, lines: Lines, source: Source, reader: RowReader, language: str
) -> tuple[tuple[str, ...], int]:
    """Labels and number of choices, as far as the training data says them, which is checked.

    Labels or choices that neither the file nor its data says are refused.
    """
    listed, kind = listed_labels(file), get_head(file.head)
    options = reader.columns.get("options")
    choices = len(options) if isinstance(options, tuple) else file.choices
    if kind.chooses and listed and choices not in (0, len(listed)):
        raise lines.bad(("labels",), f"{len(listed)} labels, but {choices} options")
    if source.hub:
        if kind.has_labels and not listed:
            raise lines.bad(("labels",), "the labels of a data set on the Hub are to be listed")
        if kind.chooses and not (choices or listed):
            raise lines.bad(("choices",), "say how many options there are: 'choices: 4'")
        return listed, _enough(choices or len(listed), kind, lines)
    try:
        seen, options_seen = _look_through(file, lines, source, reader, language)
    except _NoDataError as error:
        if (kind.has_labels or kind.chooses) and not listed and not choices:
            key = ("files", "train") if "train" in paths_of(file) else ("files",)
            what = f"{error}; labels and options are read from there, if they are not listed"
            raise lines.bad(key, what) from error
        return listed, _enough(choices or len(listed), kind, lines)
    _warn_of_ambiguous_answers(file, source, reader, language)
    if listed and not kind.chooses:
        _check_used(lines, listed, seen)
    elif kind.is_named:
        _check_spellings(seen)
    if kind.has_labels and not listed:
        return _sort_labels(seen, lines), choices
    if kind.has_tags and len(seen) == 1:
        _say_once(f"{file.name}: every word has the tag {next(iter(seen))}: nothing can be learnt")
    return listed, _enough(choices or len(listed) or options_seen, kind, lines)


def _enough(choices: int, kind: Head, lines: Lines) -> int:
    if kind.chooses and choices < 2:
        raise lines.bad(("choices",), f"{choices} options: two or more are needed to choose among")
    return choices


def _look_through(
    file: TaskFile, lines: Lines, source: Source, reader: RowReader, language: str
) -> tuple[dict[str, str], int]:
    """The labels of the training data with the place of the first row of each, and the options.

    Without labels, the first row alone is read, whose columns are checked.
    """
    kind, from_data = get_head(file.head), not listed_labels(file)
    seen: dict[str, str] = {}
    words: set[str] = set()
    chunks = ChunkTags()
    first: Mapping[str, Any] = {}
    options = 0
    for where, place, row in _rows(file, source, language):
        _check_row(file, lines, reader, row, located(where, place))
        try:
            if kind.chooses and not options:
                options = len(OwnRow(reader, row).options())
            names = reader.label_names(row)
            if kind.has_tags and len(words) <= MOST_LABELS:
                words.update(OwnRow(reader, row).words("words"))
        except ValueError as error:
            raise bad(where, place, str(error)) from error
        first = first or row
        if not kind.is_named:
            break
        if kind.has_tags:
            chunks.add(names, placed(where, place, row))
        for word, name in enumerate(names):
            if name not in seen:
                seen[name] = located(where, word_place(row, word, place))
        if len(seen) > MOST_LABELS and from_data:
            what = f"over {MOST_LABELS} different labels: is it the right column?"
            raise lines.bad(("columns", "tags" if kind.has_tags else "label"), what)
    if kind.is_named and from_data:
        _check_header(file, lines, reader, first, seen)
    if kind.has_tags and from_data and len(seen) > len(words):
        many, few_words = counted(len(seen), "different tag"), counted(len(words), "different word")
        what = (
            f"{many}, but {few_words}: are the columns swapped? If not, list the tags in 'labels'"
        )
        raise lines.bad(("columns", "tags"), what)
    if (file.metric or kind.metrics[0]) == CHUNK_METRIC:
        for remark in chunks.remarks():
            _say_once(remark)
    return seen, options


@cache
def _say_once(remark: str) -> None:
    """Logs what is odd about data, which one command may read several times."""
    logger.warning("%s", remark)


def _warn_of_ambiguous_answers(
    file: TaskFile, source: Source, reader: RowReader, language: str
) -> None:
    """Says how many answers stand in their context several times, where no start is given."""
    count, first = 0, ""
    if "answer" not in reader.columns or "start" in reader.columns:
        return
    for where, place, row in _rows(file, source, language):
        mine = OwnRow(reader, row)
        try:
            if mine.gives_starts():
                return  # as the other rows of such a file
            again = mine.is_ambiguous()
        except (KeyError, ValueError):  # a row that is refused where it is read
            continue
        count += again
        first = first or (located(where, place) if again else "")
    if count:
        _say_once(
            f"{first}: the answer stands in its context several times, and the first is taken "
            f"({counted(count, 'such row')}): a column 'start' would say which one is meant"
        )


class _NoDataError(UserError):
    """The training data is not here."""


def _rows(file: TaskFile, source: Source, language: str) -> Iterator[Located]:
    """The rows of the training data with their places."""
    train = source.keeping(lambda split, _: split == "train")
    files = tuple(layout.filled({"lang": language}) for layout in train.files)
    # As much of a task as finding its files takes.
    task = cast(TaskSpec, SimpleNamespace(name=file.name, sources=(replace(train, files=files),)))
    try:
        (part,) = find_parts(task, "train", Path(source.root))
    except (UserError, ValueError) as error:
        raise _NoDataError(str(error) or f"{file.name} has no train data") from error
    yield from part.rows()


def _check_row(
    file: TaskFile, lines: Lines, reader: RowReader, row: Mapping[str, Any], place: str
) -> None:
    """Refuses columns that a row has not: at the line that names them."""
    names = all_names(row)
    for part, column in reader.columns.items():
        for each in column if isinstance(column, tuple) else (column,):
            try:
                reader.cell(row, each)
            except KeyError:
                known = hint(str(each), names, f"there are {', '.join(names)}")
                key = ("columns", part) if part in file.columns else ("columns",)
                of = "" if part in file.columns else f" for '{part}'"
                what = f"no column '{each}'{of} in {place}: {known}"
                raise lines.bad(key, " ".join(what.split())[:600]) from None


def _check_header(
    file: TaskFile, lines: Lines, reader: RowReader, first: Mapping[str, Any], seen: Collection[str]
) -> None:
    """Refuses a header that is read as the first row, and a first row that is read as a header."""
    columns, names = reader.columns, column_names(first)
    label = columns["tags" if get_head(file.head).has_tags else "label"]
    if not isinstance(label, int):
        return
    name = names[label - 1 if label > 0 else label]
    if name in seen and not name.isdigit():
        what = f"line 1 is read as a header, but '{name}' is a label: add 'header: false'"
        raise lines.bad(("columns",), what)
    cells = [reader.cell(first, columns[each]) for each in ("text", "words") if each in columns]
    cells = [each[0] if isinstance(each, list) else each for each in (*cells, first[name])]
    if {str(each).strip().lower() for each in cells} <= _HEADER:
        what = f"the first line looks like a header ({', '.join(map(shown, cells))})"
        remedy = "remove it" if "lines" in first else "remove 'header: false'"
        raise lines.bad(("columns",), f"{what}: {remedy}, or list the labels in 'labels'")


def _check_spellings(seen: Mapping[str, str]) -> None:
    """Refuses two labels that are one in two spellings, such as 1 and 1.0, or Yes and yes.

    So are quotes around a label, and characters in it that are not seen.
    """
    known: dict[str, str] = {}
    for name, place in seen.items():
        other = known.setdefault(_spelling(name), name)
        if other != name:
            same = unicodedata.normalize("NFC", name) == unicodedata.normalize("NFC", other)
            how = "in other code points of Unicode" if same else "in another spelling"
            raise UserError(
                f"{place}: label {shown(name)} is {shown(other)} of {seen[other]} {how}: write "
                "one of them everywhere; two labels are to be listed in 'labels'"
            )


def _spelling(name: str) -> str:
    """What all spellings of a label have in common."""
    with suppress(ValueError):
        if "_" not in name:
            return str(float(name))
    plain = name.strip("\"'") or name
    plain = "".join(char for char in plain if unicodedata.category(char) != "Cf") or name
    return " ".join(unicodedata.normalize("NFKC", plain).casefold().split())


def _check_used(lines: Lines, listed: tuple[str, ...], seen: Mapping[str, str]) -> None:
    """Refuses a list of labels that is not the data's."""
    if extra := next((name for name in seen if name not in listed), None):
        what = f"{seen[extra]}: label {shown(extra)} is not among 'labels': add it, or mend the row"
        raise lines.bad(("labels",), what)
    if len(listed) < 2:
        raise lines.bad(("labels",), f"one label ({listed[0]}): two or more are needed")
    for number, name in enumerate(listed):
        if name not in seen and name != "O":
            raise lines.bad(
                ("labels", number),
                f"no row of the training data has the label '{name}': remove it from 'labels'",
            )


def _sort_labels(seen: Mapping[str, str], lines: Lines) -> tuple[str, ...]:
    if len(seen) < 2:
        what = (
            f"the training data has one label ({', '.join(seen)})" if seen else "no row has a label"
        )
        raise lines.bad(("columns", "label"), f"{what}: two or more are needed to tell apart")
    numbers = all(name.isascii() and name.isdigit() for name in seen)
    return tuple(sorted(seen, key=(lambda name: (int(name), name)) if numbers else None))


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
        """What is trained on, in the first language with training data; refuses to be without."""
        for split in ("train", "dev"):
            if split not in named_splits(self.file):
                raise self.lines.bad(
                    ("files" if self.file.files else "hub",),
                    f"{self.file.name} has no {split} data, so nothing can be trained on it: add "
                    f"a line '{split}: …'",
                )
        return self.target.trained_in(self.target.train_languages[0])[-1]


def load_task_file(path: Path) -> OwnTask:
    """The task of a task file; refuses what cannot be used: names file, line and remedy."""
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
