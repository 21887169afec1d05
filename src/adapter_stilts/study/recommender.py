"""`recommend`: which modules are worth training a target on, before any such training."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Unpack

import numpy as np
from scipy.stats import rankdata

from adapter_stilts.backbones import check_precision, find_backbone
from adapter_stilts.compositions import Composition, as_texts
from adapter_stilts.data.load import load_examples
from adapter_stilts.engine.composition import NONE
from adapter_stilts.engine.methods import get_method
from adapter_stilts.errors import UserError, counted, unknown
from adapter_stilts.keywords import checks_keywords, fill
from adapter_stilts.paths import is_folder
from adapter_stilts.study.recommend_rules import half_samples
from adapter_stilts.study.recommend_scores import (
    PROBE_STEPS,
    RULE_SCORES,
    Candidate,
    Scores,
    Work,
    train_shortly,
)
from adapter_stilts.study.recommendation import (
    RULES,
    Asked,
    Ranked,
    Recommendation,
    RecommendOptions,
    Rule,
)
from adapter_stilts.study.sample import Floats
from adapter_stilts.tasks.registry import get_target
from adapter_stilts.tasks.spec import TargetSpec, TaskSpec
from adapter_stilts.training.target import all_sources
from adapter_stilts.zoo.adopt import is_foreign
from adapter_stilts.zoo.choice import check_one_backbone, has_record, place_of, series_name
from adapter_stilts.zoo.record import RECORD, ModuleRecord
from adapter_stilts.zoo.resolve import resolve

LEAST_EXAMPLES, LEAST_DRAWS, MOST_DRAWS = 10, 20, 10_000
"""Of draws, a hundred say a share to five points, and ten thousand to half a point."""


@checks_keywords
def recommend(
    target: str | Path | TargetSpec | TaskSpec,
    *,
    modules: Composition | Sequence[Composition] = (),
    **options: Unpack[RecommendOptions],
) -> Recommendation:
    """Ranks modules by how well a target is predicted to be learnt on top of them.

    Rules: `logme`, the evidence for the target's labels in what each module makes of its examples
    (`study.recommend_rules`); `text`, how alike the texts of the target and of the module's task
    are; `parameters`, how alike the module and one trained shortly on the target are. The ranking
    is by the mean of the ranks; halves of the examples, drawn again and again, say how sure it is.

    Args:
        target: a target task with training data, such as `tydiqa`.
        modules: names, compositions or folders of modules; none: one a task of the zoo.
        options: see `RecommendOptions`.

    Raises:
        UserError: an unknown target, module or rule; no module; no data; numbers too small.
    """
    asked = fill(Asked, options)
    _check_asked(asked)
    aim = get_target(target)
    stage = aim.trained_in(asked.source_lang)[-1]
    candidates = find_candidates(as_texts(modules), asked.method, asked.backbone)
    if asked.probe:
        _check_probed(candidates, stage, asked)
    _check_files(candidates)
    place = place_of(asked.backbone, candidates[0].resolved.backbone)
    read = load_examples(stage, "train", asked.data, limit=asked.examples, seed=asked.seed)
    if (count := len(read.examples)) < LEAST_EXAMPLES:
        there = counted(count, "training example")
        raise UserError(f"{aim.name} has {there} here: at least {LEAST_EXAMPLES} are needed")
    from adapter_stilts.engine.engine import load_engine  # seconds of imports

    engine = load_engine(find_backbone(place), precision=asked.precision)
    work = Work(asked, aim, stage, read, candidates, place, engine)
    by_rule = {rule: RULE_SCORES[rule](work) for rule in RULES if rule in asked.names}
    rungs = _halve(work, by_rule) if asked.probe and len(candidates) > 1 else []
    if not rungs:
        _check_told(work, by_rule)
    return _rank(work, by_rule, _draw_ranks(work, by_rule), rungs)


def _check_asked(asked: Asked) -> None:
    for rule in asked.names:
        if rule not in RULES:
            raise unknown("rule", rule, RULES)
    if not asked.names:
        raise UserError(f"no rule to rank by: choose from {', '.join(RULES)}")
    for name, least in (("examples", LEAST_EXAMPLES), ("draws", LEAST_DRAWS)):
        if (value := getattr(asked, name)) < least:
            raise UserError(f"{value} {name}: at least {least} are needed")
    if asked.draws > MOST_DRAWS:
        raise UserError(f"{asked.draws} draws: {MOST_DRAWS} at most, 100 are usual")
    check_precision(asked.precision)


def _check_probed(candidates: Sequence[Candidate], stage: TaskSpec, asked: Asked) -> None:
    """Refuses to train on top of what was trained on the same data, and without dev data."""
    same = [each.name for each in candidates if each.task == stage.name]
    if same:
        raise UserError(
            f"'{same[0]}' has learnt {stage.name} itself and cannot stand below it: leave it out, "
            "or leave out --probe"
        )
    try:
        load_examples(stage, "dev", asked.data, limit=1, seed=asked.seed)
    except UserError as error:
        raise UserError(f"--probe scores short trainings on dev data: {error}") from error


def _check_files(candidates: Sequence[Candidate]) -> None:
    """Refuses damaged modules before the first is tried, which takes minutes."""
    every = {
        module.folder: module for each in candidates for module in each.resolved.modules.values()
    }
    for folder, module in every.items():
        module.record.verify(folder)


def _check_told(work: Work, by_rule: Mapping[Rule, Scores]) -> None:
    """Refuses to rank modules of which no rule says anything."""
    if any(score is not None for of in by_rule.values() for score in of(None, 0)):
        return
    first, *more = dict.fromkeys(work.silent.values() or ["all examples have one label"])
    why = f"{first}; and {counted(len(more), 'other reason')}" if more else first
    raise UserError(
        f"nothing ranks these modules for {work.target.name} by {', '.join(by_rule)} ({why}): "
        "leave out --by, or say --probe"
    )


def _draw_ranks(work: Work, by_rule: Mapping[Rule, Scores]) -> Floats:
    """The mean ranks of all candidates in every draw: (draws, candidates)."""
    draws = work.asked.draws
    work.tell(f"{draws} draws")
    count = len(work.read.examples)
    found = []
    for number, rows in enumerate(half_samples(count, draws, seed=work.asked.seed)):
        chosen = np.zeros(count, dtype=bool)
        chosen[rows] = True
        found.append(mean_ranks([scores(chosen, number) for scores in by_rule.values()]))
    return np.array(found)


def _halve(work: Work, by_rule: Mapping[Rule, Scores]) -> list[Rung]:
    """Short trainings on every module, longer ones on the better half; the rules decide ties."""
    means = mean_ranks([of(None, 0) for of in by_rule.values()])
    order = np.argsort(means, kind="stable")
    known = {each.name: each for each in (work.candidates[place] for place in order)}

    def score(name: str, steps: int) -> float:
        work.tell(f"probe: {steps} steps on {name}")
        each = known[name]
        with work.measure_time("probe", name), tempfile.TemporaryDirectory() as folder:
            return train_shortly(work, each.given, each.method, steps, Path(folder))[1]

    return successive_halving(list(known), score, least=PROBE_STEPS)


def _rank(
    work: Work, by_rule: Mapping[Rule, Scores], drawn: Floats, rungs: Sequence[Rung]
) -> Recommendation:
    scores = {rule: of(None, 0) for rule, of in by_rule.items()}
    means = mean_ranks(list(scores.values()))
    sure = sureness(drawn)
    found = [
        Ranked(
            module=each.name,
            task=each.task,
            method=each.method,
            scores={rule: value for rule, told in scores.items()
                    if (value := told[place]) is not None},
            mean_rank=float(means[place]),
            **vars(sure[place]),
            seconds=work.own[each.name],
            probe={rung.steps: rung.scores[each.name] for rung in rungs
                   if each.name in rung.scores},
        )
        for place, each in enumerate(work.candidates)
    ]  # fmt: skip
    tried = {name: number for number, name in enumerate(standing(rungs))}
    found.sort(
        key=lambda each: (tried.get(each.module, 0), each.mean_rank, -each.first, each.module)
    )
    return Recommendation(
        target=work.target.name,
        backbone=work.engine.backbone.name,
        examples=len(work.read.examples),
        draws=len(drawn),
        modules=tuple(found),
        plain=work.plain,
        silent=work.silent,
        seconds=dict(work.seconds),
    )


def ranks(scores: Sequence[float | None]) -> Floats:
    """1 for the highest score; equal ones share the mean of their ranks, NaN where there is none.

    >>> ranks([3.0, 5.0, None, 3.0]).tolist()
    [2.5, 1.0, nan, 2.5]
    """
    values = np.array([np.nan if score is None else score for score in scores], dtype=np.float64)
    found: Floats = rankdata(-values, nan_policy="omit")
    return found


def mean_ranks(rules: Sequence[Sequence[float | None]]) -> Floats:
    """The mean over rules of every candidate's rank; rules that say nothing of it are left out.

    A rank among fewer is stretched to all, or it would be a better one for lack of company.

    >>> mean_ranks([[3.0, 1.0], [2.0, 9.0]]).tolist()
    [1.5, 1.5]
    """
    found = np.array([_stretch(ranks(rule)) for rule in rules])
    there = ~np.isnan(found)
    counts = there.sum(0)
    sums = np.where(there, found, 0.0).sum(0)
    last = found.shape[1]
    result: Floats = np.where(counts > 0, sums / np.maximum(counts, 1), last)
    return result


def _stretch(found: Floats) -> Floats:
    count = int((~np.isnan(found)).sum())
    if count in (0, len(found)):
        return found
    stretched: Floats = 1 + (found - 1) * (len(found) - 1) / max(count - 1, 1)
    return stretched


LEVEL = 0.95
"""Of the interval of a candidate's place."""


