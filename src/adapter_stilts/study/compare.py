"""`compare`: two compositions over the languages of some targets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

from adapter_stilts.compositions import Composition, as_text
from adapter_stilts.display import (
    Picture,
    Result,
    bound_text,
    forest,
    p_text,
    percent_text,
)
from adapter_stilts.errors import UserError, counted
from adapter_stilts.evaluation.data import TargetData, read_data, resolve_languages, resolve_split
from adapter_stilts.evaluation.options import ComparisonOptions
from adapter_stilts.evaluation.run import Evaluation, evaluate
from adapter_stilts.keywords import checks_keywords, text_of
from adapter_stilts.metrics import primary
from adapter_stilts.study.contrast import (
    Contrast,
    better_and_worse,
    contrast,
    equivalence_interval,
    equivalence_p,
    holm,
)
from adapter_stilts.study.draws import Draws, Estimate
from adapter_stilts.study.items import Seeds, Tables, make_sample
from adapter_stilts.study.sample import Target
from adapter_stilts.tasks.registry import get_target
from adapter_stilts.tasks.spec import TargetSpec, TaskSpec
from adapter_stilts.zoo.choice import ALL_SEEDS
from adapter_stilts.zoo.find import each_seed

OneTarget = str | Path | TargetSpec | TaskSpec
ARMS = ("first", "second")
MARGIN = 1.0
"""Points within which two compositions are called alike."""


def interval_text(found: Estimate) -> str:
    """The interval in words."""
    bounds = f"{bound_text(found.low, 0)} to {bound_text(found.high, 0)}"
    return f"{percent_text(found.level)} interval {bounds}"


def within_text(found: Estimate, p: float) -> str:
    """What shows that a difference is less than a point: the interval of both tests, and their p.

    That is not the one at the level of the estimate, which may reach beyond a point.
    """
    level, low, high = equivalence_interval(found)
    bounds = f"{bound_text(low, -MARGIN)} to {bound_text(high, MARGIN)}"
    return f"{percent_text(level)} interval {bounds}, p of a point or more {p_text(p)}"


@dataclass(frozen=True)
class TargetComparison:
    """The two on one target: scores by language, the difference, and what is missing."""

    metric: str
    scores: Mapping[str, tuple[float, float]]
    seeds: tuple[int, int]
    missing: Mapping[str, str]
    estimate: Estimate
    languages: Mapping[str, Estimate]
    alpha: float

    @property
    def helped(self) -> list[str]:
        """Languages in which the first is better, Holm's way over all of them."""
        return self._significant({name: each.p_above(0) for name, each in self.languages.items()})

    @property
    def hurt(self) -> list[str]:
        """Languages in which it is worse, likewise."""
        return self._significant({name: each.p_below(0) for name, each in self.languages.items()})

    @property
    def at_least(self) -> tuple[int, int]:
        """In how many languages the first is better, and worse; which ones they are is not said."""
        return better_and_worse(self.languages.values(), self.alpha)

    @property
    def count(self) -> str:
        """How many languages there are, in words."""
        return counted(len(self.languages), "language")

    def _significant(self, p: Mapping[str, float]) -> list[str]:
        # Both sides are looked at.
        return [name for name, each in holm(p).items() if each <= self.alpha / 2]

    def as_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "metric": self.metric,
            "seeds": list(self.seeds),
            "languages": {
                name: {"scores": list(self.scores[name]), **each.as_dict()}
                for name, each in self.languages.items()
            },
            "difference": self.estimate.as_dict(),
            "helped": self.helped,
            "hurt": self.hurt,
            **dict(zip(("helped_at_least", "hurt_at_least"), self.at_least, strict=True)),
            "missing": dict(self.missing),
        }


