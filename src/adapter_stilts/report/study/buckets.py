"""Contrasts over languages of a kind, and over items of a length."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from adapter_stilts.report.languages import SOURCE, traits
from adapter_stilts.report.study.tables import Cell, Table, contrast_name, with_marks
from adapter_stilts.study.findings import Finding
from adapter_stilts.study.length_buckets import check_buckets, length_buckets
from adapter_stilts.study.statistics.estimate import Estimate
from adapter_stilts.study.study_data import StudyData

COLUMNS = ("contrast", "by", "bucket", "languages", "items", "difference", "low", "high")
NOTE = (
    "Items drawn anew in each bucket. Lengths: thirds of the items of each target and language, in "
    "characters, of sentences in words; the shortest right answer counts."
)


def bucket_table(data: StudyData, findings: Sequence[Finding]) -> Table:
    """Every contrast by script, family, size of the pre-training data, and length."""
    rows: list[tuple[Cell, ...]] = []
    for found in findings:
        for kind, name, languages, items, each in (*_languages(found), *_lengths(data, found)):
            of = (contrast_name(data, found), kind, name, ", ".join(languages), str(items))
            rows.append((*of, each.value, each.low, each.high))
    return Table(
        "buckets",
        "By kind of language and of item",
        COLUMNS,
        rows,
        with_marks(data, f"{NOTE} {SOURCE}"),
    )


_Bucket = tuple[str, str, Sequence[str], int, Estimate]


def _languages(found: Finding) -> Iterator[_Bucket]:
    sizes: dict[str, int] = {}
    for target in found.draws.targets:
        for name, clusters in target.test.clusters.items():
            sizes[name] = sizes.get(name, 0) + len(clusters)
    for kind in ("script", "family", "pre-training data"):
        keyed = sorted((_of(kind, name), name) for name in sizes)
        for bucket, group in groupby(keyed, key=lambda pair: pair[0]):
            inside = [name for _, name in group]
            count = sum(sizes[name] for name in inside)
            yield kind, bucket, inside, count, found.over(inside)


def _of(kind: str, language: str) -> str:
    own = traits(language)
    return {"script": own.script, "family": own.family}.get(kind, own.size)


def _lengths(data: StudyData, found: Finding) -> Iterator[_Bucket]:
    for each in (*length_buckets(data, found), *check_buckets(data, found)):
        yield each.kind, each.third, each.languages, each.items, each.difference
