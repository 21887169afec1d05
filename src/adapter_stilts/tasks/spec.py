"""What a task is: a frozen declaration and, at most, one short pure function.

A target task is evaluated in many languages, and learnt in one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, NotRequired, cast

from typing_extensions import TypedDict

from adapter_stilts.display import html_facts
from adapter_stilts.errors import UserError, counted, few, shown
from adapter_stilts.heads import get_head
from adapter_stilts.heads.base import Example
from adapter_stilts.safety import is_line
from adapter_stilts.tasks.languages import check_language, three_letters

SHORTEST = 16
"""Tokens that a sequence may have at least: special tokens, and some room for texts."""
HeadKind = str
"""The name of a kind of head: one of `heads.KINDS`."""
Split = Literal["train", "dev", "test"]
FileFormat = Literal[
    "jsonl",
    "csv",
    "tsv",
    "squad",
    "auto",
    "pipe",
    "conll",
    "conllu",
    "lines",
    "xquad-r",
    "mentions",
    "table",
    "parquet",
    "columns",
    "checks",
]

Category = Literal["classification", "structured", "qa", "retrieval"]
Suite = Literal["xtreme", "xtreme-r"]
Search = Literal["nearest", "mining", "ranking"]
Row = Mapping[str, Any]
"""One row as its source has it: a Hub row, a CSV line, a SQuAD question, a tagged sentence."""


class HubSplit(TypedDict):
    """Where one split lies on the Hub: a configuration name and a split name.

    `files` is a glob inside the repository, for one that declares no such split itself (the
    automatic Parquet branch of a data set with unusual split names). `only` is a column and a
    prefix: rows that begin otherwise there are another language's.
    """

    split: str
    config: NotRequired[str]
    files: NotRequired[str]
    only: NotRequired[tuple[str, str]]


@dataclass(frozen=True)
class HubData:
    """A data set on the Hub that loads without a script.

    `revision` is a commit or a ref that does not move; `splits` names, for our `train` and
    `dev`, the Hub's own splits (several are read one after the other).
    """

    id: str
    revision: str
    splits: Mapping[Split, tuple[HubSplit, ...]]


def hub_splits(config: str, **names: str) -> dict[Split, tuple[HubSplit, ...]]:
    """Our splits by the Hub's names for them, all of one configuration."""
    return {
        cast(Split, split): ({"config": config, "split": name},) for split, name in names.items()
    }


def one_file(pattern: str, *splits: Split) -> dict[Split, tuple[str, ...]]:
    """One file for each split, named by a pattern with `{split}` where its name stands."""
    return {split: (pattern.replace("{split}", split),) for split in splits}


@dataclass(frozen=True)
class Reading:
    """How a table, or a file with a word a line, is written.

    `delimiter` stands between cells; empty is white space, or tabs where a line has one. `quote`
    is put around cells; empty where quotes mean nothing. Without a `header` columns are called by
    their numbers, from 1.
    """

    delimiter: str = ""
    quote: str = '"'
    header: bool = True


@dataclass(frozen=True)
class FileData:
    """One way the official release lies in a folder.

    `paths` are globs relative to the source's folder; several are read one after the other, the
    files of one glob in alphabetical order. The first layout of a source of which every glob of
    every split matches is read; with `any_of`, one glob of every split is enough. `columns`
    renames the file's columns to the names that `to_example` expects (the Hub's). `header` names
    the columns of a TSV file that has no first line for that. `only` is a column and a prefix, as
    in `HubSplit`, for one file of all languages; a dot leads into an object. Data that stands in
    for the task's own has a `title`, a `licence` and a `citation` of its own. `reading` is for the
    formats `table` and `columns`.
    """

    format: FileFormat
    paths: Mapping[Split, tuple[str, ...]]
    columns: Mapping[str, str] = field(default_factory=dict)
    header: tuple[str, ...] = ()
    only: tuple[str, str] = ("", "")
    any_of: bool = False
    title: str = ""
    licence: str = ""
    citation: str = ""
    reading: Reading | None = None

    def filled(self, values: Mapping[str, str]) -> FileData:
        """The same files with `{key}` replaced by the key's value."""
        return replace(self, paths=fill(self.paths, values), only=fill(self.only, values))


