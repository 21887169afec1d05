"""Which data sets the results of a retrieval task in one language depend on."""

from __future__ import annotations

from collections.abc import Iterator

from adapter_stilts.data.load import find_all, resolve_where
from adapter_stilts.errors import UserError
from adapter_stilts.tasks.spec import Split, TaskSpec
from adapter_stilts.tasks.target_spec import TargetSpec


def data_sets(
    target: TargetSpec, language: str, split: Split, where: str | None
) -> Iterator[tuple[TaskSpec, Split]]:
    """The queries of a language, its candidates, and what else decides scores.

    A mining task needs its dev data for the threshold too; its test pairs may be secret.

    Raises:
        UserError: there are no candidates.
    """
    yield target.at(language), split
    assert target.retrieval
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
