"""The tables of a study's report."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import groupby, pairwise
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from langcodes import Language
from langcodes.data_dicts import LIKELY_SUBTAGS

from adapter_stilts.display import p_text
from adapter_stilts.errors import counted
from adapter_stilts.study.draws import Estimate
from adapter_stilts.study.findings import Bucket, Finding, Regrets, item_buckets
from adapter_stilts.study.graph import RunResult
from adapter_stilts.study.items import Attention
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

    def records(self) -> list[dict[str, Any]]:
        """The rows by the names of their columns."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]

    def is_text(self, place: int) -> bool:
        """Whether the column of that place has texts, so that it is set from the left."""
        return any(isinstance(row[place], str) for row in self.rows)


def show_cell(cell: Cell) -> str:
    """A cell as a text: one decimal, and a dash for what is missing."""
    if cell is None:
        return "–"
    return cell if isinstance(cell, str) else f"{cell:.1f}"


def mark_arm(data: StudyData, arm: str) -> str:
    """An arm's name, with the mark of unequal budgets; of several, if one of them has it."""
    return f"{arm}{UNEQUAL}" if data.unequal.intersection(data.arms_named(arm)) else arm


def contrast_name(data: StudyData, found: Finding) -> str:
    """That of a contrast, with the mark if one of its arms has it."""
    spec = found.spec
    arms = (*data.arms_named(spec.first), *data.arms_named(spec.second))
    return f"{spec.name}{UNEQUAL}" if data.unequal.intersection(arms) else spec.name


def with_marks(data: StudyData, text: str = "") -> str:
    """A note that also names the arms of unequal budgets."""
    if not data.unequal:
        return text
    arms = ", ".join(sorted(data.unequal))
    mark = f"{UNEQUAL} steps or rows are not those of the other arms: {arms}."
    return f"{text} {mark}".strip()


def matrix(data: StudyData) -> Table:
    """Every arm on every target."""
    rows = [
        (mark_arm(data, arm), *(data.score(arm, target) for target in data.targets))
        for arm in data.arms_in_order
    ]
    note = "Mean over seeds and languages of each task's first metric, in percent."
    return Table(
        "matrix", "Every arm on every target", ("arm", *data.targets), rows, with_marks(data, note)
    )


def _span(each: Estimate) -> tuple[Cell, ...]:
    return each.value, each.low, each.high


def contrasts(data: StudyData, findings: Sequence[Finding]) -> Table:
    """Every contrast as a whole, with languages fixed and drawn, and without each target."""
    rows: list[tuple[Cell, ...]] = []
    for found in findings:
        name = contrast_name(data, found) + (" (primary)" if found.spec.primary else "")
        adjusted, same = map(p_text, found.adjusted)
        whole, drawn = found.fixed.overall, found.drawn.overall
        rows.append((name, "languages fixed", *_span(whole), p_text(whole.p), adjusted, same))
        if any(len(languages) > 1 for languages in found.fixed.languages.values()):
            rows.append((name, "languages drawn", *_span(drawn), p_text(drawn.p), None, None))
        for target, each in found.fixed.without.items():
            rows.append((name, f"without {target}", *_span(each), p_text(each.p), None, None))
    columns = (
        "contrast", "over", "difference", "low", "high", "p", "p (Holm)", "p of a point or more",
    )  # fmt: skip
    note = (
        "First less second, in points. A difference may be said where p (Holm) is below 0.05, no "
        "difference only where the last column is (two one-sided tests: the interval of 90 %, "
        "narrower than that of low and high, then lies within a point of 0). Both are corrected "
        "for the number of primary contrasts; secondary ones are not corrected."
    )
    return Table("contrasts", "The contrasts", columns, rows, with_marks(data, note))


