"""One training from task and recipe to a module on disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapter_stilts.backbones import DEFAULT_BACKBONE, find_backbone
from adapter_stilts.tasks.registry import get_task
from adapter_stilts.tasks.spec import TaskSpec
from adapter_stilts.training.checks import (
    check_data,
    check_method,
    check_numbers,
    check_tracker,
    completed,
)
from adapter_stilts.training.failures import InterruptedTrainingError
from adapter_stilts.training.naming import (
    chosen_recipe,
    default_folder,
    module_name,
    warn_of_other_method,
)
from adapter_stilts.training.recipe import Recipe
from adapter_stilts.training.request import Request
from adapter_stilts.training.spec import TrainingSpec
from adapter_stilts.training.unfinished import check_free
from adapter_stilts.zoo.names import series_folders
from adapter_stilts.zoo.record import ModuleRecord


@dataclass(frozen=True)
class Trained:
    """A trained module on disk."""

    path: Path
    record: ModuleRecord


def train_adapter(
    task: str | Path | TaskSpec | TrainingSpec,
    *,
    backbone: str = DEFAULT_BACKBONE,
    data: str | None = None,
    recipe: str | Recipe = "default",
    seed: int = 0,
    limit: int | None = None,
    dev_limit: int | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    skip_bad_rows: bool = False,
    report_to: str = "none",
    quiet: bool = False,
    series: Sequence[int] = (),
    **changes: Any,
) -> Trained:
    """Trains one module for one task on a frozen backbone and writes it to disk.

    Args:
        task: name of an intermediate task, such as `squad`, the path of a task file, or a spec of
            one's own (or what `train_target`, `fuse`,
            `train_multitask` and `train_language` make of theirs).
        backbone: `embedded`, a local folder, or a Hub id.
        data: `hub`, `sample`, or a folder with official files; None: `ADSTILTS_DATA` or the Hub.
        recipe: a recipe, its name, or a YAML file.
        seed: of initial weights and order of the examples.
        limit, dev_limit: examples to draw at random from the training and dev data.
        out: folder of the module; by default `ZOO/BACKBONE/TASK[-METHOD]`, and with `-sSEED` at
            its end for another seed than 0.
        series: all seeds of a series that this training is one of (`train_seeds`): their folders
            are looked at before the first one takes its time.
        resume: continue an interrupted run of the same settings.
        overwrite: replace a module or an unfinished run that lies at `out`.
        skip_bad_rows: leave out training rows that cannot be used, such as questions with an
            answer that is not at its offset, and say how many; without, they are refused.
        report_to: experiment tracker, as `transformers.TrainingArguments` takes it; what it
            writes as files goes to a folder `....logs` beside the module.
        quiet: no progress bar.
        changes: recipe fields to change, such as `method="lora"` or `epochs=1`.

    Returns:
        Where the module lies, and its record with dev scores.

    Raises:
        UserError: something about the arguments or the data is wrong.
        FailureError: disk or memory ran out, or the training diverged.
        InterruptedTrainingError: Ctrl-C; a checkpoint has been written.
    """
    spec = task if isinstance(task, TrainingSpec) else TrainingSpec((get_task(task),))
    chosen = checked_recipe(
        spec,
        data=data,
        recipe=recipe,
        seed=seed,
        limit=limit,
        dev_limit=dev_limit,
        report_to=report_to,
        **changes,
    )
    warn_of_other_method(recipe, changes.get("method"))
    name = module_name(spec, chosen.method)
    if out:
        check_free(Path(out), resume=resume, overwrite=overwrite)
    found = find_backbone(backbone)
    asked = Request(
        spec=spec,
        recipe=completed(chosen, spec, found),
        backbone=found,
        name=name,
        folder=Path(out) if out else default_folder(found, name, spec.on, seed),
        data=data,
        seed=seed,
        limit=limit,
        dev_limit=dev_limit,
        skip_bad_rows=skip_bad_rows,
        resume=resume,
        overwrite=overwrite,
        report_to=report_to,
        quiet=quiet,
    )
    for folder in {asked.folder, *series_folders(asked.folder, seed, series)}:
        check_free(folder, resume=resume, overwrite=overwrite)
    from adapter_stilts.training.execute import execute  # seconds of imports: nothing is wrong

    return Trained(asked.folder, execute(asked))


def checked_recipe(
    spec: TrainingSpec,
    *,
    data: str | None = None,
    recipe: str | Recipe = "default",
    seed: int = 0,
    limit: int | None = None,
    dev_limit: int | None = None,
    report_to: str = "none",
    **changes: Any,
) -> Recipe:
    """The recipe of a training, of which all that needs no backbone has been checked.

    Args:
        training: what is learnt.
        data, recipe, seed, limit, dev_limit, report_to, changes: as of `train_adapter`.

    Raises:
        UserError: something about them is wrong.
    """
    chosen = chosen_recipe(recipe, changes)
    check_numbers(seed=seed, limit=limit, dev_limit=dev_limit)
    check_tracker(report_to)
    check_method(spec, chosen.method, module_name(spec, chosen.method))
    check_data(spec, data)
    return chosen


__all__ = ["InterruptedTrainingError", "Trained", "checked_recipe", "train_adapter"]
