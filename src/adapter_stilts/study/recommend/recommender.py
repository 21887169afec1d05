"""`recommend`: which modules are worth training a target on, before any such training."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Unpack

import numpy as np

from adapter_stilts.backbones import check_precision, find_backbone
from adapter_stilts.compositions import Composition, as_texts
from adapter_stilts.data.load import load_examples
from adapter_stilts.errors import UserError, counted, unknown
from adapter_stilts.keywords import checks_keywords, fill
from adapter_stilts.study.recommend.ranking import (
    Rung,
    half_samples,
    mean_ranks,
    standing,
    successive_halving,
    sureness,
)
from adapter_stilts.study.recommend.recommendation import (
    RULES,
    Asked,
    Ranked,
    Recommendation,
    RecommendOptions,
    Rule,
)
from adapter_stilts.study.recommend.rule_scores import (
    PROBE_STEPS,
    RULE_SCORES,
    Candidate,
    Floats,
    Scores,
    Work,
    find_candidates,
    train_shortly,
)
from adapter_stilts.tasks.registry import get_target
from adapter_stilts.tasks.spec import TaskSpec
from adapter_stilts.tasks.target_spec import TargetSpec
from adapter_stilts.zoo.choice import place_of

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
    (`study.recommend.rules`); `text`, how alike the texts of the target and of the module's task
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
            first=sure[place].first,
            low=sure[place].low,
            high=sure[place].high,
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