def by_target(data: StudyData, findings: Sequence[Finding]) -> Table:
    """Every contrast on every target."""
    rows: list[tuple[Cell, ...]] = []
    for found in findings:
        for target, each in found.fixed.targets.items():
            above, below, of = found.count(target)
            p = p_text(found.fixed.adjusted[target])
            counts = f"{above} of {of}", f"{below} of {of}"
            rows.append((contrast_name(data, found), target, *_span(each), p, *counts))
        rows += [
            (contrast_name(data, found), t, None, None, None, why, None, None)
            for t, why in found.without.items()
        ]
    columns = (
        "contrast", "target", "difference", "low", "high", "p (Holm)", "better in at least",
        "worse in at least",
    )  # fmt: skip
    note = (
        "p is corrected for the number of targets. Languages counted by partial conjunction "
        "(Benjamini and Heller 2008)."
    )
    return Table("targets", "By target", columns, rows, with_marks(data, note))


def by_language(data: StudyData, findings: Sequence[Finding]) -> Table:
    """Every contrast in every language."""
    rows: list[tuple[Cell, ...]] = []
    for found in findings:
        for target, languages in found.fixed.languages.items():
            for name, each in languages.items():
                of = (contrast_name(data, found), target, name, *traits(name))
                rows.append((*of, *_span(each)))
    columns = (
        "contrast", "target", "language", "script", "family", "CC-100 GiB", "difference", "low",
        "high",
    )  # fmt: skip
    return Table("languages", "By language", columns, rows, with_marks(data, SOURCE))


def cost(data: StudyData) -> Table:
    """What every arm costs and reaches, over the same targets and on one kind of machine.

    Those targets are left out that arms of most targets lack; an arm that lacks one of the others
    has no score, and one that was not run there on the machine of most runs no seconds.
    """
    counts = {arm: sum(bool(data.on(arm, t)) for t in data.targets) for arm in data.arms}
    wide = [arm for arm, count in counts.items() if 2 * count > len(data.targets)]
    common = [t for t in data.targets if all(data.on(arm, t) for arm in wide)]
    (where, _), *others = Counter(map(_machine, data.evaluated)).most_common()
    rows: list[tuple[Cell, ...]] = []
    for arm in data.arms_in_order:
        every = [list(data.on(arm, t).values()) for t in common]
        there = [[run for run in each if _machine(run) == where] for each in every]
        scores = [data.score(arm, t) for t in common]
        known = [score for score in scores if score is not None]
        rows.append(
            (
                mark_arm(data, arm),
                fmean(known) if known and len(known) == len(common) else None,
                _mean_of(every, lambda run: run.parameters / 1e6),
                _mean_of(there, _training),
                _mean_of(there, lambda run: run.peak_memory_bytes / 2**20),
                _mean_of(every, lambda run: run.disk_bytes / 2**20),
                float(len(data.arms[arm])),
            )
        )
    columns = (
        "arm", "score", "parameters (M)", "seconds", "peak memory (MiB)", "disk (MiB)", "runs",
    )  # fmt: skip
    note = f"Means over {', '.join(common) or 'no common target'}; seconds of training, dev "
    note += f"included, and memory on {where}" if where else "included"
    note += f", without {counted(sum(n for _, n in others), 'run')} elsewhere." if others else "."
    return Table("cost", "Cost and quality", columns, rows, with_marks(data, note))


def _machine(run: RunResult) -> str:
    return f"{run.machine} {run.device}".strip()


def _mean_of(targets: Sequence[list[RunResult]], of: Callable[[RunResult], float]) -> float | None:
    """The mean over targets of the mean over the runs; None where there is a target without any."""
    return fmean(fmean(map(of, runs)) for runs in targets) if targets and all(targets) else None


def _training(run: RunResult) -> float:
    """Seconds of its training; of older records, and of what is not trained, of all of it."""
    return run.seconds if run.train_seconds is None else run.train_seconds