@dataclass(frozen=True)
class Sureness:
    """What becomes of a candidate's place when examples are drawn anew.

    Attributes:
        first: the share of draws in which it is first; those that tie share a draw.
        low, high: the interval of its place.
    """

    first: float
    low: int
    high: int


def sureness(drawn: Floats) -> list[Sureness]:
    """How sure every candidate's place is, by the mean ranks of all draws, (draws, candidates)."""
    best = drawn == drawn.min(1, keepdims=True)
    first = (best / best.sum(1, keepdims=True)).mean(0)
    # Those that tie have all of their places.
    better, worse = (rankdata(drawn, method=each, axis=1) for each in ("min", "max"))
    tail = (1 - LEVEL) / 2
    low = np.quantile(better, tail, axis=0, method="inverted_cdf")
    high = np.quantile(worse, 1 - tail, axis=0, method="inverted_cdf")
    return [
        Sureness(float(share), int(least), int(most))
        for share, least, most in zip(first, low, high, strict=True)
    ]


@dataclass(frozen=True)
class Rung:
    """One round: so many steps for each candidate, and what each then scored."""

    steps: int
    scores: dict[str, float]


def successive_halving(
    names: Sequence[str], score: Callable[[str, int], float], *, least: int
) -> list[Rung]:
    """Trains all candidates for a few steps, the better half for twice as many, and so on.

    Jamieson and Talwalkar 2016, "Non-stochastic Best Arm Identification and Hyperparameter
    Optimization" (AISTATS): every round costs the same, and there are log2(n) of them. A learning
    rate that falls to zero does not let a short training go on as a long one, so that each round
    begins anew; that costs as much again, at most.

    Args:
        names: the candidates; of those with equal scores, earlier ones stay.
        score: trains one for so many steps, and says how good it is.
        least: steps of the first round.

    Returns:
        The rounds; the last one has the candidates that stayed to the end.

    Raises:
        ValueError: there is no candidate, or `least` is below 1.
    """
    if least < 1 or not names:
        raise ValueError("names and steps are needed")
    left, steps, rungs = list(names), least, []
    while True:
        rung = Rung(steps, {name: score(name, steps) for name in left})
        rungs.append(rung)
        left = sorted(left, key=lambda name: -rung.scores[name])[: (len(left) + 1) // 2]
        if len(left) == 1:
            return rungs
        steps *= 2


def standing(rungs: Sequence[Rung]) -> list[str]:
    """All candidates, best first: by the round they reached, then by their score in it."""
    reached = {name: (number, rung.scores[name]) for number, rung in enumerate(rungs)
               for name in rung.scores}  # fmt: skip
    return sorted(reached, key=lambda name: (-reached[name][0], -reached[name][1]))


def find_candidates(
    modules: Sequence[str], method: str, backbone: str | None = None
) -> list[Candidate]:
    """The modules that are named, those of folders that are, or one a task of the zoo.

    Seeds of one module are one way to learn a target: of a folder the lowest seed is taken.

    What is taken from the zoo is of that method; the backbone chooses among modules of one name.
    None, unknown ones, one twice or by two seeds, and those of different backbones are refused.
    """
    method = get_method(method).name
    given = [each for text in modules for each in _in_folder(text, method)]
    given = given or list(all_sources(method, backbone, least=1))
    found = [Candidate(text, resolve(text, backbone)) for text in given]
    runs: dict[str, str] = {}
    for each in found:
        if runs.setdefault(each.resolved.identity, each.given) != each.given or (
            given.count(each.given) > 1
        ):
            raise UserError(f"'{each.name}' is named twice: name every module once")
    _check_seeds(found)
    check_one_backbone([(each.name, each.resolved.record.backbone) for each in found])
    names = [each.name for each in found]
    twice = next((name for name in names if names.count(name) > 1), "")
    if twice:
        places = [each.given for each in found if each.name == twice]
        raise UserError(f"{' and '.join(places)} are both called '{twice}': name one of them only")
    return found


def _series_of(candidate: Candidate) -> tuple[str, ...]:
    """What modules have in common that differ by the seed of their training alone."""
    if not isinstance(candidate.resolved.expression, str):
        return (candidate.given,)
    (module,) = candidate.resolved.modules.values()
    return _series(module.folder, module.record)


def _series(folder: Path, record: ModuleRecord) -> tuple[str, ...]:
    return series_name(folder, _seed(record)), record.task, record.method


def _seed(record: ModuleRecord) -> int:
    seed = record.recipe.get("seed", 0)
    return seed if isinstance(seed, int) else 0


def _check_seeds(found: Sequence[Candidate]) -> None:
    """Refuses seeds of one module: ranked beside each other, they would take the others' places."""
    first: dict[tuple[str, ...], Candidate] = {}
    for each in found:
        other = first.setdefault(_series_of(each), each)
        if other is not each and _seed(other.resolved.record) != _seed(each.resolved.record):
            raise UserError(
                f"{other.given} and {each.given} are seeds of one module, which are alike for a "
                "target but for chance: name one of them"
            )


def _in_folder(text: str, method: str) -> list[str]:
    """The modules of a folder that is none itself; anything else stands for itself."""
    if text.strip() == NONE:
        raise UserError(
            "'none' is no module: LogME says where the backbone alone stands, and `adstilts "
            "train-target` without --on trains on it"
        )
    folder = Path(text).expanduser()
    if not text.strip() or not is_folder(folder) or has_record(folder) or is_foreign(folder):
        return [text]
    inside = sorted({*folder.glob(f"*/{RECORD}"), *folder.glob(f"*/*/{RECORD}")})
    places = [path.parent for path in inside if not path.parent.name.startswith(".")]
    records = {place: ModuleRecord.read(place) for place in places}
    lowest: dict[tuple[str, ...], Path] = {}
    for place in sorted(places, key=lambda each: _seed(records[each])):
        lowest.setdefault((str(place.parent), *_series(place, records[place])), place)
    kept = [place for place in places if place in lowest.values()]
    found = [str(place) for place in kept if records[place].method == method]
    if not places:
        raise UserError(f"{text}: no module lies in that folder (a module has a {RECORD})")
    if not found:
        raise UserError(
            f"{text}: none of the {len(places)} modules in that folder is of method {method}: see "
            "--method"
        )
    return found
