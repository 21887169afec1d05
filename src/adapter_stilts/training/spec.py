"""What a training is about, what was asked for, and its checks; nothing heavy is imported."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from adapter_stilts.backbones import Backbone
from adapter_stilts.data.load import check_where, find_all, resolve_where
from adapter_stilts.data.parts import given_files
from adapter_stilts.engine.composition import build_stack
from adapter_stilts.engine.methods import (
    DEFAULT_METHOD,
    LANGUAGE_METHOD,
    check_stackable,
    get_method,
    is_fusion,
)
from adapter_stilts.errors import UserError, shown, unknown
from adapter_stilts.heads import has_weights
from adapter_stilts.heads.base import padded_length
from adapter_stilts.keywords import text_of
from adapter_stilts.tasks.spec import SHORTEST, Split, TaskSpec
from adapter_stilts.training.folders import unfinished
from adapter_stilts.training.options import Settings
from adapter_stilts.training.recipe import RECIPES, Recipe, as_json, get_recipe
from adapter_stilts.zoo.choice import LARGEST_SEED, backbone_folder, folder_name, with_seed
from adapter_stilts.zoo.record import MULTITASK, ModuleRecord
from adapter_stilts.zoo.resolved_composition import ResolvedComposition


@dataclass(frozen=True)
class TextFile:
    """The text of one language: its lines without the empty ones, and a hash of these."""

    language: str
    lines: tuple[str, ...]
    sha256: str


@dataclass(frozen=True)
class Text:
    """What is read for masked language modelling, and its part of all batches."""

    folder: Path
    files: tuple[TextFile, ...]
    share: float

    def decides(self) -> dict[str, Any]:
        """What of it decides the weights."""
        return {"share": self.share, "files": [[each.language, each.sha256] for each in self.files]}


@dataclass(frozen=True)
class Mixture:
    """How several tasks are learnt at once, each with a head of its own.

    `temperature` is that of `batching.task_shares`; with `normalise_losses`, a guess has the same
    loss in every task (`BatchSource.scale`); `text` is read for masked language modelling.
    """

    temperature: float = 2.0
    normalise_losses: bool = False
    text: Text | None = None

    def decides(self) -> dict[str, Any]:
        """What of it decides the weights."""
        text = {"text": self.text.decides()} if self.text else {}
        return {"temperature": self.temperature, "normalise": self.normalise_losses, **text}


@dataclass(frozen=True)
class TrainingSpec:
    """What is learnt, and on top of what.

    There is one task, or with a `mixture` several. `on` is the composition below the new module;
    with `fuses`, the modules that it fuses. The head starts from that composition's (or the first
    of these modules'), where both are of one kind with the same labels, unless `fresh_head`.
    `start` is a module of an earlier stage, from whose weights this one goes on. With `text`, a
    file or folder, the task is to predict its masked words. `staged` says that it is one of several
    stages of one training. `named` is what the tasks were called, and `head` the kind of head for
    which files of rows were given in place of a task; both decide nothing.
    """

    tasks: tuple[TaskSpec, ...]
    on: ResolvedComposition | None = None
    fresh_head: bool = False
    start: Path | None = None
    fuses: bool = False
    mixture: Mixture | None = None
    text: Path | None = None
    staged: bool = False
    named: tuple[str, ...] = ()
    head: str = ""

    @property
    def fuses_loras(self) -> bool:
        """Whether it is a fusion with LoRAs among its modules."""
        below = self.on.methods.values() if self.on and self.fuses else ()
        return any(get_method(each).family == "lora" for each in below)

    @property
    def name(self) -> str:
        """What is learnt, in a word."""
        return MULTITASK if self.mixture else self.tasks[0].name

    def decides(self) -> dict[str, Any]:
        """What of it decides the weights, besides the data."""
        below = {
            "on": self.on.identity if self.on else "",
            "head_of_source": self.fuses and not self.fresh_head,
            "fresh_head": self.fresh_head,
            "start": ModuleRecord.read(self.start).run if self.start else "",
            "tasks": [task.name for task in self.tasks] if self.mixture else [],
            "mixture": self.mixture.decides() if self.mixture else {},
            "own": [task.identity for task in self.tasks if task.identity],
        }
        return {"task": self.name, **{key: value for key, value in below.items() if value}}


@dataclass(frozen=True)
class Request:
    """The arguments of `train_adapter`, with every default written out."""

    spec: TrainingSpec
    recipe: Recipe
    backbone: Backbone
    name: str
    folder: Path
    options: Settings

    def settings(self, recipe: Recipe) -> dict[str, Any]:
        """What was chosen, by names of options, as JSON has it; `recipe` is the completed one."""
        options, files = self.options, given_files(self.spec.tasks[0])
        splits: tuple[Split, ...] = ("train", "dev")
        own: dict[str, Any] = {
            "backbone": self.backbone.name,
            "data": options.data,
            "seed": options.seed,
            "limit": options.limit,
            "dev_limit": options.dev_limit,
            "skip_bad_rows": options.skip_bad_rows,
            **{f"{each}_file": str(files[each]) if each in files else None for each in splits},
            "on": self.spec.on.text if self.spec.on else None,
            "fresh_head": self.spec.fresh_head,
        }
        if mixture := self.spec.mixture:
            own |= {"tasks": [task.name for task in self.spec.tasks]}
            own |= {"temperature": mixture.temperature}
            own |= {"normalise_losses": mixture.normalise_losses}
            own |= {"mlm_share": mixture.text.share if mixture.text else None}
        return {**as_json(recipe), **own}

    @property
    def limits(self) -> dict[str, int]:
        """How many examples are drawn of each task, where a number was given."""
        numbers = {"limit": self.options.limit, "dev_limit": self.options.dev_limit}
        return {name: number for name, number in numbers.items() if number is not None}

    @property
    def work(self) -> Path:
        """The folder of the checkpoints."""
        return unfinished(self.folder)


logger = logging.getLogger(__name__)


def choose_recipe(
    recipe: str | PathLike[str] | Recipe, changes: Mapping[str, Any], usual: str = "default"
) -> Recipe:
    """A recipe, or the one of that name, with changes, which win; None leaves a field as it is.

    Refuses as `get_recipe`, and no passes at all.
    """
    if isinstance(recipe, os.PathLike):
        recipe = os.fspath(recipe)
    if not isinstance(recipe, (str, Recipe)):
        what = "a name, a YAML file or a Recipe was expected"
        raise UserError(f"recipe {shown(recipe)}: {what}")
    if changes.get("epochs") == 0:  # in a recipe, 0 leaves the number to the rule
        raise UserError("recipe: epochs must be above 0, not 0")
    return (get_recipe(recipe, usual) if isinstance(recipe, str) else recipe).replace(**changes)


def warn_of_other_method(recipe: str | PathLike[str] | Recipe, method: str | None) -> None:
    """Says so where a recipe file is for another method than the one that is asked for."""
    if isinstance(recipe, Recipe) or recipe in RECIPES or method is None:
        return
    other, chosen = get_recipe(text_of(recipe)).method, get_method(method).name
    if get_method(other).name != chosen:
        logger.warning(
            "%s is for the method %s: %s wins, and its other settings are kept",
            recipe,
            other,
            chosen,
        )


def default_folder(
    backbone: Backbone, name: str, on: ResolvedComposition | None, seed: int = 0
) -> Path:
    """Where a module lies in the zoo: `tydiqa-on-squad`, and of seed 1 `tydiqa-on-squad-s1`."""
    return backbone_folder(backbone) / with_seed(folder_name(name, on.text if on else ""), seed)


def module_name(spec: TrainingSpec, method: str) -> str:
    """What a module is called in compositions."""
    method = get_method(method).name  # however it was spelt
    usual = LANGUAGE_METHOD if spec.text else DEFAULT_METHOD
    return spec.name if method == usual else f"{spec.name}-{method}"


TRACKERS = frozenset(
    {"azure_ml", "clearml", "codecarbon", "comet_ml", "dagshub", "dvclive", "flyte", "mlflow"}
    | {"neptune", "swanlab", "tensorboard", "trackio", "wandb"}
)
"""Those of `transformers`, whose import takes seconds; a test compares the two lists."""


def check_numbers(*, seed: int, limit: int | None, dev_limit: int | None) -> None:
    """Refuses a seed or a number of examples that cannot be."""
    if not 0 <= seed <= LARGEST_SEED:
        raise UserError(f"seed must lie between 0 and {LARGEST_SEED}, not {seed}")
    for name, value in (("limit", limit), ("dev-limit", dev_limit)):
        if value is not None and value < 1:
            raise UserError(f"{name} must be above 0, not {value}")


def check_tracker(name: str) -> None:
    """Refuses an experiment tracker that transformers lacks or that is not installed."""
    if name in ("none", "all"):
        return
    there = sys.modules.get("transformers.integrations.integration_utils")
    if name not in TRACKERS and name not in getattr(there, "INTEGRATION_TO_CALLBACK", ()):
        raise unknown("tracker", name, ["none", "all", *TRACKERS])
    from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK

    try:
        INTEGRATION_TO_CALLBACK[name]()
    except (RuntimeError, ImportError) as error:
        raise UserError(f"report-to {name}: {' '.join(str(error).split())}") from error


def check_data(spec: TrainingSpec, where: str | None, *, test: bool = False) -> None:
    """Looks for every task's data, by names of files alone; refuses, naming all that have none."""
    if spec.text:
        return
    check_where(where)
    splits: tuple[Split, ...] = ("train", "dev", "test") if test else ("train", "dev")
    lacking: dict[str, UserError] = {}
    for task in spec.tasks:
        try:
            for split in splits:
                find_all(task, split, resolve_where(where))
        except UserError as error:
            lacking[task.name] = error
    if not lacking:
        return
    first = next(iter(lacking.values()))
    if len(spec.tasks) == 1:
        raise first
    left = ",".join(task.name for task in spec.tasks if task.name not in lacking)
    remedy = f"; without them: --tasks {left}" if left else ""
    raise UserError(f"no data for {', '.join(lacking)} ({first}){remedy}")


