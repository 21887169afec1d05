"""What a finished study shows: its contrasts, also by kind of item, and what choosing costs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from adapter_stilts.errors import UserError, counted
from adapter_stilts.heads import get_head
from adapter_stilts.study.compare import MARGIN, interval_text, within_text
from adapter_stilts.study.contrast import (
    Contrast,
    Rule,
    better_and_worse,
    contrast,
    equivalence_p,
    holm,
    over_languages,
    regret,
)
from adapter_stilts.study.draws import Arm, Best, Draws, Estimate
from adapter_stilts.study.folder import RESULTS, StudyFolder
from adapter_stilts.study.graph import Planned
from adapter_stilts.study.sample import Bools, Floats, Target
from adapter_stilts.study.spec import ContrastSpec
from adapter_stilts.study.spec_file import load_study
from adapter_stilts.study.study_data import Damaged, StudyData
from adapter_stilts.tasks.registry import target_tasks

ARMS: Mapping[str, str] = {
    "alone": "no intermediate task",
    "alone-longer": "no intermediate task but longer training",
    "singles": "intermediate {}",
    "as-is": "{} as it is",
    "fusion-full": "the full fusion of all",
    "fusion-lean": "the lean fusion of all",
    "multitask": "one module of all tasks",
    "merged": "the searched merge of all",
    "uniform": "the mean of all",
    "arrow": "all routed by Arrow",
}
"""By kind, what an arm is called in a sentence; in place of {} stands the task below it."""


def arm_in_words(arm: Arm) -> str:
    """An arm as a reader understands it who has not seen the study's file.

    >>> arm_in_words("singles:squad"), arm_in_words("alone from de [lora]")
    ('intermediate squad', 'no intermediate task (from de, lora)')
    """
    if isinstance(arm, Best):
        return str(arm)
    name, *rest = arm.split(" ", 1)
    kind, _, task = name.partition(":")
    variant = f" ({rest[0].replace(' [', ', ').strip('[]')})" if rest else ""
    return ARMS.get(kind, kind).format(task) + variant


@dataclass(frozen=True)
class Finding:
    """A contrast with its languages fixed, which is the headline, and with them drawn anew.

    `without` says why a target has no part in it. `family`: of a primary contrast, those of all
    these, of a difference and of equivalence, which are corrected for being several.
    """

    spec: ContrastSpec
    draws: Draws
    arms: tuple[Arm, Arm]
    fixed: Contrast
    drawn: Contrast
    without: Mapping[str, str]
    family: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    @property
    def equivalence(self) -> float:
        """The p of "they differ by a point or more", by itself."""
        return equivalence_p(self.fixed.overall, MARGIN)

    @property
    def adjusted(self) -> tuple[float, float]:
        """The p of no difference and of one of a point or more, Holm's among the primary ones."""
        name = self.spec.name
        family = {**self.family, name: (self.fixed.overall.p, self.equivalence)}
        difference, same = (holm({n: p[k] for n, p in family.items()})[name] for k in range(2))
        return difference, same

    @property
    def alpha(self) -> float:
        """One less the level of the intervals."""
        return 1 - self.fixed.overall.level

    def count(self, target: str) -> tuple[int, int, int]:
        """In how many languages of a target the first is better and worse at least, and of all."""
        each = self.fixed.languages[target].values()
        return *better_and_worse(each, self.alpha), len(each)

    def over(self, languages: Sequence[str]) -> Estimate:
        """The same over some languages alone."""
        return over_languages(self.draws, *self.arms, languages, level=self.fixed.overall.level)

    @property
    def of_one_seed(self) -> dict[str, list[str]]:
        """Of an arm, the targets on which it has one seed: no draw shows what another one brings.

        Among arms that English dev chooses, one of one seed varies as the others do.
        """
        found: dict[str, list[str]] = {}
        for name, arm in zip(self.names, self.arms, strict=True):
            for target in self.draws.targets:
                members = arm.of if isinstance(arm, Best) else (arm,)
                if all(target.test.seeds(each) == (1, 1) for each in members):
                    found.setdefault(name, []).append(target.name)
        return found

    @property
    def names(self) -> tuple[str, str]:
        """What the two arms are called: of two that English dev chooses, also among which."""
        first, second = map(arm_in_words, self.arms)
        if all(isinstance(arm, Best) for arm in self.arms):
            return f"{first} ({self.spec.first})", f"{second} ({self.spec.second})"
        return first, second

    @property
    def answer(self) -> str:
        """One sentence."""
        found, (first, second) = self.fixed.overall, self.names
        if found.high < 0:
            first, second, found = second, first, found.turned
        count = len({lang for each in self.fixed.languages.values() for lang in each})
        targets = counted(len(self.fixed.targets), "target")
        where = f"Over {targets} and {counted(count, 'language')}"
        p, p_same = self.adjusted
        span, points = interval_text(found), f"{MARGIN:.0f} point"
        within = within_text(found, p_same) if p_same <= self.alpha else ""
        if found.low > 0:
            by = f"{found.value:.1f} points ({span.replace('+', '')})"
            if p > self.alpha:
                said = f"whether {first} is better than {second} stays open: {by}, but p is {p:.3f}"
                said += f" when corrected for {len(self.family)} primary contrasts"
            else:
                said = f"{first} is better than {second} by {by}"
            more = f"; the difference is less than {points} ({within})" if within else ""
            return f"{where}, {said}{more}."
        if within:
            said = f"there is no difference of {points} or more between {first} and {second}"
            return f"{where} {said} ({found.value:+.1f} points, {within})."
        said = f"{first} and {second} cannot be told apart"
        return f"{where}, {said} ({found.value:+.1f} points, {span})."