def fill(value: Any, values: Mapping[str, str]) -> Any:
    """The structure with `{key}` replaced in every text."""
    if isinstance(value, str):
        for key, written in values.items():
            value = value.replace(f"{{{key}}}", written)
        return value
    if isinstance(value, Mapping):
        return {key: fill(inner, values) for key, inner in value.items()}
    return tuple(fill(inner, values) for inner in value)


@dataclass(frozen=True)
class Source:
    """One data set of a task: on the Hub, as official files, or both.

    `folders` are the names its folder goes by inside a folder of data sets; the user may also
    point at the data set's folder itself. `obtain` says how to get data that is not on the Hub.
    `root` is where the files lie, wherever others do: the folder of a user's own task file, or
    one of this package; `given` is the path of a single file that the user gave in place of a
    split. `spelled` are those of `files` that are named after a language, with `{lang}` where its
    code stands: they may go by another code of it.
    """

    name: str
    files: tuple[FileData, ...]
    hub: HubData | None = None
    folders: tuple[str, ...] = ()
    obtain: str = ""
    root: str = ""
    spelled: tuple[FileData, ...] = ()
    given: str = ""

    def __post_init__(self) -> None:
        if not self.folders:
            object.__setattr__(self, "folders", (self.name,))

    def keeping(self, wanted: Callable[[Split, tuple[Any, ...]], bool]) -> Source:
        """The source with those splits alone that are wanted, by their name and their places."""
        files = tuple(
            replace(each, paths={s: names for s, names in each.paths.items() if wanted(s, names)})
            for each in self.files
        )
        hub = self.hub and replace(
            self.hub, splits={s: found for s, found in self.hub.splits.items() if wanted(s, found)}
        )
        return replace(self, files=files, hub=hub)

    def has(self, split: Split) -> bool:
        """Whether it takes part in the split: a task may learn from one and be tried on another."""
        in_files = any(split in layout.paths for layout in self.files)
        return in_files or (self.hub is not None and split in self.hub.splits)


@dataclass(frozen=True, repr=False, kw_only=True)
class Spec:
    """What a task and a target declare alike.

    `to_example` maps one row to one example, or to None for a row that the task leaves out
    (SNLI's "-" labels). It raises `KeyError` for a column that is not there and `ValueError`
    for a value that cannot be right; the reader adds file and line.

    `labels` is the closed label set of a classification task, `tags` that of a tagging task: data
    with other ones is refused. `choices` is the number of options of a multiple-choice task. With
    `repeated_ids`, files in which several questions share an id are read too. `published` is a
    full-size figure to compare with, and where it stands. `identity` is a hash of the content of
    a user's own task, empty for the tasks of the package.
    """

    name: str
    title: str
    head: HeadKind
    metric: str
    sources: tuple[Source, ...]
    to_example: Callable[[Row], Example | None]
    licence: str
    citation: str
    aliases: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    choices: int = 0
    unanswerable: bool = False
    repeated_ids: bool = False
    max_length: int = 256
    published: Mapping[str, float | str] = field(default_factory=dict)
    identity: str = ""

    def shared(self, **others: Any) -> dict[str, Any]:
        """What another spec of the same data declares alike, with others in place of some."""
        alike = {each.name: getattr(self, each.name) for each in fields(Spec)}
        return {**alike, "aliases": (), "published": {}, **others}

    def facts(self) -> dict[str, Any]:
        """What a reader asks first, by what it is called."""
        return {
            "title": self.title,
            "head": self.head,
            "metric": self.metric,
            "labels": few(self.labels or self.tags),
            "options": self.choices or "",
            "licence": self.licence,
            "citation": self.citation,
        }


