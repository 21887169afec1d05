"""The tables of a study's report, and how Markdown, LaTeX and CSV write them."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from adapter_stilts.report.languages import SOURCE, traits
from adapter_stilts.study.findings import Finding
from adapter_stilts.study.results import RunResult
from adapter_stilts.study.statistics.estimate import Estimate
from adapter_stilts.study.study_data import StudyData

Cell = str | float | None
UNEQUAL = "†"
"""Marks an arm whose budget is not that of the others."""


@dataclass(frozen=True)
class Table:
    """Columns and rows; numbers are numbers, and None is what is missing."""

    name: str
    title: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[Cell, ...]]
    note: str = ""


def shown(cell: Cell) -> str:
    """A cell as a text: one decimal, and a dash for what is missing."""
    if cell is None:
        return "–"
    return cell if isinstance(cell, str) else f"{cell:.1f}"


def shown_p(p: float) -> str:
    """A p value with three decimals."""
    return f"{p:.3f}" if p >= 0.0005 else "<0.001"


def marked(data: StudyData, arm: str) -> str:
    """An arm's name, with the mark of unequal budgets; of several, if one of them has it."""
    return f"{arm}{UNEQUAL}" if data.unequal.intersection(data.named(arm)) else arm


def contrast_name(data: StudyData, found: Finding) -> str:
    """That of a contrast, with the mark if one of its arms has it."""
    spec = found.spec
    arms = (*data.named(spec.first), *data.named(spec.second))
    return f"{spec.name}{UNEQUAL}" if data.unequal.intersection(arms) else spec.name


def with_marks(data: StudyData, text: str = "") -> str:
    """A note that also names the arms of unequal budgets."""
    if not data.unequal:
        return text
    mark = f"{UNEQUAL} steps or rows are not those of the other arms: {', '.join(data.unequal)}."
    return f"{text} {mark}".strip()


def matrix(data: StudyData) -> Table:
    """Every arm on every target."""
    rows = [
        (marked(data, arm), *(data.score(arm, target) for target in data.targets))
        for arm in data.arms
    ]
    note = "Mean over seeds and languages of each task's first metric, in percent."
    return Table(
        "matrix", "Every arm on every target", ("arm", *data.targets), rows, with_marks(data, note)
    )


def _estimate(each: Estimate) -> tuple[Cell, ...]:
    return each.value, each.low, each.high, shown_p(each.p)


def contrasts(data: StudyData, findings: Sequence[Finding]) -> Table:
    """Every contrast as a whole, with languages fixed and drawn, and without each target."""
    rows: list[tuple[Cell, ...]] = []
    for found in findings:
        name = contrast_name(data, found) + (" (primary)" if found.spec.primary else "")
        same = shown_p(found.equivalence)
        rows.append((name, "languages fixed", *_estimate(found.fixed.overall), same))
        rows.append((name, "languages drawn", *_estimate(found.drawn.overall), None))
        for target, each in found.fixed.without.items():
            rows.append((name, f"without {target}", *_estimate(each), None))
    columns = ("contrast", "over", "difference", "low", "high", "p", "p of a point or more")
    note = (
        "First less second, in points. No difference may be said only where the last column is "
        "below 0.05 (two one-sided tests)."
    )
    return Table("contrasts", "The contrasts", columns, rows, with_marks(data, note))


def by_target(data: StudyData, findings: Sequence[Finding]) -> Table:
    """Every contrast on every target."""
    rows: list[tuple[Cell, ...]] = []
    for found in findings:
        for target, each in found.fixed.targets.items():
            above, below, of = found.count(target)
            rows.append(
                (
                    contrast_name(data, found),
                    target,
                    each.value,
                    each.low,
                    each.high,
                    shown_p(found.fixed.adjusted[target]),
                    f"{above} of {of}",
                    f"{below} of {of}",
                )
            )
        rows += [
            (contrast_name(data, found), t, None, None, None, why, None, None)
            for t, why in found.without.items()
        ]
    columns = (
        "contrast", "target", "difference", "low", "high", "p (Holm)", "better in at least",
        "worse in at least",
    )  # fmt: skip
    note = "Languages counted by partial conjunction (Benjamini and Heller 2008)."
    return Table("targets", "By target", columns, rows, with_marks(data, note))


def by_language(data: StudyData, findings: Sequence[Finding]) -> Table:
    """Every contrast in every language."""
    rows: list[tuple[Cell, ...]] = []
    for found in findings:
        for target, languages in found.fixed.languages.items():
            for name, each in languages.items():
                own = traits(name)
                rows.append(
                    (
                        contrast_name(data, found),
                        target,
                        name,
                        *own,
                        each.value,
                        each.low,
                        each.high,
                    )
                )
    columns = (
        "contrast", "target", "language", "script", "family", "CC-100 GiB", "difference", "low",
        "high",
    )  # fmt: skip
    return Table("languages", "By language", columns, rows, with_marks(data, SOURCE))


