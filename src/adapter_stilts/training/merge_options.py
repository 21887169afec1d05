"""The options of `merge`, with their types and defaults."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from adapter_stilts.tasks.spec import TaskSpec
from adapter_stilts.tasks.target_spec import TargetSpec


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
    data: str | None
    name: str | None
    backbone: str | None
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