def find(data: StudyData, spec: ContrastSpec, *, draws: int = 2000) -> Finding | str:
    """A contrast on all targets that have its arms; or why there is none."""
    sides = [data.arms_named(name) for name in (spec.first, spec.second)]
    for name, members in zip((spec.first, spec.second), sides, strict=True):
        if not members:
            return f"no run of '{name}' has been evaluated"
    sides = [_common(data, members) for members in sides]
    arms: list[Arm] = [each[0] if len(each) == 1 else Best(each) for each in sides]
    choosing = [name for each in sides if len(each) > 1 for name in each]
    every = tuple(dict.fromkeys(name for each in sides for name in each))
    targets: list[Target] = []
    without: dict[str, str] = {}
    for name in data.targets:
        try:
            targets.append(data.target(name, every, choosing))
        except UserError as error:
            without[name] = str(error)
    if not targets:
        return "; ".join(f"{name}: {why}" for name, why in without.items())
    fixed = Draws(targets, draws)
    try:
        found = contrast(fixed, arms[0], arms[1])
        drawn = contrast(Draws(targets, draws, random_languages=True), arms[0], arms[1])
    except ValueError as error:
        return str(error)
    return Finding(spec, fixed, (arms[0], arms[1]), found, drawn, without)


def as_family(findings: Sequence[Finding], specs: Sequence[ContrastSpec]) -> list[Finding]:
    """The same, with the p of primary contrasts corrected for how many of these are declared."""
    family = {each.name: (1.0, 1.0) for each in specs if each.primary}  # until it is answered
    family |= {
        each.spec.name: (each.fixed.overall.p, each.equivalence)
        for each in findings
        if each.spec.primary
    }
    return [replace(e, family=family) if e.spec.primary else e for e in findings]


def _common(data: StudyData, members: Sequence[str]) -> tuple[str, ...]:
    """All, where some target has all of them; else those that most of their targets have.

    A study that is not finished says nothing yet of a target on which one of them is missing.
    """
    if any(all(data.on(name, target) for name in members) for target in data.targets):
        return tuple(members)
    places = [t for t in data.targets if any(data.on(name, t) for name in members)]
    kept = [n for n in members if 2 * sum(bool(data.on(n, t)) for t in places) > len(places)]
    return tuple(kept or members)


@dataclass(frozen=True)
class Regrets:
    """By rule, points lost against the best arm of every one of these targets."""

    rules: Mapping[str, Estimate] = field(default_factory=dict)
    targets: tuple[str, ...] = ()


RECOMMENDED = "what `recommend` puts first"


def regrets(
    data: StudyData,
    singles: Sequence[str],
    *,
    recommended: Mapping[str, str] | None = None,
    draws: int = 500,
) -> Regrets:
    """What choosing by English dev among singles loses, and what always taking one arm does.

    Over all targets on which English dev can choose; a rule is an arm that all of them have. The
    best of a target is that of all its arms, but for those of unequal budgets and the control that
    trains for longer, which may therefore gain. `recommended` is by target the single that was
    recommended before any training: a rule where this is known of all targets.
    """
    singles = _common(data, singles)
    found = []
    for name in data.targets if singles else ():
        try:
            there = [arm for arm in data.arms if data.on(arm, name)]
            found.append(data.target(name, there, singles if len(singles) > 1 else ()))
        except UserError:
            continue
    everywhere = [arm for arm in data.arms if all(arm in each.test.arms for each in found)]
    rules: dict[str, Rule] = {f"always {arm}": arm for arm in everywhere}
    if len(singles) > 1:
        rules = {str(Best(singles)): Best(singles), **rules}
    first = {each.name: (recommended or {}).get(data.trained_on(each.name)) for each in found}
    known = {e.name: arm for e in found if (arm := first[e.name]) in e.test.arms and arm}
    if len(known) == len(found):
        rules[RECOMMENDED] = known
    fair = [arm for arm in data.arms if arm not in data.unequal and not data.is_control(arm)]
    if not found or len(rules) < 2 or not fair:
        return Regrets()
    return Regrets(regret(Draws(found, draws), rules, fair), tuple(each.name for each in found))


