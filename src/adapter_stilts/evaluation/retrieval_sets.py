"""The data sets of a retrieval task, and whether they belong together."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from adapter_stilts.data.load import ExampleSet, convert_row, find_all, resolve_where
from adapter_stilts.errors import UserError, bad, shown
from adapter_stilts.tasks.spec import Split, TaskSpec
from adapter_stilts.tasks.target_spec import TargetSpec


def data_sets(
    target: TargetSpec, language: str, split: Split, where: str | None
) -> Iterator[tuple[TaskSpec, Split]]:
    """Every data set that a language's predictions depend on: the examples, then what they need.

    Of retrieval these are the queries, the candidates, and what else decides scores. A mining task
    needs its dev data for the threshold too; its test pairs may be secret.

    Raises:
        UserError: there are no candidates.
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

    Of a pool of all languages, those whose candidates the data lacks are left out: the queries
    of the others can still be answered, with fewer candidates to tell apart.

    Raises:
        UserError: the data has no candidates of any language of a pool.
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


logger = logging.getLogger(__name__)


class Side(NamedTuple):
    """One of the data sets that a language's results depend on."""

    task: TaskSpec
    split: Split
    data: ExampleSet


def check_agreement(
    target: TargetSpec, language: str, where: str | None, sides: Sequence[Side]
) -> None:
    """Refuses queries, candidates and gold that cannot be of one release.

    Raises:
        UserError: another number of translations than of sentences; a listed pair with an id that
            no sentence has (with its line); or no candidate for any of the queries.
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
