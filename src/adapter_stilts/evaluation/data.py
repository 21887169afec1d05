"""What is to be evaluated: which languages were asked for, and which of them the data has."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from adapter_stilts.data.load import (
    ExampleSet,
    convert_row,
    find_all,
    load_examples,
    origin_of,
    resolve_where,
)
from adapter_stilts.data.parts import LANG, given_files, glob_files
from adapter_stilts.errors import UserError, bad, hint, shown, unknown
from adapter_stilts.evaluation.chunk_tags import warn_of_odd_tags
from adapter_stilts.hashing import json_digest
from adapter_stilts.heads import get_head
from adapter_stilts.tasks.languages import check_language, choose_language
from adapter_stilts.tasks.spec import Split, TargetSpec, TaskSpec

logger = logging.getLogger(__name__)

SPLITS: tuple[Split, ...] = ("dev", "test")


class NoDataError(UserError):
    """The data has none of the languages that were asked for."""


def resolve_languages(
    target: TargetSpec, langs: str | Sequence[str], split: Split = "test", where: str | None = None
) -> tuple[str, ...]:
    """The languages that a list or `ko,sw` stands for; `all` and a suite's name are its own.

    Others are found by any of their codes: by the one that the task lists, or that has files.
    Refuses where there is no such language, or none was named.
    """
    named = [part.strip() for part in langs.split(",")] if isinstance(langs, str) else list(langs)
    suites: dict[str, tuple[str, ...]] = {str(name): each for name, each in target.suites.items()}
    groups = {"all": target.languages, **suites}
    known = (*target.languages, *target.others)
    found: list[str] = []
    for part in filter(None, named):
        found += groups.get(part) or [
            _choose_language(target, part, split, where, [*known, *groups])
        ]
    if not found:
        raise UserError(f"no language given: choose from {', '.join(known)}, or all")
    other = next((each for each in found if each not in known), "")
    if other and _is_in_one_language(target, split):
        raise UserError(
            f"the {split} data of {target.name} is in {', '.join(known)}, not in '{other}': files "
            f"of several languages have {LANG} in their names"
        )
    return tuple(dict.fromkeys(found))


def _is_in_one_language(target: TargetSpec, split: Split) -> bool:
    """Whether a user's own task has the same data of that split in whatever language."""
    places = [
        str(each)
        for source in target.sources
        for each in (
            *(layout.paths.get(split) for layout in source.files),
            source.hub and source.hub.splits.get(split),
        )
    ]
    given = split in given_files(target)  # which may be in any language
    return bool(target.identity) and not given and not any(LANG in each for each in places)


def _choose_language(
    target: TargetSpec, code: str, split: Split, where: str | None, known: Sequence[str]
) -> str:
    """The language of that code, as the task or its files call it."""

    def has_files(spelling: str) -> bool:
        return _lacking(target, spelling, split, where) is None

    # What the Hub has one only learns when asking for it.
    on_hub = origin_of(target, where) == "hub"
    language = choose_language(code, known, None if on_hub else has_files)
    if language in known and language not in (code, check_language(code, known)):
        logger.warning("%s: there is no data in %s, so %s is taken", target.name, code, language)
    return language


def other_languages(target: TargetSpec, split: Split, where: str | None) -> list[str]:
    """Languages that no suite lists, and that a folder has files of."""
    origin = origin_of(target, where)
    if origin in ("hub", "sample"):
        return []
    listed, found = (*target.languages, *target.others), set()
    for code in _codes_in(target, split, Path(origin).expanduser()):
        with suppress(UserError):
            if check_language(code, listed) == code:
                found.add(code)
    others = found.difference(listed)
    return sorted(code for code in others if _lacking(target, code, split, where) is None)


