"""A target's training in stages (XCOPA: Social IQa, then COPA), whatever is learnt of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from adapter_stilts.tasks.spec import TaskSpec
from adapter_stilts.training.naming import module_folder
from adapter_stilts.training.run import Trained, checked_recipe, train_adapter
from adapter_stilts.training.spec import TrainingSpec
from adapter_stilts.training.unfinished import check_free
from adapter_stilts.zoo.names import series_folders

_PLACE = ("backbone", "out", "resume", "overwrite", "skip_bad_rows", "quiet", "series")
"""Options of `train_adapter` that say where and how: they are looked at when all else is right."""


def train_stages(
    spec: TrainingSpec, stages: Sequence[TaskSpec], options: Mapping[str, Any]
) -> Trained:
    """Trains one stage after the other, each from the weights of the one before.

    Every earlier stage leaves a module beside that of the last one, named after it.

    Args:
        training: the last stage.
        stages: all of them.
        options: as for `train_adapter`.

    Raises:
        UserError: as of `train_adapter`.
    """
    spec = dataclasses.replace(spec, staged=len(stages) > 1)
    asked = {key: value for key, value in options.items() if key not in _PLACE}
    for stage in stages:
        file = spec.train_file if stage is stages[-1] else None
        checked_recipe(dataclasses.replace(spec, tasks=(stage,), train_file=file), **asked)
    folder = module_folder(spec, **options)
    may = {key: bool(options.get(key)) for key in ("resume", "overwrite")}
    series = options.get("series", ())
    for each in series_folders(folder, options.get("seed", 0), series):
        check_free(each, **may)
    for stage in stages[:-1]:
        earlier = dataclasses.replace(spec, tasks=(stage,), train_file=None)
        place = folder.with_name(f"{folder.name}.{stage.name}")
        # Of the same settings it is kept, as an interrupted one is continued.
        own = {"out": place, "series": (), "resume": not may["overwrite"]}
        trained = train_adapter(earlier, **{**options, **own})
        spec = dataclasses.replace(spec, start=trained.path)
    return train_adapter(spec, **{**options, "out": folder})
