"""From tables of items to the arrays that the statistics take."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from adapter_stilts.errors import UserError
from adapter_stilts.study.statistics.sample import Floats, Ints, Sample


class Seeds(NamedTuple):
    """The seeds of a composition: of its intermediate modules, and of the target's."""

    intermediate: int
    target: int


Tables = dict[str, dict[Seeds, pa.Table]]
"""By language and seeds the items, as `evaluation.items` keeps them."""


def make_sample(arms: Mapping[str, Tables], *, parallel: bool) -> Sample:
    """The languages that all arms have, with the same items in all.

    Args:
        arms: every one with all pairs of its seeds.
        parallel: items of one id are translations of each other.

    Raises:
        UserError: no language is common to all, arms were evaluated on other items, or an arm
            lacks a pair of its seeds.
    """
    first, *others = arms.values()
    languages = [name for name in first if all(name in other for other in others)]
    if not languages:
        raise UserError("no language has scores of single items in all that is compared")
    for language in languages:
        each = [table for tables in arms.values() for table in tables[language].values()]
        if any(not table.column("id").equals(each[0].column("id")) for table in each[1:]):
            raise UserError(f"'{language}' was not evaluated on the same items in all")
    rows = {
        name: next(iter(first[name].values())).select(["id", "cluster"]).to_pylist()
        for name in languages
    }
    items = {name: [(row["id"], row["cluster"]) for row in listed] for name, listed in rows.items()}
    made = {
        arm: {name: _counts(arm, tables[name]) for name in languages}
        for arm, tables in arms.items()
    }
    try:
        return Sample(_clusters(items, parallel=parallel), made, parallel)
    except ValueError as error:
        raise UserError(f"these items allow no interval: {error}") from error


def _counts(arm: str, tables: Mapping[Seeds, pa.Table]) -> Floats:
    """One language's counts, (S1, S2, items, 2)."""
    stages = [sorted({seeds[k] for seeds in tables}) for k in range(2)]
    grid = [[Seeds(a, b) for b in stages[1]] for a in stages[0]]
    for seeds in (seeds for line in grid for seeds in line):
        if seeds not in tables:
            raise UserError(f"'{arm}' lacks the seeds {seeds.intermediate} and {seeds.target}")
    return np.array([[_pairs(tables[seeds]) for seeds in line] for line in grid], dtype=np.float64)


def _pairs(table: pa.Table) -> Floats:
    columns = [table.column(name).to_numpy() for name in ("numerator", "denominator")]
    return np.stack(columns, axis=-1)


Items = Mapping[str, Sequence[tuple[str, str]]]


def _clusters(items: Items, *, parallel: bool) -> dict[str, Ints]:
    """The number of every item's cluster, by language.

    In parallel test sets a cluster is what hangs together: the questions of an article in one
    language, and their translations, wherever an article is called otherwise.
    """
    if not parallel:
        return {name: _numbers(cluster for _, cluster in each) for name, each in items.items()}
    from scipy.sparse import coo_array  # slow to load: only parallel sets need it
    from scipy.sparse.csgraph import connected_components

    pairs = [
        (item, (language, cluster)) for language, each in items.items() for item, cluster in each
    ]
    # Items come before clusters, so that what hangs together is numbered by its first item.
    ends = [_numbers(each) for each in zip(*pairs, strict=True)]
    size = len(pairs)
    links = coo_array((np.ones(size), (ends[0], size + ends[1])), shape=(2 * size, 2 * size))
    numbers = connected_components(links, directed=False)[1].astype(np.int64)[ends[0]]
    sizes = np.cumsum([len(each) for each in items.values()])[:-1]
    return dict(zip(items, np.split(numbers, sizes), strict=True))


def _numbers(names: Iterable[Hashable]) -> Ints:
    """The number of every name, in the order in which they first occur."""
    order: dict[Hashable, int] = {}
    return np.array([order.setdefault(name, len(order)) for name in names], dtype=np.int64)