def _codes_in(target: TargetSpec, split: Split, folder: Path) -> Iterator[str]:
    """What stands in the names of files where a language's code does."""
    for source in target.sources:
        globs = [glob for layout in source.files for glob in layout.paths.get(split, ())]
        folder = Path(source.root) if source.root else folder
        for root in (*(folder / name for name in source.folders), folder):
            for glob in (each for each in globs if LANG in each.rpartition("/")[2]):
                name, mark = re.escape(glob.rpartition("/")[2]), re.escape(LANG)
                pattern = name.replace(mark, "([A-Za-z0-9-]+?)", 1).replace(mark, r"\1")
                for path in glob_files(root, re.sub(r"\{\w+\}", "*", glob)):
                    if match := re.fullmatch(pattern.replace(r"\*", ".*"), path.name):
                        yield match[1]


def resolve_split(target: TargetSpec, split: str, *, takes_files: bool = True) -> Split:
    """The split of that name; refuses one that the task does not have."""
    there = [each for each in SPLITS if any(source.has(each) for source in target.sources)]
    if split in there:
        return split
    if split not in SPLITS:
        raise unknown(f"split of {target.name}", split, there)
    others = [f"--split {each}" for each in there]
    takes_files = takes_files and target.retrieval is None
    own = [f"--{split}-file with rows of your own"] if takes_files else []
    remedy = " or ".join(others + own)
    raise UserError(f"{target.name} has no {split} data" + (remedy and f": give {remedy}"))


@dataclass(frozen=True)
class LanguageData:
    """The examples of one language (for retrieval: the queries) and whether they have labels.

    `fingerprint` stands for everything the language's predictions depend on, `count` is the
    number of examples that are evaluated.
    """

    examples: ExampleSet
    labelled: bool
    fingerprint: str
    count: int


@dataclass(frozen=True)
class TargetData:
    """A target's data: what could be read, and why the rest could not."""

    languages: dict[str, LanguageData] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)


def read_data(
    target: TargetSpec,
    languages: Sequence[str],
    split: Split,
    where: str | None,
    *,
    limit: int | None,
) -> TargetData:
    """Reads every language's examples; those that the data lacks are named, with the reason.

    Refuses malformed data, and data that has none of the languages (NoDataError).
    """
    read = TargetData()
    for language in languages:
        lacking = _lacking(target, language, split, where)
        if lacking is not None:
            read.missing[language] = lacking + _nearby(target, language)
            continue
        try:
            read.languages[language] = _read_language(target, language, split, where, limit)
        except UserError as error:
            # Of what the Hub lacks one only learns when asking for it.
            if origin_of(target, where) != "hub" or not read.languages:
                raise
            read.missing[language] = str(error)
    if read.missing and not read.languages:
        raise NoDataError(
            next(iter(read.missing.values())) + _elsewhere(target, read, split, where)
        )
    return read


def _nearby(target: TargetSpec, language: str) -> str:
    """A hint, where a code that the task does not list may be a slip of the pen."""
    listed = (*target.languages, *target.others)
    meant = "" if language in listed else hint(language, listed)
    return meant and f"; {meant}"


def _elsewhere(target: TargetSpec, read: TargetData, split: Split, where: str | None) -> str:
    """A hint, where another split of a language is there, or languages that no suite lists."""
    for other in SPLITS:
        if other != split and any(
            _lacking(target, language, other, where) is None for language in read.missing
        ):
            return f"; --split {other} is there"
    others = other_languages(target, split, where)
    return f"; there are files of {', '.join(others)}: --langs {','.join(others)}" if others else ""


def _lacking(target: TargetSpec, language: str, split: Split, where: str | None) -> str | None:
    try:
        for task, each in data_sets(target, language, split, where):
            find_all(task, each, origin_of(target, where))
    except UserError as error:
        return str(error)
    return None


