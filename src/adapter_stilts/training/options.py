"""The options of every training, with their types and defaults: one place for Python and shell.

`RecipeChanges` has the fields of `Recipe`, and `Settings` the options that no recipe has. A test
compares them with each other. The command line takes its options, and their help, from here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from os import PathLike
from pathlib import Path
from typing import Any, TypedDict

from adapter_stilts.data.parts import Files
from adapter_stilts.tasks.spec import TargetSpec, TaskSpec
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

    recipe: str | PathLike[str] | Recipe
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

    data: str | PathLike[str] | None
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

    recipe: str | PathLike[str] | Recipe = "default"
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

    @property
    def files(self) -> Files:
        """The files of the user's own, by split."""
        named: Files = {"train": self.train_file, "dev": self.dev_file, "test": self.test_file}
        return {split: path for split, path in named.items() if path}

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Settings:
        """The settings among some options, which may name fields of a recipe, too."""
        names = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in options.items() if name in names})


def changes_in(options: Mapping[str, Any]) -> dict[str, Any]:
    """The changes to a recipe among some options."""
    return {name: options[name] for name in RecipeChanges.__annotations__ if name in options}


class MergeOptions(TypedDict, total=False):
    """The options of `merge`.

    Attributes:
        how: the way of merging: `average`, `linear` (weighted mean), `task-arithmetic` (weighted
            sum), `ties`, `dare-ties`, `slerp`, or one of a plug-in. By default it is `average`,
            and in a search `task-arithmetic`.
        weights: one number for each module, such as 0.3,0.7; in a search, where it begins.
        density: the fraction of the values that `ties` and `dare-ties` keep; by default 0.5.
        lora: whether LoRAs are merged by `products` or by `factors`.
        rank: the rank of a LoRA merged by products; 0 takes the largest of the sources.
        head: the module whose head the merged one gets, of a module of several tasks such as
            `multitask:squad`; by default it has none.
        search: find the weights on a few examples of the target, without gradients (LoraHub, Huang
            et al. 2023). The head is that of the source that fits the target; where none does,
            one is trained briefly on top of the average.
        target: the target task to search on, such as `tydiqa`; needed for a search, and only there.
        examples: so many examples of the target's English training data are searched on.
        budget: so many weights are tried at most.
        data: where the target's data is: `hub`, `sample` (bundled), or a folder with official
            files.
        name: the name of the merged module; by default it says what was merged.
        backbone: chooses among modules of one name, and says where the backbone lies if it has
            moved.
        precision: the precision of the trunk in a search: `auto`, `bf16` or `fp32`.
        seed: the number that decides what is drawn at random: values to drop, examples, weights to
            try.
        out: the folder of the module; by default `ZOO/BACKBONE/NAME`.
        overwrite: replace a module that lies there.
        quiet: show no progress bar.
    """

    how: str | None
    weights: Sequence[float] | None
    density: float | None
    lora: str
    rank: int
    head: str | Path | None
    search: bool
    target: str | Path | TargetSpec | TaskSpec | None
    examples: int
    budget: int
    data: str | PathLike[str] | None
    name: str | None
    backbone: str | PathLike[str] | None
    precision: str
    seed: int
    out: str | Path | None
    overwrite: bool
    quiet: bool


@dataclass(frozen=True)
class MergeRequest:
    """The same with every default."""

    how: str | None = None
    weights: Sequence[float] | None = None
    density: float | None = None
    lora: str = "products"
    rank: int = 0
    head: str | Path | None = None
    search: bool = False
    target: str | Path | TargetSpec | TaskSpec | None = None
    examples: int = 64
    budget: int = 60
    data: str | None = None
    name: str | None = None
    backbone: str | None = None
    precision: str = "auto"
    seed: int = 0
    out: str | Path | None = None
    overwrite: bool = False
    quiet: bool = False