def rules(data: StudyData, found: Regrets) -> Table:
    """What rules of choice lose against the best arm in hindsight."""
    rows: list[tuple[Cell, ...]] = [
        (_rule_name(data, rule), *_span(each))
        for rule, each in sorted(found.rules.items(), key=lambda pair: pair[1].value)
    ]
    note = (
        f"Over {', '.join(found.targets)}, against the best arm of each on its test scores; only "
        "arms that all of these have are rules."
    )
    return Table(
        "regret", "What simple rules lose", ("rule", "points lost", "low", "high"), rows,
        with_marks(data, note),
    )  # fmt: skip


def _rule_name(data: StudyData, rule: str) -> str:
    arm = rule.removeprefix("always ")
    return rule.replace(arm, mark_arm(data, arm)) if arm in data.arms else rule


def missing(data: StudyData) -> Table:
    """What is not there, or damaged."""
    rows: list[tuple[Cell, ...]] = [(arm, t, "not run yet") for arm, t in data.absent]
    rows += [(each.place, "", f"damaged: {each.why}") for each in data.damaged]
    return Table("missing", "What is missing", ("arm or record", "target", "why"), rows)


ATTENTION_NOTE = (
    "Mean attention weight over tokens; a source's weights over layers are averaged in thirds, and "
    "its least and greatest language are named. Entropy: 0 one source alone, 1 all alike."
)


def _fusions(data: StudyData) -> Iterator[tuple[str, str, Attention]]:
    for arm in data.arms:
        for target in data.targets:
            if (found := data.attention(arm, target)) is not None and found.layers:
                yield arm, target, found