def read_recommended(path: Path, data: StudyData) -> dict[str, str]:
    """By target, the single that `adstilts recommend --json` puts first; refuses other files."""
    try:
        text, found = path.read_text(encoding="utf-8"), {}
        while text := text.lstrip():
            said, end = json.JSONDecoder().raw_decode(text)
            best = said["modules"][0]
            if (single := data.single(best["task"], best["method"])) is not None:
                found[said["target"]] = single
            text = text[end:]
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise UserError(
            f"{path}: not what `adstilts recommend TARGET --json` prints ({error})"
        ) from error
    return found


def read_study(path: Path, folder: Path | None = None) -> tuple[StudyData, list[ContrastSpec]]:
    """A study's records and contrasts. Neither its data nor its backbone need to be here.

    Args:
        path: the study's YAML. Arms of unequal budgets are accepted, and marked by their records.
        folder: where its records lie; else in `studies-out`, or the folder of its name beside it.

    Raises:
        UserError: as of `load_study`; or it declares no contrasts, or there are no records.
    """
    study = load_study(path, unequal=True)
    if not study.contrasts:
        raise UserError(
            f"{path}: no contrasts: add 'contrasts:' with a line "
            "'- {name: best single or fusion, first: singles, second: fusion-full, primary: true}'"
        )
    places = [folder] if folder else [Path("studies-out", study.name), path.with_suffix("")]
    place = next((each for each in places if (each / RESULTS).is_file()), places[-1])
    own = StudyFolder(place)
    if not own.results_file.exists() and not own.results_file.is_symlink():
        raise UserError(f"{own.results_file}: no records of this study: name its folder by --out")
    found = own.results()
    damaged = [Damaged(f"{RESULTS}:{line}", why) for line, why in found.damaged.items()]
    results, planned = [], own.planned()
    for name, each in found.runs.items():
        own_plan = planned.get(name) or Planned(each.stage, each.arm, each.target)
        if why := own_plan.differs(each):
            damaged.append(Damaged(f"{RESULTS}, run {name[:8]}", why))
        else:
            results.append(each)
    return StudyData(study.name, place, results, damaged, planned), study.contrasts


INPUT, SENTENCE, ANSWER = "input length", "sentence length", "answer length"
CHECK = "templated check"
Texts = npt.NDArray[np.str_]
THIRDS = ("shortest third", "middle third", "longest third")


class Bucket(NamedTuple):
    """A kind of languages, a third of the items, or a check: the difference over these alone."""

    kind: str
    name: str
    languages: tuple[str, ...]
    items: int
    difference: Estimate


def thirds(lengths: Floats) -> Floats:
    """The third of every length, (items,): 0, 1 or 2; items of one length are in the same.

    >>> thirds(np.array([5.0, 1.0, 9.0])).tolist()
    [1.0, 0.0, 2.0]
    """
    found = np.zeros(len(lengths))
    for bound in np.quantile(lengths, (1 / 3, 2 / 3), method="inverted_cdf"):
        found += lengths > bound
    return found


def _by_third(lengths: pa.ChunkedArray) -> Texts:
    found = thirds(lengths.to_numpy().astype(np.float64))
    return np.array(THIRDS)[found.astype(np.int64)]


def _by_check(ids: pa.ChunkedArray) -> Texts:
    return np.array([each.rpartition("-")[0] for each in ids.to_pylist()])


def _has_checks(target: str) -> bool:
    known = target_tasks().get(target)
    files = [layout for source in known.sources for layout in source.files] if known else []
    return any(layout.format == "checks" for layout in files)


def _has_tags(target: str) -> bool:
    known = target_tasks().get(target)
    return known is not None and get_head(known.head).has_tags


KINDS: Mapping[str, tuple[str, Callable[[str], bool], Callable[[pa.ChunkedArray], Texts]]] = {
    INPUT: ("length", lambda target: not _has_tags(target), _by_third),
    SENTENCE: ("length", _has_tags, _by_third),
    ANSWER: ("answer_length", lambda target: True, _by_third),
    CHECK: ("id", _has_checks, _by_check),
}
"""By kind the column of the items, whether a target has part in it, and every item's bucket."""


def item_buckets(data: StudyData, found: Finding) -> Iterator[Bucket]:
    """A contrast over thirds of the items by length, and over those of each templated check.

    An item is short among those of its own target and language, so that scripts and tasks are
    alike in all thirds. There is nothing where lengths were not kept, or no checks were tested.
    """
    for kind, (column, has_part, name_of) in KINDS.items():
        names = {
            target.name: {
                language: name_of(each)
                for language, each in data.item_column(target, column).items()
            }
            for target in found.draws.targets
            if has_part(target.name)
        }
        every = [each.tolist() for languages in names.values() for each in languages.values()]
        there = dict.fromkeys(chain.from_iterable(every))
        for name in sorted(there, key=lambda each: THIRDS.index(each) if each in THIRDS else 0):
            made = _over(found, {
                target: {language: each == name for language, each in languages.items()}
                for target, languages in names.items()
            })  # fmt: skip
            if made is not None:
                yield Bucket(kind, name, *made)


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