def _read_language(
    target: TargetSpec, language: str, split: Split, where: str | None, limit: int | None
) -> LanguageData:
    if target.retrieval is None:
        task = target.at(language)
        data = load_examples(task, split, where, limit=limit)
        warn_of_odd_tags(task, split, where)
        labelled = has_labels(task, split, where, data)
        return LanguageData(data, labelled, data.fingerprint, len(data.examples))
    # Candidates stay all under a limit, so that the queries are as hard; these are drawn later.
    sides = [
        Side(task, each, load_examples(task, each, where))
        for task, each in data_sets(target, language, split, where)
    ]
    check_agreement(target, language, where, sides)
    read = [side.data for side in sides]
    count = len(read[0].examples)
    fingerprint = json_digest([data.fingerprint for data in read])[:32]
    return LanguageData(read[0], True, fingerprint, count if limit is None else min(limit, count))


def has_labels(task: TaskSpec, split: Split, where: str | None, data: ExampleSet) -> bool:
    """Whether the examples have what they are scored by; refuses a set of which only some have.

    The `data` are what `load_examples` read of that split from there.
    """
    kind = get_head(task.head)
    column = kind.gold
    columns = (batch[column] for batch in data.examples.select_columns([column]).iter(1000))
    found = {kind.is_labelled({column: value}) for values in columns for value in values}
    if len(found) == 2 and not task.unanswerable:
        raise _partly_labelled(task, split, where)
    return True in found


def _partly_labelled(task: TaskSpec, split: Split, where: str | None) -> UserError:
    for part in find_all(task, split, resolve_where(where)):
        for source, place, row in part.rows():
            example = convert_row(task, row, part)
            if example is not None and not get_head(task.head).is_labelled(example):
                what = "has no label, while other examples of the set have one"
                return bad(source, place, what)
    return UserError(f"{task.name}: some examples of the set have labels, others none")


def data_sets(
    target: TargetSpec, language: str, split: Split, where: str | None
) -> Iterator[tuple[TaskSpec, Split]]:
    """Every data set that a language's predictions depend on: the examples, then what they need.

    Of retrieval these are the queries, the candidates, and what else decides scores. A mining task
    needs its dev data for the threshold too; its test pairs may be secret. Refuses where there are
    no candidates.
    """
    yield target.at(language), split
    if target.retrieval is None:
        return
    for task in candidate_sets(target, language, split, where)[0]:
        yield task, split
    if target.retrieval.gold:
        if split == "dev" or has_gold(target, language, split, where):
            yield target.gold(language), split
        if split != "dev":
            yield from data_sets(target, language, "dev", where)


def has_gold(target: TargetSpec, language: str, split: Split, where: str | None) -> bool:
    """Whether the pairs of a mining task are listed."""
    return lacks(target.gold(language), split, where) is None


def candidate_sets(
    target: TargetSpec, language: str, split: Split, where: str | None
) -> tuple[list[TaskSpec], list[str]]:
    """What the queries of a language are searched in, and the languages that lack in a pool.

    Of a pool of all languages, those whose candidates the data lacks are left out: the queries of
    the others can still be answered, with fewer candidates to tell apart. Refuses a pool of which
    the data has no language's candidates.
    """
    assert target.retrieval
    if not target.retrieval.pooled:
        return [target.candidates(language)], []
    pooled = dict.fromkeys((*target.languages, language))
    tasks = {each: target.candidates(each) for each in pooled}
    lacking = {each: error for each, task in tasks.items() if (error := lacks(task, split, where))}
    found = [task for each, task in tasks.items() if each not in lacking]
    if not found:
        raise next(iter(lacking.values()))
    return found, list(lacking)


def lacks(task: TaskSpec, split: Split, where: str | None) -> UserError | None:
    """Why the data has no such set; None if it has."""
    try:
        find_all(task, split, resolve_where(where))
    except UserError as error:
        return error
    return None


class Side(NamedTuple):
    """One of the data sets that a language's results depend on."""

    task: TaskSpec
    split: Split
    data: ExampleSet


