"""A comparison of two compositions, as rows of a table and as a picture."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from adapter_stilts.errors import UserError
from adapter_stilts.paths import check_writable, write_whole
from adapter_stilts.report.forest import Line, forest

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
        yield (f"{name}, {_count(target)}", *_means(target), *_cells(target.estimate), "")
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


def comparison_picture(found: Comparison) -> str:
    """A forest plot: languages, and their means."""
    lines = []
    for name, target in found.targets.items():
        lines += [_line(f"{name} {lang}", each) for lang, each in target.languages.items()]
        lines.append(_line(f"{name}, {_count(target)}", target.estimate, bold=True))
    if len(found.targets) > 1:
        lines.append(_line(f"{len(found.targets)} targets", found.overall, bold=True))
    percent = 100 * found.overall.level
    return forest(
        lines,
        title=f"{found.first} - {found.second}",
        left=f"{found.second} better",
        right=f"{found.first} better",
        legend=f"Difference in points with {percent:.0f} % intervals, {found.split}; "
        "filled: zero is outside; diamond: mean of languages.",
    )


def check_picture(path: Path) -> None:
    """Refuses a file that cannot be written, or that is to be no SVG.

    Raises:
        UserError: says which.
    """
    if path.suffix.lower() != ".svg":
        raise UserError(f"--out {path}: the picture is an SVG: name it {path.stem}.svg")
    if path.is_dir():
        raise UserError(f"--out {path} is a folder: choose another name")
    check_writable(path.parent)


def write_picture(found: Comparison, path: Path) -> None:
    """Writes the picture, whole or not at all."""
    write_whole(path, comparison_picture(found))


def _count(target: TargetComparison) -> str:
    count = len(target.languages)
    return f"{count} language{'s' if count > 1 else ''}"


def _means(target: TargetComparison) -> tuple[str, str]:
    count = len(target.scores)
    first, second = (sum(each[k] for each in target.scores.values()) / count for k in range(2))
    return f"{first:.1f}", f"{second:.1f}"


def _cells(each: Estimate) -> tuple[str, str]:
    return f"{each.value:+.1f}", f"{each.low:+.1f} to {each.high:+.1f}"


def _line(name: str, each: Estimate, *, bold: bool = False) -> Line:
    return Line(name, each.value, each.low, each.high, bold)
