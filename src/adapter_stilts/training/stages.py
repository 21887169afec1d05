"""A target's training in stages (XCOPA: Social IQa, then COPA), whatever is learnt of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from adapter_stilts.backbones import find_backbone
from adapter_stilts.data.given import with_files
from adapter_stilts.tasks.spec import TaskSpec
from adapter_stilts.training.folders import check_free
from adapter_stilts.training.naming import chosen_recipe, default_folder, module_name
from adapter_stilts.training.options import Settings, TrainingOptions
from adapter_stilts.training.run import Trained, checked_recipe, files_in, train
from adapter_stilts.training.spec import TrainingSpec
from adapter_stilts.zoo.names import series_folders


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
    staged = [*earlier, with_files(last, files_in(options))]
    specs = [
        dataclasses.replace(spec, tasks=(task,), staged=len(stages) > 1, start=None)
        for task in staged
    ]
    before: TrainingOptions = {**options}
    before.pop("test_file", None)
    for each in specs:
        checked_recipe(each, options if each is specs[-1] else before)
    folder = _folder(specs[-1], backbone, options)
    settings = Settings.of(options)
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


def _folder(spec: TrainingSpec, backbone: str, options: TrainingOptions) -> Path:
    """Where `train` writes the module, given the same options."""
    settings = Settings.of(options)
    if settings.out:
        return Path(settings.out)
    recipe = chosen_recipe(settings.recipe, {"method": options.get("method")})
    name = module_name(spec, recipe.method)
    return default_folder(find_backbone(backbone), name, spec.on, settings.seed)
