"""Weighted sums and means of tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from adapter_stilts.merging.registry import merge_method

if TYPE_CHECKING:
    from torch import Tensor


@merge_method(form="sum", mean=True, weighted=False)
def average(tensors: Sequence[Tensor], weights: Tensor) -> Tensor:
    """The mean of the modules."""
    return task_arithmetic(tensors, weights)


@merge_method(form="sum", mean=True)
def linear(tensors: Sequence[Tensor], weights: Tensor) -> Tensor:
    """A weighted mean: weights are made to add up to 1."""
    return task_arithmetic(tensors, weights)


@merge_method(form="sum")
def task_arithmetic(tensors: Sequence[Tensor], weights: Tensor) -> Tensor:
    """A weighted sum (Ilharco et al. 2023).

    "Editing Models with Task Arithmetic", arXiv:2212.04089.
    """
    from peft.utils import merge_utils

    merged: Tensor = merge_utils.task_arithmetic(list(tensors), weights)
    return merged
