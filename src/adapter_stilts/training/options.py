"""The options of every training, with their types and defaults: one place for Python and shell.

`RecipeChanges` has the fields of `Recipe`, and `Settings` the options that no recipe has. A test
compares them with each other. The command line takes its options, and their help, from here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypedDict

from adapter_stilts.training.recipe import Activations, Keep, Recipe, Unfreeze


class RecipeChanges(TypedDict, total=False):
    """The fields of a recipe that a call changes; None leaves a field as the recipe has it.

    `Recipe` says what each one means.
    """

    method: str | None
    epochs: float | None
    steps: int | None
    min_steps: int | None
    lr: float | None
    batch_tokens: int | None
    batch_examples: int | None
    accumulate: int | None
    max_length: int | None
    stride: int | None
    warmup: float | None
    weight_decay: float | None
    max_grad_norm: float | None
    unfreeze: Unfreeze | None
    unfreeze_fraction: float | None
    leave_out: Sequence[int] | None
    reduction_factor: int | None
    rank: int | None
    alpha: int | None
    head_dropout: float | None
    evaluations: int | None
    keep: Keep | None
    average_last: int | None
    patience: int | None
    precision: str | None
    activations: Activations | None


class RunOptions(RecipeChanges, total=False):
    """The options that every training takes, besides the fields of its recipe.

    Attributes:
        recipe: the hyper-parameters: `default`, `top-down`, `demo`, or a YAML file, such as the
            recipe.yaml beside a module. Other options win over it. In Python, a `Recipe`, too.
        seed: the number that decides the initial weights and the order of the examples.
        limit: so many examples are drawn at random from the training data of each task.
        dev_limit: so many are drawn at random from the dev data of each task.
        out: the folder of the module; by default `ZOO/BACKBONE/TASK[-METHOD]`, with `-sSEED` at
            its end for another seed than 0.
        resume: continue an interrupted run of the same settings.
        overwrite: replace a module or an unfinished run that lies at `out`.
        report_to: an experiment tracker, as `transformers.TrainingArguments` takes it; what it
            writes as files goes to a folder beside the module.
        quiet: show no progress bar.
        series: all seeds of the series that this training belongs to (`train_seeds`): their
            folders are checked before the first training takes its time.
    """

    recipe: str | Recipe
    seed: int
    limit: int | None
    dev_limit: int | None
    out: str | Path | None
    resume: bool
    overwrite: bool
    report_to: str
    quiet: bool
    series: Sequence[int]


class DataOptions(RunOptions, total=False):
    """The options of every training that reads the data of tasks.

    Attributes:
        data: where the data is: `hub`, `sample` (bundled), or a folder with official files. By
            default it is the folder that `ADSTILTS_DATA` names, or else the Hub.
        skip_bad_rows: leave out training rows that cannot be used, such as questions whose answer
            is not at its offset, and say how many. Otherwise such rows are refused.
    """

    data: str | None
    skip_bad_rows: bool


class TrainingOptions(DataOptions, total=False):
    """The options of `train_adapter`, `train_target` and `fuse`.

    Attributes:
        train_file: rows of your own to learn from, in place of the task's training data.
        dev_file: rows of your own to score on during the training, in place of the task's.
        test_file: rows of your own on which the finished module is scored, once.
    """

    train_file: str | Path | None
    dev_file: str | Path | None
    test_file: str | Path | None


AnyOptions = RunOptions | DataOptions | TrainingOptions


@dataclass(frozen=True)
class Settings:
    """The options of a training that no recipe has, with every default."""

    recipe: str | Recipe = "default"
    seed: int = 0
    limit: int | None = None
    dev_limit: int | None = None
    out: str | Path | None = None
    resume: bool = False
    overwrite: bool = False
    report_to: str = "none"
    quiet: bool = False
    series: Sequence[int] = ()
    data: str | None = None
    skip_bad_rows: bool = False
    train_file: str | Path | None = None
    dev_file: str | Path | None = None
    test_file: str | Path | None = None

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Settings:
        """The settings among some options, which may name fields of a recipe, too."""
        names = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in options.items() if name in names})


def changes_in(options: Mapping[str, Any]) -> dict[str, Any]:
    """The changes to a recipe among some options."""
    return {name: options[name] for name in RecipeChanges.__annotations__ if name in options}
