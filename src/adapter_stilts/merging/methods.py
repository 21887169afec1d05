"""The built-in ways of merging: pure functions of tensors and weights.

`tensors` are one parameter of all modules, of one shape, which the result has, too; `weights` are
(modules,).

`density` is the fraction of each module's values that sparse methods keep. Signs are elected before
the weights come in, so that the result is linear in the weights. It is divided by the number of
modules that agree, which makes it a kind of mean whatever the weights are.
"""

from __future__ import annotations

import warnings
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


@merge_method(form="linear", averages=True)
def ties(tensors: Sequence[Tensor], weights: Tensor, *, density: float = 0.5) -> Tensor:
    """Only the largest values, and of these only the majority's sign (Yadav et al. 2023).

    "TIES-Merging: Resolving Interference When Merging Models", arXiv:2306.01708.
    """
    from peft.utils import merge_utils

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a density of 1 drops nothing
        merged: Tensor = merge_utils.ties(list(tensors), weights, density)
    return merged


@merge_method(form="linear", averages=True)
def dare_ties(
    tensors: Sequence[Tensor], weights: Tensor, *, density: float = 0.5, seed: int = 0
) -> Tensor:
    """TIES over values dropped at random and rescaled (Yu et al. 2024).

    "Language Models are Super Mario: Absorbing Abilities from Homologous Models as a Free Lunch",
    arXiv:2311.03099.
    """
    import torch
    from peft.utils import merge_utils

    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a density of 1 drops nothing
        torch.manual_seed(seed)
        merged: Tensor = merge_utils.dare_ties(list(tensors), weights, density)
    return merged


@merge_method(mean=True, most=2, signed=False)
def slerp(tensors: Sequence[Tensor], weights: Tensor) -> Tensor:
    """Two modules along the arc between them.

    The tensors are taken as vectors; the weights say how far from the first to the second.
    Direction and length are interpolated apart, and two (nearly) parallel tensors linearly
    (Shoemake 1985, "Animating Rotation with Quaternion Curves").
    """
    first, second = (tensor.double() for tensor in tensors)
    place = float(weights[1] / weights.sum())
    lengths = first.norm(), second.norm()
    straight = first.lerp(second, place)
    if min(lengths) == 0:
        return straight
    angle = (first / lengths[0] * (second / lengths[1])).sum().clamp(-1.0, 1.0).acos()
    if angle.sin() < 1e-6:
        return straight
    direction = (
        ((1 - place) * angle).sin() * first / lengths[0]
        + (place * angle).sin() * second / lengths[1]
    ) / angle.sin()
    merged: Tensor = direction * lengths[0].lerp(lengths[1], place)
    return merged