@dataclass(frozen=True, repr=False, kw_only=True)
class TaskSpec(Spec):
    """A data set (or several read as one), its head, its metric, and where it comes from.

    `sizes` are the official numbers of examples. With `own_tags`, the tags are the user's choice,
    and data may have other ones. A tagging task without `tags` learns them from the training data.

    A target task in one language is such a declaration too: `language` says which, and with
    `unlabelled` its examples may lack their label (-1), tags or answers (none), as published
    test sets do. `languages` are those that a user's own task is evaluated in.
    """

    sizes: Mapping[Split, int]
    own_tags: bool = False
    language: str = "en"
    unlabelled: bool = False
    languages: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuses what the record of a module could not hold, before anything is trained."""
        for text in (self.name, self.title, self.licence, self.citation, *self.labels, *self.tags):
            if not isinstance(text, str) or not is_line(text):
                raise UserError(
                    f"task {shown(self.name)}: {shown(text)} is not one line that can be printed"
                )

    def __repr__(self) -> str:
        return f"<TaskSpec {self.name}: {self.head}, {self.metric}>"

    def _repr_html_(self) -> str:
        return html_facts(self.facts(), title=self.name)


def codes(written: str) -> tuple[str, ...]:
    """Language codes, written side by side as in the papers' tables."""
    return tuple(written.split())


@dataclass(frozen=True)
class Retrieval:
    """What a retrieval task searches, and how.

    `nearest`: candidate i is the translation of query i (Tatoeba). `mining`: the pairs are listed
    in `gold`, whose rows become examples with the source's `id` and in `gold` the target's
    (BUCC). `ranking`: queries and candidates both list keys in their `gold`, and a candidate is
    relevant to a query if they have a key in common. A key is what both sides know: a question's
    id, the same in all languages, which every sentence that answers it lists (LAReQA, where one
    language's file does not tell the sentences of the others), or an entity (Mewsli-X).

    With `pooled`, the candidates of all languages are searched together. With `shared`, every
    language has the same candidates, under one name: they are read, and encoded, once.
    """

    search: Search
    candidates: tuple[Source, ...]
    candidate_example: Callable[[Row], Example | None]
    gold: tuple[Source, ...] = ()
    gold_example: Callable[[Row], Example | None] | None = None
    pooled: bool = False
    shared: bool = False