@dataclass(frozen=True, repr=False)
class Comparison(Result):
    """First less second, in points (scores are percentages), over all targets and on each.

    `first` and `second` are the compositions, `split` is the data they were tried on, and `draws`
    how often items and seeds were drawn anew. `targets` has by the name of every task what was
    found there. `overall` is the mean difference with the `low` and `high` end of its interval,
    `answer` the whole in one sentence.
    """

    first: str
    second: str
    split: str
    draws: int
    targets: Mapping[str, TargetComparison]
    contrast: Contrast

    @property
    def overall(self) -> Estimate:
        """The mean over targets of the mean over languages."""
        return self.contrast.overall

    @property
    def alike(self) -> bool:
        """Whether the difference is shown to be less than a point, either way."""
        return equivalence_p(self.overall, MARGIN) <= 1 - self.overall.level

    @property
    def partial(self) -> bool:
        """Whether a language that was asked for could not be compared."""
        return any(each.missing for each in self.targets.values())

    @property
    def answer(self) -> str:
        """One sentence."""
        better, worse, found = self.first, self.second, self.overall
        if found.high < 0:
            better, worse, found = worse, better, found.turned
        span, points = interval_text(found), f"{MARGIN:.0f} point"
        within = within_text(found, equivalence_p(found, MARGIN)) if self.alike else ""
        if found.low > 0:
            said = f"{better} is better than {worse} by {found.value:.1f} points ({span})"
            return f"{said}, though by less than {points} ({within})" if within else said
        said = f"{better} and {worse} are not told apart: these data allow either to be better"
        if within:
            said = f"{better} and {worse} are alike, within {points}"
        return f"{said} ({found.value:+.1f} points, {within or span})"

    def summary(self) -> str:
        """The answer in one sentence."""
        return self.answer

    def records(self) -> list[dict[str, Any]]:
        """A row a target and language: both scores, and the difference with its interval."""
        return [
            {
                "target": name,
                "language": language,
                "first": target.scores[language][0],
                "second": target.scores[language][1],
                "difference": each.value,
                "low": each.low,
                "high": each.high,
            }
            for name, target in self.targets.items()
            for language, each in target.languages.items()
        ]

    def plot(self) -> Picture:
        """A forest plot: the differences by language, and their means."""
        rows = []
        for name, target in self.targets.items():
            rows += [_row(f"{name} {lang}", each) for lang, each in target.languages.items()]
            rows.append(_row(f"{name}, {target.count}", target.estimate, mean=True))
        if len(self.targets) > 1:
            rows.append(_row(f"{len(self.targets)} targets", self.overall, mean=True))
        title = f"{self.first} - {self.second}"
        level = percent_text(self.overall.level)
        legend = f"Difference in points with {level} intervals, {self.split}; bold: means."
        arms = {"first": self.first, "second": self.second}
        drawn = forest(rows, **arms, title=title, numbers=True)
        return Picture.from_vega_lite(drawn, legend=legend)

    def as_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "first": self.first,
            "second": self.second,
            "split": self.split,
            "draws": self.draws,
            "answer": self.answer,
            "difference": self.overall.as_dict(),
            "alike": self.alike,
            "targets": {name: each.as_dict() for name, each in self.targets.items()},
            "without": {name: each.as_dict() for name, each in self.contrast.without.items()},
            "adjusted": dict(self.contrast.adjusted),
            "partial": self.partial,
        }


def _row(name: str, each: Estimate, *, mean: bool = False) -> dict[str, Any]:
    """A row of the forest plot."""
    bounds = {"difference": each.value, "low": each.low, "high": each.high}
    return {"name": name, **bounds, "mean": mean}


@checks_keywords
def compare(
    first: Composition,
    second: Composition,
    *,
    on: OneTarget | Sequence[OneTarget],
    random_languages: bool = False,
    draws: int = 2000,
    level: float = 0.95,
    **options: Unpack[ComparisonOptions],
) -> Comparison:
    """Says by how much one composition is better than another, with an interval.

    Both are evaluated, as `evaluate` does it; what is done already is not done again. Then items
    (questions by article) and seeds are drawn anew, for both alike.

    Args:
        first, second: compositions; `tydiqa-on-squad-s*` is all seeds of one, and
            `stack(lang:*, squad)` has every language's own module below.
        on: target tasks, as a list or with commas between.
        random_languages: the languages stand for others: they are drawn anew, too.
        draws: the number of draws of the bootstrap.
        level: the confidence level of the interval.
        options: see `ComparisonOptions`.

    Raises:
        UserError: as of `evaluate`; or no language has labels, or is there for both.
    """
    targets = _targets(on)
    arms = as_text(first), as_text(second)
    _check(targets, draws, level)
    for series, other in (arms, arms[::-1]):
        _check_series(series, other, text_of(options.get("backbone")))
    sides = [_evaluate_both(arms, each, options) for each in targets]
    drawn = Draws([target for target, _ in sides], draws, random_languages=random_languages)
    made = contrast(drawn, *ARMS, level=level)
    compared = {
        target.name: TargetComparison(
            **about,
            scores=_scores(target),
            estimate=made.targets[target.name],
            languages=made.languages[target.name],
            alpha=1 - level,
        )
        for target, about in sides
    }
    return Comparison(*arms, options.get("split", "test"), draws, compared, made)


def _targets(on: OneTarget | Sequence[OneTarget]) -> list[TargetSpec]:
    """The targets that are named, each once."""
    several: list[OneTarget] = []
    if isinstance(on, str):
        several += filter(None, (part.strip() for part in on.split(",")))
    elif isinstance(on, Iterable):
        several += on
    else:
        several.append(on)
    found: dict[str, TargetSpec] = {}
    for each in map(get_target, several):
        if found.setdefault(each.name, each) != each:
            raise UserError(f"two of the tasks are called '{each.name}': rename one of them")
    return list(found.values())


