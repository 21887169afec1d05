"""What a target task is: evaluated in many languages, learnt in one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, cast

from adapter_stilts.display import html_facts
from adapter_stilts.errors import UserError, counted, few
from adapter_stilts.heads import get_head
from adapter_stilts.heads.base import Example
from adapter_stilts.tasks.languages import check_language, three_letters
from adapter_stilts.tasks.spec import (
    FileData,
    Row,
    Source,
    Spec,
    Split,
    TaskSpec,
    fill,
)

Category = Literal["classification", "structured", "qa", "retrieval"]
Suite = Literal["xtreme", "xtreme-r"]
Search = Literal["nearest", "mining", "ranking"]


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


__all__ = ["Category", "FileData", "Retrieval", "Split", "Suite", "TargetSpec", "codes"]


def target_of(stage: TaskSpec) -> TargetSpec:
    """A target that is learnt and tried on one task, to be given its suites and what differs."""
    return TargetSpec(
        **stage.shared(identity=""),
        category=cast(Category, get_head(stage.head).category),
        suites={},
        training=(stage,),
        train_languages=(stage.language,),
    )