def complete(recipe: Recipe, spec: TrainingSpec, backbone: Backbone) -> Recipe:
    """The recipe with the defaults of task and backbone; `Job.with_schedule` adds the rate.

    Several tasks keep their own lengths, where none is given. The batches of a dual encoder hold
    `batch_examples` examples, however long: what else is in its batch is all that a query is told
    apart from. Refuses sequences too short or too long for the backbone, and nothing to train.
    """
    tasks = spec.tasks
    length = recipe.max_length or backbone.sequence_length(tasks[0].max_length)
    if length < SHORTEST:
        raise UserError(f"max-length must be at least {SHORTEST} tokens, not {length}")
    if length > backbone.max_length:
        raise UserError(
            f"max-length {length} is over the {backbone.max_length} tokens that backbone "
            f"'{backbone.name}' has positions for"
        )
    method, tokens = get_method(recipe.method).name, recipe.batch_tokens
    if not has_weights(tasks[0].head):
        if method == "head":
            raise UserError(f"task {tasks[0].name} has no head to train: choose another --method")
        tokens = max(tokens, recipe.batch_examples * 2 * padded_length(length))
    if len(tasks) > 1:
        length = recipe.max_length
    return recipe.replace(method=method, max_length=length, batch_tokens=tokens)


def check_method(spec: TrainingSpec, method: str, name: str) -> None:
    """Refuses a module of a kind that does not fit what it is to stand on."""
    get_method(method)
    if is_fusion(method) != spec.fuses:
        raise UserError(f"method '{method}' fuses modules: see `adstilts fuse`")
    if spec.on and not spec.fuses:
        on_top = build_stack(spec.on.expression, name)
        check_stackable(on_top, {**spec.on.methods, name: method})