def _scores(target: Target) -> dict[str, tuple[float, float]]:
    """Those of both, the mean over seeds, by language."""
    cells = target.test.scores()
    first, second = (cells[arm][0].mean(axis=(1, 2)).tolist() for arm in ARMS)
    return dict(zip(target.test.languages, zip(first, second, strict=True), strict=True))


def _evaluate_both(
    arms: tuple[str, str], target: TargetSpec, options: ComparisonOptions
) -> tuple[Target, dict[str, Any]]:
    """Both compositions on one target: their items, and what else is known of them."""
    from adapter_stilts.evaluation.items import has_items  # torch: not for other mistakes

    if not has_items(target, {"labelled": True}):
        raise UserError(
            f"{target.name} is scored by {target.metric}, which is no mean over its examples, so "
            "nothing can be drawn anew: `adstilts evaluate` gives the scores of both"
        )
    split = resolve_split(target, options.get("split", "test"), takes_files=False)
    data, limit = text_of(options.get("data")), options.get("limit")
    found = evaluate(target, list(arms), **options)
    asked = resolve_languages(target, options.get("langs", "all"), split, data)
    read = read_data(target, asked, split, data, limit=limit)
    sides = _sides(found, *arms)
    tables = [_tables(side, target, read, data) for side in sides]
    sample = make_sample(dict(zip(ARMS, tables, strict=True)), parallel=target.parallel)
    why = "no labels, or no scores of single items"
    known = {name: reason for each in found for name, reason in each.missing.items()}
    lacking = {name: known.get(name, why) for name in read.languages if name not in sample.clusters}
    return Target(target.name, sample), {
        "metric": primary(target.metric),
        "seeds": (len(sides[0]), len(sides[1])),
        "missing": {**read.missing, **lacking},
    }


FEWEST_DRAWS, MOST_DRAWS = 100, 100_000


def check_draws(draws: int) -> None:
    """Refuses a number of draws of which intervals say nothing, or that no memory holds."""
    if draws < FEWEST_DRAWS:
        raise UserError(f"--draws {draws}: at least {FEWEST_DRAWS} are needed, 2000 are usual")
    if draws > MOST_DRAWS:
        raise UserError(f"--draws {draws}: {MOST_DRAWS} at most, 2000 are usual")


def _check(targets: Sequence[TargetSpec], draws: int, level: float) -> None:
    if not targets:
        raise UserError("nothing to compare on: name target tasks, as in --on xnli,tydiqa")
    check_draws(draws)
    if not 0.5 <= level < 1:
        raise UserError(f"level {level}: from 0.5 to below 1, as 0.95")


def _check_series(series: str, other: str, backbone: str | None) -> None:
    """Refuses to compare all seeds of a composition with one of them."""
    if ALL_SEEDS in series and other.strip() in each_seed(series, backbone).values():
        raise UserError(
            f"'{other}' is one of the seeds of '{series}': name another composition to compare with"
        )


def _sides(
    found: Sequence[Evaluation], first: str, second: str
) -> tuple[list[Evaluation], list[Evaluation]]:
    """The evaluations of both: those of the seeds, or one; refuses the same modules twice."""
    series = {text.strip() for text in (first, second) if ALL_SEEDS in text}
    mine = [each for each in found if first.strip() in series and each.seeds_of == first.strip()]
    mine = mine or [each for each in found if each.seeds_of not in series][:1]
    others = [each for each in found if each not in mine]
    if not others or _files(mine) == _files(others):
        raise UserError(f"'{first}' and '{second}' are the same: nothing to compare")
    return mine, others


def _files(side: Sequence[Evaluation]) -> set[Path]:
    return {
        each.folder_of(language) / str(entry["file"])
        for each in side
        for language, entry in each.languages.items()
    }


def _tables(
    side: Sequence[Evaluation], target: TargetSpec, read: TargetData, where: str | None
) -> Tables:
    """The items of every seed, by language."""
    from adapter_stilts.evaluation.items import ensure_items, has_items  # torch: not for mistakes

    found: Tables = {}
    for evaluation in side:
        seed = Seeds(0, evaluation.seed or 0)
        for language, entry in evaluation.languages.items():
            if has_items(target, entry) and language in read.languages:
                data = read.languages[language]
                found.setdefault(language, {})[seed] = ensure_items(
                    evaluation.folder_of(language),
                    entry,
                    target,
                    evaluation.split,
                    language,
                    data,
                    where,
                )
    return {lang: tables for lang, tables in found.items() if len(tables) == len(side)}