def check_agreement(
    target: TargetSpec, language: str, where: str | None, sides: Sequence[Side]
) -> None:
    """Refuses queries, candidates and gold that cannot be of one release.

    Refused are another number of translations than of sentences, a listed pair with an id that no
    sentence has (with its line), and queries none of which has a candidate.
    """
    assert target.retrieval
    queries, candidates = target.at(language).name, target.candidates(language).name
    for split in dict.fromkeys(side.split for side in sides):
        own = {side.task.name: side for side in sides if side.split == split}
        if target.retrieval.search == "ranking":
            _check_keys(language, own[queries], [s for s in sides if s is not own[queries]])
        elif target.retrieval.search == "nearest":
            check_lengths(target.name, language, own[queries].data, own[candidates].data)
        elif (gold := own.get(target.gold(language).name)) is not None:
            _check_pairs(gold, own[queries].data, own[candidates].data, where)


def check_lengths(name: str, language: str, queries: ExampleSet, candidates: ExampleSet) -> None:
    """Refuses translations by line that are not as many as the sentences."""
    counts = len(queries.examples), len(candidates.examples)
    if counts[0] != counts[1]:
        raise UserError(
            f"{name}: {counts[0]:,} sentences in {_files(queries)}, but {counts[1]:,} translations "
            f"in {_files(candidates)} ({language}): these files do not belong together"
        )


def _files(data: ExampleSet) -> str:
    names = [name for part in data.parts for name in part.get("files", [part.get("hub", "")])]
    return ", ".join(str(name) for name in names)


def _column(data: ExampleSet, name: str) -> pa.ChunkedArray:
    return data.examples.select_columns([name]).with_format("arrow")[:].column(name)


def _check_pairs(
    gold: Side, queries: ExampleSet, candidates: ExampleSet, where: str | None
) -> None:
    """Every listed pair is of ids that the two corpora have."""
    sources, targets = _column(queries, "id"), _column(candidates, "id")
    listed = _column(gold.data, "id"), pc.list_flatten(_column(gold.data, "gold"))
    if all(
        pc.all(pc.is_in(ids, value_set=pc.unique(known)), min_count=0).as_py()
        for ids, known in zip(listed, (sources, targets), strict=True)
    ):
        return
    known_sources, known_targets = set(sources.to_pylist()), set(targets.to_pylist())
    for part in find_all(gold.task, gold.split, resolve_where(where)):
        for place, line, row in part.rows():
            pair = convert_row(gold.task, row, part)
            assert pair is not None
            ids = [(pair["id"], known_sources), (pair["gold"][0], known_targets)]
            for name, known in ids:
                if name not in known:
                    other = known_targets if known is known_sources else known_sources
                    swapped = "; are the columns swapped?" if name in other else ""
                    what = f"{shown(name)} is the id of no sentence of {gold.task.name}"
                    raise bad(place, line, what.removesuffix(".gold") + swapped)


def _check_keys(language: str, queries: Side, candidates: Sequence[Side]) -> None:
    """Queries whose gold is told have a candidate that answers them; nearly all, at least."""
    asked = pc.unique(pc.list_flatten(_column(queries.data, "gold")))
    if not len(asked):
        return  # published without
    keys = [pc.list_flatten(_column(side.data, "gold")) for side in candidates]
    held = pa.chunked_array([chunk for each in keys for chunk in each.chunks], pa.string())
    lost = pc.filter(asked, pc.invert(pc.is_in(asked, value_set=pc.unique(held)))).to_pylist()
    if len(lost) == len(asked):
        raise UserError(
            f"{queries.task.name}: no candidate has what any of its queries asks for, such as "
            f"{shown(lost[0])}: queries ({_files(queries.data)}) and candidates "
            f"({_files(candidates[0].data)}) do not belong together"
        )
    if lost:
        logger.warning(
            "%s in %s: no candidate for %d of %d keys, such as %s; these queries count as not "
            "found",
            queries.task.name,
            language,
            len(lost),
            len(asked),
            shown(lost[0]),
        )
