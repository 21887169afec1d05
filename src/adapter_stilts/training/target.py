"""Training for a target task, on top of what has been learnt before."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from contextlib import suppress
from os import PathLike
from pathlib import Path
from typing import Unpack

from adapter_stilts.backbones import DEFAULT_BACKBONE, find_backbone
from adapter_stilts.compositions import Composition, as_text
from adapter_stilts.data.folders import with_files
from adapter_stilts.data.load import find_all, origin_of
from adapter_stilts.engine.composition import EACH_LANGUAGE, NONE
from adapter_stilts.errors import UserError
from adapter_stilts.keywords import checks_keywords, text_of
from adapter_stilts.tasks.languages import choose_language
from adapter_stilts.tasks.registry import get_target
from adapter_stilts.tasks.spec import TaskSpec
from adapter_stilts.tasks.target_spec import TargetSpec
from adapter_stilts.training.folders import check_free
from adapter_stilts.training.options import Settings, TrainingOptions
from adapter_stilts.training.run import Trained, check_recipe, train
from adapter_stilts.training.spec import TrainingSpec, default_folder, module_name
from adapter_stilts.zoo.again import named
from adapter_stilts.zoo.choice import place_of
from adapter_stilts.zoo.names import series_folders
from adapter_stilts.zoo.resolve import resolve


@checks_keywords
def train_target(
    task: str | Path | TargetSpec | TaskSpec,
    *,
    on: Composition = NONE,
    fresh_head: bool = False,
    source_lang: str = "en",
    tags: str | Sequence[str] | None = None,
    backbone: str | PathLike[str] | None = None,
    **options: Unpack[TrainingOptions],
) -> Trained:
    """Trains a module for a target task on top of a composition, and writes it to disk.

    Everything below the new module stays as it is (Phang et al. 2020, with adapters in place of
    copies of the model). A target whose usual training has several stages (XCOPA: Social IQa, then
    COPA) leaves a module of each earlier stage beside its own, named after it. Files of your own
    take the place of the last stage's data.

    Args:
        task: the name of a target task, such as `tydiqa`, the path of a task file, or a spec.
        on: the composition to stack the module on, such as `squad`; `none` is the baseline. In it,
            `lang:*` is the module of `source_lang`.
        fresh_head: begin with a new head even where the one below is of the same kind and labels.
        source_lang: the language of the training data (Turc et al. 2021).
        tags: for tagging, a tag set of your own in place of the task's.
        backbone: by default that of `on`, or XLM-R Large; chooses among modules of one name.
        options: see `TrainingOptions`.

    Raises:
        UserError: as of `train_adapter`; an unknown or incomplete composition; no training data
            in that language.
    """
    target = get_target(task)
    if tags is not None:
        target = target.with_tags(tags)
    source_lang = source_language(target, source_lang, text_of(options.get("data")))
    stages = target.trained_in(source_lang)
    on = as_text(on).replace(EACH_LANGUAGE, f"lang:{source_lang}")
    backbone = text_of(backbone)
    below = resolve(on, backbone) if on.strip() != NONE else None
    place = place_of(backbone, below.backbone) if below else backbone or DEFAULT_BACKBONE
    spec = TrainingSpec((), below, fresh_head, named=(named(task),))
    return train_stages(spec, stages, place, options)


def source_language(target: TargetSpec, written: str, data: str | None) -> str:
    """The language learnt from, as the task or its files call it; refuses one that is not there."""
    if target.identity and written == "en":  # the default is the language of its training data
        written = target.train_languages[0]
    where = origin_of(target, data)

    def has_files(code: str) -> bool:
        with suppress(UserError):
            return all(find_all(stage, "train", where) for stage in target.trained_in(code))
        return False

    return choose_language(written, target.train_languages, None if where == "hub" else has_files)


def train_stages(
    spec: TrainingSpec, stages: Sequence[TaskSpec], backbone: str, options: TrainingOptions
) -> Trained:
    """Trains one stage after the other, each from the weights of the one before.

    Every earlier stage leaves a module beside that of the last one, named after it. Files of the
    user's own are those of the last stage.

    Args:
        spec: what all stages share: what they stand on, and how their heads begin.
        stages: their tasks.
        backbone: a backbone's name or folder.
        options: as for `train_adapter`.

    Raises:
        UserError: as of `train_adapter`.
    """
    *earlier, last = stages
    staged = [*earlier, with_files(last, Settings.of(options).files)]
    specs = [
        dataclasses.replace(spec, tasks=(task,), staged=len(stages) > 1, start=None)
        for task in staged
    ]
    before: TrainingOptions = {**options}
    before.pop("test_file", None)
    for each in specs[:-1]:
        check_recipe(each, before)
    method = check_recipe(specs[-1], options).method
    settings = Settings.of(options)
    if settings.out:
        folder = Path(settings.out)
    else:  # as `train` does it
        name, found = module_name(specs[-1], method), find_backbone(backbone)
        folder = default_folder(found, name, spec.on, settings.seed)
    for place in series_folders(folder, settings.seed, settings.series):
        check_free(place, resume=settings.resume, overwrite=settings.overwrite)
    start: Path | None = None
    for each in specs[:-1]:
        out = folder.with_name(f"{folder.name}.{each.name}")
        # Of the same settings it is kept, as an interrupted one is continued.
        own: TrainingOptions = {"out": out, "series": (), "resume": not settings.overwrite}
        made = train(dataclasses.replace(each, start=start), backbone, {**before, **own})
        start = made.path
    return train(dataclasses.replace(specs[-1], start=start), backbone, {**options, "out": folder})
