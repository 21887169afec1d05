"""`evaluate`: a target task, some languages, one or several compositions."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Unpack

from adapter_stilts.compositions import Composition, as_texts
from adapter_stilts.data.given import check_languages, given_files, with_files
from adapter_stilts.engine.composition import EACH_LANGUAGE
from adapter_stilts.errors import UserError
from adapter_stilts.evaluation.candidates import backbone_name, find_candidates, folders
from adapter_stilts.evaluation.data import asked_languages, asked_split, read_data
from adapter_stilts.evaluation.each_language import evaluate_each
from adapter_stilts.evaluation.options import Asked, EvaluationOptions, check_settings
from adapter_stilts.evaluation.summary import Evaluation, Evaluations
from adapter_stilts.keywords import checks_keywords
from adapter_stilts.paths import check_writable
from adapter_stilts.tasks.registry import get_target
from adapter_stilts.tasks.spec import Split, TaskSpec
from adapter_stilts.tasks.target_spec import TargetSpec


@checks_keywords
def evaluate(
    task: str | Path | TargetSpec | TaskSpec,
    compositions: Composition | Sequence[Composition],
    **options: Unpack[EvaluationOptions],
) -> Evaluations:
    """Predicts and scores a target task in many languages, without any training in them.

    Predictions are written as they come, in XTREME's submission format, with a record of what
    they are. What is there already, of the same composition, data and settings, is not computed
    again.

    Args:
        task: a target task, such as `tydiqa`, the path of a task file, or a spec.
        compositions: one or several, such as `stack(squad, tydiqa)`; several go together,
            in little more time than the layers that tell them apart take. In
            `stack(lang:*, squad)`, every language has its own module below; `squad-s*` is one
            composition for every seed of `squad`.
        options: see `EvaluationOptions`.

    Returns:
        One `Evaluation` a composition. It is partial where the data lacks a language.

    Raises:
        UserError: an unknown task, language or split; a composition that does not fit the task;
            data that is malformed or not there; a folder of another composition's predictions.
    """
    asked = Asked(**options)
    texts = as_texts(compositions)
    target = asked_target(task, asked)
    check_settings(asked.settings)
    split = asked_split(target, asked.split)
    languages = asked_languages(target, asked.langs, split, asked.data)
    check_languages(target, split, languages)
    if any(EACH_LANGUAGE in text for text in texts):
        ready = dataclasses.replace(asked, tags=None, dev_file=None, test_file=None)
        return Evaluations(evaluate_each(_evaluate, target, texts, languages, ready))
    return Evaluations(_evaluate(target, texts, languages, split, asked))


def asked_target(task: str | Path | TargetSpec | TaskSpec, asked: Asked) -> TargetSpec:
    """The target with the tags and the files that the options name.

    Raises:
        UserError: options that do not fit it.
    """
    target = get_target(task)
    if asked.tags is not None:
        target = target.with_tags(asked.tags)
    if asked.dev_file and asked.split != "dev":
        raise UserError("--dev-file is read with --split dev: add that, or give --test-file")
    if asked.test_file and asked.split != "test":
        raise UserError("--test-file is read with --split test: leave --split out")
    if target.retrieval is None and (asked.layer is not None or asked.layer_from is not None):
        raise UserError(
            f"{target.name} has a head, so no layer is chosen for it: leave out --layer and "
            "--layer-from, which are for retrieval"
        )
    return with_files(target, {"dev": asked.dev_file, "test": asked.test_file})


def _evaluate(
    target: TargetSpec,
    texts: Sequence[str],
    languages: Sequence[str],
    split: Split,
    asked: Asked,
) -> list[Evaluation]:
    """Evaluates compositions that have the same modules in every language."""
    candidates = find_candidates(target, texts, asked.backbone)
    name = backbone_name(candidates, asked.backbone)
    places = folders(candidates, asked.out, name, asked.limit, given_files(target).get(split))
    for place in places:
        check_writable(place)
    read = read_data(target, languages, split, asked.data, limit=asked.limit)
    from adapter_stilts.evaluation.job import Job  # seconds of imports: nothing is wrong

    job = Job(
        target=target,
        split=split,
        where=asked.data,
        settings=asked.settings,
        backbone=name,
        candidates=candidates,
        places=places,
        flat=asked.flat,
        data=read,
        overwrite=asked.overwrite,
        engines={} if asked.engines is None else asked.engines,
    )
    for store in job.stores:
        store.check(overwrite=asked.overwrite)
    job.compute(again=asked.overwrite, on_language=asked.on_language, on_examples=asked.on_examples)
    return [
        dataclasses.replace(job.summary(place), seeds_of=each.seeds_of, seed=each.seed)
        for place, each in enumerate(candidates)
    ]
