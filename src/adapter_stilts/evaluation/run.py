"""`evaluate`: a target task, some languages, one or several compositions."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapter_stilts.compositions import Composition, as_texts
from adapter_stilts.engine.composition import EACH_LANGUAGE
from adapter_stilts.errors import UserError
from adapter_stilts.evaluation.candidates import backbone_name, find_candidates, folders
from adapter_stilts.evaluation.data import asked_languages, asked_split, read_data
from adapter_stilts.evaluation.each_language import evaluate_each
from adapter_stilts.evaluation.settings import Settings, check_settings
from adapter_stilts.evaluation.summary import Evaluation
from adapter_stilts.paths import check_writable
from adapter_stilts.tasks.registry import get_target
from adapter_stilts.tasks.target_spec import TargetSpec

if TYPE_CHECKING:
    from adapter_stilts.evaluation.each_language import Engines
    from adapter_stilts.evaluation.job import OnLanguage
    from adapter_stilts.evaluation.labels import Progress
    from adapter_stilts.evaluation.layer_rules import LayerRule


def evaluate(
    task: str | Path | TargetSpec,
    compositions: Composition | Sequence[Composition],
    *,
    langs: str | Sequence[str] = "all",
    split: str = "test",
    data: str | None = None,
    out: str | Path | None = None,
    backbone: str | None = None,
    limit: int | None = None,
    tags: str | Sequence[str] | None = None,
    precision: str = "auto",
    batch_tokens: int | None = None,
    layer: int | None = None,
    pooling: str = "mean",
    layer_from: str | None = None,
    layer_rule: LayerRule | None = None,
    overwrite: bool = False,
    flat: bool = False,
    on_language: OnLanguage | None = None,
    on_examples: Progress | None = None,
    engines: Engines | None = None,
) -> list[Evaluation]:
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
        langs: `all` (of the task's suites), a suite's name, codes with commas between, or a list
            of codes; any language that has files can be named.
        split: `dev` or `test`.
        data: as in `load_examples`.
        out: folder of the predictions; of several compositions, the folder of their folders.
            Default: `predictions/BACKBONE/COMPOSITION`.
        backbone: chooses among modules of one name; and where the backbone lies, if not where it
            lay when the modules were trained.
        tags: a tag set of one's own in place of the task's, as the modules were trained with.
        limit: evaluate that many examples of every language, drawn at random.
        precision: of the trunk: `fp32`, `bf16` or `auto`.
        batch_tokens: padded tokens a batch at most; None: what suits the device.
        layer, pooling: where the sentence vectors of retrieval tasks come from. Without a layer,
            one is chosen on dev data where the task has it (BUCC), for each composition, else
            by a rule, for all compositions the same.
        layer_from: another task whose dev data chooses the layer, such as `bucc2018`.
        layer_rule: the rule, `last` or `middle`, for what is compared with other calls' results.
        overwrite: replace what lies in the folder.
        flat: `out` is the task's own folder within a larger one.
        engines: backbones in memory that several calls share.
        on_language, on_examples: told when a language, or some examples, are done.

    Returns:
        One `Evaluation` a composition. It is partial where the data lacks a language.

    Raises:
        UserError: an unknown task, language or split; a composition that does not fit the task;
            data that is malformed or not there; a folder of another composition's predictions.
    """
    target = get_target(task)
    compositions = as_texts(compositions)
    if tags is not None:
        target = target.with_tags(tags)
    settings = Settings(precision, limit, batch_tokens, layer, pooling, layer_from, layer_rule)
    check_settings(settings)
    if target.retrieval is None and (layer is not None or layer_from is not None):
        raise UserError(
            f"{target.name} has a head, so no layer is chosen for it: leave out --layer and "
            "--layer-from, which are for retrieval"
        )
    chosen = asked_split(target, split)
    asked = asked_languages(target, langs, chosen, data)
    if any(EACH_LANGUAGE in text for text in compositions):
        options: dict[str, Any] = {
            "split": split,
            "data": data,
            "backbone": backbone,
            "limit": limit,
            "tags": tags,
        }
        options |= {"precision": precision, "batch_tokens": batch_tokens, "layer": layer}
        options |= {"pooling": pooling, "layer_from": layer_from, "layer_rule": layer_rule}
        options |= {"overwrite": overwrite}
        options |= {"flat": flat, "on_language": on_language, "on_examples": on_examples}
        return evaluate_each(evaluate, target, compositions, asked, out, options)
    candidates = find_candidates(target, compositions, backbone)
    name = backbone_name(candidates, backbone)
    places = folders(candidates, out, name, limit)
    for place in places:
        check_writable(place)
    read = read_data(target, asked, chosen, data, limit=limit)
    from adapter_stilts.evaluation.job import Job  # seconds of imports: nothing is wrong

    job = Job(
        target=target,
        split=chosen,
        where=data,
        settings=settings,
        backbone=name,
        candidates=candidates,
        places=places,
        flat=flat,
        data=read,
        overwrite=overwrite,
        engines={} if engines is None else engines,
    )
    for store in job.stores:
        store.check(overwrite=overwrite)
    job.compute(again=overwrite, on_language=on_language, on_examples=on_examples)
    return [
        dataclasses.replace(job.summary(place), seeds_of=each.seeds_of, seed=each.seed)
        for place, each in enumerate(candidates)
    ]