def cost(data: StudyData) -> Table:
    """What every arm costs and reaches; quality over the targets that all arms have."""
    common = [t for t in data.targets if all(data.on(arm, t) for arm in data.arms)]
    rows: list[tuple[Cell, ...]] = []
    for arm, runs in data.arms.items():
        scores = [s for t in common if (s := data.score(arm, t)) is not None]
        rows.append(
            (
                marked(data, arm),
                fmean(scores) if scores else None,
                fmean(each.parameters for each in runs) / 1e6,
                fmean(_training(each) for each in runs),
                fmean(each.peak_memory_bytes for each in runs) / 2**20,
                fmean(each.disk_bytes for each in runs) / 2**20,
                float(len(runs)),
            )
        )
    columns = (
        "arm", "score", "parameters (M)", "seconds", "peak memory (MiB)", "disk (MiB)", "runs",
    )  # fmt: skip
    machines = sorted({f"{each.machine} {each.device}".strip() for each in data.results} - {""})
    note = "Mean a run; seconds of training, dev included. Score: mean over "
    note += f"{', '.join(common) or 'no common target'}."
    note += f" Measured on {'; '.join(machines)}." if machines else ""
    return Table("cost", "Cost and quality", columns, rows, with_marks(data, note))


def _training(run: RunResult) -> float:
    """Seconds of its training; of older records, and of what is not trained, of all of it."""
    return run.seconds if run.train_seconds is None else run.train_seconds


def rules(data: StudyData, found: dict[str, Estimate]) -> Table:
    """What rules of choice lose against the best arm in hindsight."""
    rows: list[tuple[Cell, ...]] = [
        (_rule_name(data, rule), each.value, each.low, each.high)
        for rule, each in sorted(found.items(), key=lambda pair: pair[1].value)
    ]
    return Table(
        "regret", "What simple rules lose", ("rule", "points lost", "low", "high"), rows,
        with_marks(data, "Against the best arm of every target, chosen on its test scores."),
    )  # fmt: skip


def _rule_name(data: StudyData, rule: str) -> str:
    arm = rule.removeprefix("always ")
    return rule.replace(arm, marked(data, arm)) if arm in data.arms else rule


def missing(data: StudyData) -> Table:
    """What is not there, or damaged."""
    rows: list[tuple[Cell, ...]] = [(arm, t, "not run yet") for arm, t in data.absent]
    rows += [(each.place, "", f"damaged: {each.why}") for each in data.damaged]
    return Table("missing", "What is missing", ("arm or record", "target", "why"), rows)


def markdown(table: Table) -> str:
    """As GitHub reads it."""
    lines = [f"### {table.title}", "", _row(table.columns), _row(["---"] * len(table.columns))]
    lines += [_row([shown(cell) for cell in row]) for row in table.rows]
    return "\n".join([*lines, "", *([table.note, ""] if table.note else [])])


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(each.replace("|", "\\|") for each in cells) + " |"


def latex(table: Table) -> str:
    """For booktabs, with everything escaped."""
    import pandas

    frame = pandas.DataFrame(
        [[shown(cell) for cell in row] for row in table.rows], columns=list(table.columns)
    )
    style = frame.style.hide(axis="index").format(escape="latex")
    style = style.format_index(escape="latex", axis="columns")
    kinds = "".join("l" if _is_text(table, k) else "r" for k in range(len(table.columns)))
    text: str = style.to_latex(
        hrules=True,
        column_format=kinds,
        environment="longtable",
        caption=_escaped(f"{table.title}. {table.note}".strip()),
    )
    return text.replace("–", "--").replace("±", "$\\pm$").replace(UNEQUAL, "\\dag{}")


def _escaped(text: str) -> str:
    """A text in which LaTeX sees no commands."""
    signs = {"\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}"}
    plain = {sign: f"\\{sign}" for sign in "&%$#_{}"}
    return "".join({**plain, **signs}.get(sign, sign) for sign in text)


def _is_text(table: Table, place: int) -> bool:
    return any(isinstance(row[place], str) for row in table.rows)


def as_csv(table: Table) -> str:
    """Numbers in full."""
    out = io.StringIO()
    writer: Any = csv.writer(out, lineterminator="\n")
    writer.writerow(table.columns)
    writer.writerows(["" if cell is None else cell for cell in row] for row in table.rows)
    return out.getvalue()