def attention_table(data: StudyData) -> Table:
    """A row for every source of every fusion, the one that is listened to most first."""
    rows: list[tuple[Cell, ...]] = []
    for arm, target, found in _fusions(data):
        layers = sorted(found.layers)
        cuts = [len(layers) * k // 3 for k in range(4)]
        mean = {s: _mean(found, s, layers) for s in found.sources}
        entropy = fmean(found.entropy.values()) if found.entropy else None
        for source in sorted(found.sources, key=lambda name: -(mean[name] or 0.0)):
            parts = [_mean(found, source, layers[a:b]) for a, b in pairwise(cuts)]
            by = {name: w[source] for name, w in found.languages.items() if source in w}
            span = (_extreme(by, min), _extreme(by, max))
            cells = (_two(mean[source]), *map(_two, parts), *span, _two(entropy))
            rows.append((mark_arm(data, arm), target, source, *cells))
    columns = (
        "arm", "target", "source", "weight", "lower layers", "middle layers", "upper layers",
        "least in", "most in", "entropy",
    )  # fmt: skip
    return Table(
        "attention", "What the fusions listen to", columns, rows, with_marks(data, ATTENTION_NOTE)
    )


def attention_rows(data: StudyData) -> list[dict[str, Any]]:
    """Weights by arm, target, layer and source, for the heat map."""
    return [
        {"arm": mark_arm(data, arm), "target": target, "layer": layer, "source": source,
         "weight": weight}
        for arm, target, found in _fusions(data)
        for layer, weights in found.layers.items()
        for source, weight in weights.items()
    ]  # fmt: skip


def _mean(found: Attention, source: str, layers: list[int]) -> float | None:
    there = [found.layers[k][source] for k in layers if source in found.layers[k]]
    return fmean(there) if there else None


def _two(value: float | None) -> str | None:
    return None if value is None else f"{value:.2f}"


def _extreme(by: dict[str, float], of: Any) -> str | None:
    if not by:
        return None
    name = of(by, key=by.__getitem__)
    return f"{name} {by[name]:.2f}"


BUCKET_COLUMNS = ("contrast", "by", "bucket", "languages", "items", "difference", "low", "high")
BUCKET_NOTE = (
    "Items drawn anew in each bucket. Lengths: thirds of the items of each target and language, in "
    "characters, of sentences in words; the shortest right answer counts."
)


def bucket_table(data: StudyData, findings: Sequence[Finding]) -> Table:
    """Every contrast by script, family, size of the pre-training data, and length."""
    rows: list[tuple[Cell, ...]] = []
    for found in findings:
        buckets = (*_languages(found), *item_buckets(data, found))
        for kind, name, languages, items, each in buckets:
            of = (contrast_name(data, found), kind, name, ", ".join(languages), str(items))
            rows.append((*of, *_span(each)))
    return Table(
        "buckets",
        "By kind of language and of item",
        BUCKET_COLUMNS,
        rows,
        with_marks(data, f"{BUCKET_NOTE} {SOURCE}"),
    )


def _languages(found: Finding) -> Iterator[Bucket]:
    sizes: dict[str, int] = {}
    for target in found.draws.targets:
        for name, clusters in target.test.clusters.items():
            sizes[name] = sizes.get(name, 0) + len(clusters)
    for kind, trait in (("script", "script"), ("family", "family"), ("pre-training data", "size")):
        keyed = sorted((getattr(traits(name), trait), name) for name in sizes)
        for bucket, group in groupby(keyed, key=lambda pair: pair[0]):
            inside = tuple(name for _, name in group)
            count = sum(sizes[name] for name in inside)
            yield Bucket(kind, bucket, inside, count, found.over(inside))


SOURCE = (
    "Sizes: CC-100, on which XLM-R was pretrained (Conneau et al. 2020, table 6); smaller models "
    "distilled from it inherit them. Families: Glottolog. Scripts: the likely one of CLDR."
)
UNKNOWN = "not known"
SCRIPTS = {
    "Arab": "Arabic", "Armn": "Armenian", "Beng": "Bengali", "Cyrl": "Cyrillic",
    "Deva": "Devanagari", "Ethi": "Ethiopic", "Geor": "Georgian", "Grek": "Greek",
    "Gujr": "Gujarati", "Guru": "Gurmukhi", "Hans": "Han", "Hant": "Han", "Hebr": "Hebrew",
    "Jpan": "Kanji and kana", "Khmr": "Khmer", "Knda": "Kannada", "Kore": "Hangul",
    "Laoo": "Lao", "Latn": "Latin", "Mlym": "Malayalam", "Mymr": "Burmese", "Orya": "Odia",
    "Sinh": "Sinhala", "Taml": "Tamil", "Telu": "Telugu", "Thai": "Thai",
}  # fmt: skip
"""What the scripts of ISO 15924 are called; the two kinds of Chinese characters are one."""


class Traits(NamedTuple):
    """What a language is called by; `gib` is None where it is not known."""

    script: str
    family: str
    gib: float | None

    @property
    def size(self) -> str:
        """A class of sizes."""
        if self.gib is None:
            return UNKNOWN
        bounds = {50: "50 GiB or more", 10: "10 to 50 GiB", 1: "1 to 10 GiB"}
        return next((said for least, said in bounds.items() if self.gib >= least), "below 1 GiB")


@cache
def _table() -> dict[str, tuple[str, float]]:
    text = Path(__file__).with_name("languages.tsv").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return {
        row["code"]: (row["family"], float(row["gib"]))
        for row in csv.DictReader(lines, delimiter="\t")
    }


def traits(language: str) -> Traits:
    """Those of a language; of a pair such as en-de, of the first; of others, what is known.

    >>> traits("sw")
    Traits(script='Latin', family='Atlantic-Congo', gib=1.6)
    """
    code = language.partition("-")[0]
    family, gib = _table().get(code, (UNKNOWN, None))
    return Traits(_script(language), family, gib)


def _script(tag: str) -> str:
    """The script that a language is written in: as its tag says it, else the likely one."""
    try:
        found = Language.get(tag)
    except ValueError:
        return UNKNOWN
    # Of what it does not know, `maximize` makes English.
    known = found.script or found.language in LIKELY_SUBTAGS
    code = (found.maximize().script or "") if known else ""
    return SCRIPTS.get(code, code) or UNKNOWN