@dataclass(frozen=True, repr=False, kw_only=True)
class TargetSpec(Spec):
    """A task that is learnt from English data and evaluated in many languages.

    Sources hold `{lang}` where a language's code stands in paths, globs, configurations and
    split names, and `{key}` for every key of `fields`, which maps it by language (the treebank
    of a language, its three-letter code; under the key `lang`, a code written otherwise there).

    `suites` are the languages by benchmark, in the order of its paper; `others` can be asked for
    by name too (MLQA's pairs), as can any language for which there are files: of one that `fields`
    does not list, its own code stands for it, or under the key `code` that of three letters.
    `training` are the stages of the usual training, each a
    task with the splits `train` and `dev`, placeholders allowed; none where a target has no
    training data (Tatoeba, BUCC). `train_languages` are those it can be trained in.
    `submission` is the folder of its prediction files in XTREME's format, if not its name, and
    `submitted` what its labels are called in them, if not `labels`; `near` is the intermediate
    task most like it. With `parallel`, test examples of one id are translations of each other, in
    whatever languages. `own_languages` are the languages of a task that no benchmark lists.
    """

    category: Category
    suites: Mapping[Suite, tuple[str, ...]]
    training: tuple[TaskSpec, ...]
    near: str = ""
    submission: str = ""
    train_languages: tuple[str, ...] = ("en",)
    others: tuple[str, ...] = ()
    fields: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    retrieval: Retrieval | None = None
    submitted: tuple[str, ...] = ()
    parallel: bool = False
    own_languages: tuple[str, ...] = ()

    def __repr__(self) -> str:
        languages = counted(len(self.languages), "language")
        return f"<TargetSpec {self.name}: {self.head}, {self.metric}, {languages}>"

    def _repr_html_(self) -> str:
        languages = few(self.languages, 60)
        return html_facts({**self.facts(), "languages": languages}, title=self.name)

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages of all suites, English first, then as the papers list them."""
        listed = dict.fromkeys(lang for languages in self.suites.values() for lang in languages)
        return self.own_languages or tuple(sorted(listed, key=lambda lang: lang != "en"))

    def at(self, language: str) -> TaskSpec:
        """The task in one language, to be evaluated on its `dev` or `test`.

        For a retrieval task these are the queries.

        Raises:
            UserError: there is no such language.
        """
        return self._side(language, self.sources, self.to_example)

    def with_tags(self, tags: str | Sequence[str]) -> TargetSpec:
        """The task with a tag set of the user's own, written with commas between or as a list.

        Raises:
            UserError: it tags nothing, or these are no tags.
        """
        if not get_head(self.head).has_tags:
            raise UserError(f"{self.name} has no tags: leave out --tags")
        listed = tags.split(",") if isinstance(tags, str) else tags
        own = tuple(tag.strip() for tag in listed if tag.strip())
        if not own or len(set(own)) != len(own) or any(len(tag.split()) > 1 for tag in own):
            raise UserError("--tags: distinct tags were expected, with commas between")
        training = tuple(replace(stage, tags=own, own_tags=True) for stage in self.training)
        return replace(self, tags=own, training=training)

    def candidates(self, language: str) -> TaskSpec:
        """What the queries of that language are to find."""
        assert self.retrieval
        found = self._side(
            language, self.retrieval.candidates, self.retrieval.candidate_example, "candidates"
        )
        return replace(found, name=f"{self.name}.candidates") if self.retrieval.shared else found

    def gold(self, language: str) -> TaskSpec:
        """The listed pairs of a mining task."""
        assert self.retrieval and self.retrieval.gold_example
        return self._side(language, self.retrieval.gold, self.retrieval.gold_example, "gold")

    def trained_in(self, language: str) -> tuple[TaskSpec, ...]:
        """The stages of the training in one source language (Turc et al. 2021).

        Raises:
            UserError: the target has no training data, or none in that language.
        """
        if not self.training:
            raise UserError(
                f"{self.name} has no training data: evaluate it with a module of another task"
            )
        stages = tuple(
            replace(stage, language=language, sources=self._filled(stage.sources, language))
            for stage in self.training
        )
        if language not in self.train_languages:
            check_language(language, (*self.languages, *self.train_languages))
            if [made.sources for made in stages] == [stage.sources for stage in self.training]:
                there = ", ".join(self.train_languages)
                raise UserError(f"training data of {self.name} is in {there}, not in '{language}'")
        return stages

    def _side(
        self,
        language: str,
        sources: tuple[Source, ...],
        to_example: Callable[[Row], Example | None],
        side: str = "",
    ) -> TaskSpec:
        if language not in (*self.languages, *self.others):
            check_language(language, self.languages)
        found = self.shared(
            name=".".join(filter(None, (self.name, language, side))),
            sources=self._filled(sources, language),
            to_example=to_example,
        )
        return TaskSpec(**found, sizes={}, language=language, unlabelled=True)

    def _filled(self, sources: tuple[Source, ...], language: str) -> tuple[Source, ...]:
        values = {"lang": language}
        for key, by in self.fields.items():
            values[key] = by[language] if language in by else _unlisted(key, language)
        return tuple(_fill_source(source, values, language) for source in sources)


def _unlisted(key: str, language: str) -> str:
    """What stands for a language that a task does not list: its code, of three letters in one."""
    return three_letters(language) if key == "code" and "-" not in language else language


def _fill_source(source: Source, values: Mapping[str, str], language: str) -> Source:
    hub = source.hub and replace(source.hub, splits=fill(source.hub.splits, values))
    files = tuple(layout.filled(values) for layout in source.files)
    # A field named `lang` says how a source writes its codes: there they have no other spelling.
    rest = {**values, "lang": "{lang}" if values["lang"] == language else values["lang"]}
    open_ = (layout.filled(rest) for layout in source.files)
    spelled = tuple(each for each in open_ if "{lang}" in str(each.paths))
    return replace(source, hub=hub, files=files, spelled=spelled)


def target_of(stage: TaskSpec) -> TargetSpec:
    """A target that is learnt and tried on one task, to be given its suites and what differs."""
    return TargetSpec(
        **stage.shared(identity=""),
        category=cast(Category, get_head(stage.head).category),
        suites={},
        training=(stage,),
        train_languages=(stage.language,),
    )
