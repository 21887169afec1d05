"""A comparison of two compositions, as rows of a table and lines beside it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from adapter_stilts.study.compare import Comparison, TargetComparison
    from adapter_stilts.study.statistics.estimate import Estimate

COLUMNS = ("on", "A", "B", "A - B", "interval", "effect")


def comparison_rows(found: Comparison) -> Iterator[tuple[str, ...]]:
    """A row a language, one a target, and one for the mean of several targets."""
    for name, target in found.targets.items():
        for language, each in target.languages.items():
            scores = (f"{score:.1f}" for score in target.scores[language])
            mark = "helped" if language in target.helped else ""
            mark = "hurt" if language in target.hurt else mark
            yield (f"{name} {language}", *scores, *_cells(each), mark)
        yield (f"{name}, {target.count}", *_means(target), *_cells(target.estimate), "")
    if len(found.targets) > 1:
        yield (f"{len(found.targets)} targets", "", "", *_cells(found.overall), "")


def comparison_notes(found: Comparison) -> Iterator[str]:
    """What the table does not say by itself."""
    for name, target in found.targets.items():
        count = len(target.languages)
        yield (
            f"{name}, {target.metric}: helped in at least {target.helped_at_least} and hurt in at "
            f"least {target.hurt_at_least} of {count} language{'s' if count > 1 else ''}"
        )
        if max(target.seeds) == 1:
            yield f"{name}: one seed each, so the interval is that of these modules alone"
        elif min(target.seeds) == 1:
            yield f"{name}: one of them has a single seed, whose luck no interval shows"
        if target.missing:
            why = next(iter(target.missing.values()))
            yield f"{name}: not compared: {', '.join(target.missing)} ({why})"


def _means(target: TargetComparison) -> tuple[str, str]:
    count = len(target.scores)
    first, second = (sum(each[k] for each in target.scores.values()) / count for k in range(2))
    return f"{first:.1f}", f"{second:.1f}"


def _cells(each: Estimate) -> tuple[str, str]:
    return f"{each.value:+.1f}", f"{each.low:+.1f} to {each.high:+.1f}"
