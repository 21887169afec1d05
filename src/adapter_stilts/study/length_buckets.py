"""Contrasts over short, middling and long items apart, and over each templated check."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import numpy as np

from adapter_stilts.heads import get_head
from adapter_stilts.study.findings import Finding
from adapter_stilts.study.statistics.contrast import over_languages
from adapter_stilts.study.statistics.draws import Draws
from adapter_stilts.study.statistics.estimate import Estimate
from adapter_stilts.study.statistics.sample import Bools, Floats, Target
from adapter_stilts.study.study_data import StudyData
from adapter_stilts.tasks.registry import target_tasks

INPUT, SENTENCE, ANSWER = "input length", "sentence length", "answer length"
CHECK = "templated check"
THIRDS = ("shortest third", "middle third", "longest third")
KINDS: Mapping[str, tuple[str, Callable[[str], bool]]] = {
    INPUT: ("length", lambda target: not _has_tags(target)),
    SENTENCE: ("length", lambda target: _has_tags(target)),
    ANSWER: ("answer_length", lambda target: True),
}
"""By kind the column of the items, and whether a target has part in it."""


class LengthBucket(NamedTuple):
    """A third of the items by language, or those of a check; the difference over them alone."""

    kind: str
    third: str
    languages: tuple[str, ...]
    items: int
    difference: Estimate


def thirds(lengths: Floats) -> Floats:
    """The third of every length: 0, 1 or 2; items of one length are in the same.

    >>> thirds(np.array([5.0, 1.0, 9.0])).tolist()
    [1.0, 0.0, 2.0]
    """
    found = np.zeros(len(lengths))
    for bound in np.quantile(lengths, (1 / 3, 2 / 3), method="inverted_cdf"):
        found += lengths > bound
    return found


def length_buckets(data: StudyData, found: Finding) -> Iterator[LengthBucket]:
    """A contrast over thirds of the items; nothing where lengths were not kept.

    An item is short among those of its own target and language, so that scripts and tasks are
    alike in all thirds.
    """
    for kind, (column, has_part) in KINDS.items():
        of: dict[str, dict[str, Floats]] = {}
        for target in found.draws.targets:
            if has_part(target.name):
                lengths = data.item_lengths(target.name, tuple(target.test.arms), column)
                of[target.name] = {
                    name: thirds(each)
                    for name, each in lengths.items()
                    if name in target.test.clusters
                }
        for number, third in enumerate(THIRDS):
            made = _over(found, {
                target: {name: each == number for name, each in by_language.items()}
                for target, by_language in of.items()
            })  # fmt: skip
            if made is not None:
                yield LengthBucket(kind, third, *made)


def check_buckets(data: StudyData, found: Finding) -> Iterator[LengthBucket]:
    """A contrast over the items of each templated check; nothing where these were not tested."""
    of: dict[str, dict[str, list[str]]] = {}
    for target in found.draws.targets:
        if _has_checks(target.name):
            ids = data.item_ids(target.name, tuple(target.test.arms))
            of[target.name] = {
                language: [each.rpartition("-")[0] for each in listed]
                for language, listed in ids.items()
                if language in target.test.clusters
            }
    checks = [name for languages in of.values() for each in languages.values() for name in each]
    for check in dict.fromkeys(checks):
        made = _over(found, {
            target: {name: np.array([c == check for c in each]) for name, each in languages.items()}
            for target, languages in of.items()
        })  # fmt: skip
        if made is not None:
            yield LengthBucket(CHECK, check, *made)


def _has_checks(target: str) -> bool:
    known = target_tasks().get(target)
    files = [layout for source in known.sources for layout in source.files] if known else []
    return any(layout.format == "checks" for layout in files)


def _over(
    found: Finding, kept: Mapping[str, Mapping[str, Bools]]
) -> tuple[tuple[str, ...], int, Estimate] | None:
    targets = []
    for target in found.draws.targets:
        test = target.test.only(kept.get(target.name, {}))
        if test is not None:
            targets.append(Target(target.name, test, target.dev))
    if not targets:
        return None
    names = sorted({name for target in targets for name in target.test.languages})
    items = sum(len(each) for target in targets for each in target.test.clusters.values())
    level = found.fixed.overall.level
    draws = Draws(targets, found.draws.count, found.draws.seed)
    return tuple(names), items, over_languages(draws, *found.arms, names, level=level)


def _has_tags(target: str) -> bool:
    known = target_tasks().get(target)
    return known is not None and get_head(known.head).has_tags
