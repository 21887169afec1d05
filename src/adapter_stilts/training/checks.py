"""What is asked of a training, checked and written out in full; nothing heavy is imported."""

from __future__ import annotations

import sys

from adapter_stilts.backbones import Backbone
from adapter_stilts.data.load import check_where, find_all, resolve_where
from adapter_stilts.engine.composition import stacked
from adapter_stilts.engine.methods import get_method, is_fusion
from adapter_stilts.engine.stacking import check_stackable
from adapter_stilts.errors import UserError, unknown
from adapter_stilts.heads import has_weights
from adapter_stilts.heads.sequences import padded_length
from adapter_stilts.tasks.spec import SHORTEST, Split
from adapter_stilts.training.recipe import Recipe
from adapter_stilts.training.spec import TrainingSpec
from adapter_stilts.zoo.names import LARGEST_SEED

TRACKERS = frozenset(
    {"azure_ml", "clearml", "codecarbon", "comet_ml", "dagshub", "dvclive", "flyte", "mlflow"}
    | {"neptune", "swanlab", "tensorboard", "trackio", "wandb"}
)
"""Those of `transformers`, whose import takes seconds; a test compares the two lists."""


def check_numbers(*, seed: int, limit: int | None, dev_limit: int | None) -> None:
    """Refuses a seed or a number of examples that cannot be.

    Raises:
        UserError: names it.
    """
    if not 0 <= seed <= LARGEST_SEED:
        raise UserError(f"seed must lie between 0 and {LARGEST_SEED}, not {seed}")
    for name, value in (("limit", limit), ("dev-limit", dev_limit)):
        if value is not None and value < 1:
            raise UserError(f"{name} must be above 0, not {value}")


def check_tracker(name: str) -> None:
    """Refuses an experiment tracker that transformers lacks or that is not installed.

    Raises:
        UserError: says which.
    """
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
    """Looks for the data of every task, by the names of files alone.

    Raises:
        UserError: the folder is not there, or lacks files. Of several tasks it names all that have
            none, and what can be trained without them.
    """
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


def completed(recipe: Recipe, spec: TrainingSpec, backbone: Backbone) -> Recipe:
    """The recipe with the defaults of task and backbone written out (`scheduled` adds the rate).

    Several tasks keep their own lengths, where none is given. The batches of a dual encoder hold
    `batch_examples` examples, however long: what else is in its batch is all that a query is told
    apart from.

    Raises:
        UserError: sequences too short, or longer than the backbone has positions for; or nothing
            to train.
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
    """Refuses a module of a kind that does not fit what it is to stand on.

    Raises:
        UserError: says which.
    """
    get_method(method)
    if is_fusion(method) != spec.fuses:
        raise UserError(f"method '{method}' fuses modules: see `adstilts fuse`")
    if spec.on and not spec.fuses:
        on_top = stacked(spec.on.expression, name)
        check_stackable(on_top, {**spec.on.methods, name: method})
