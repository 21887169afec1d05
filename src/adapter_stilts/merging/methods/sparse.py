"""Merges that keep a part of each module's values, and of these those with the majority's sign.

`density` is the fraction that is kept. Signs are elected before the weights come in, so that the
result is linear in the weights. It is divided by the number of modules that agree, which makes it
a kind of mean whatever the weights are.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

from adapter_stilts.merging.registry import merge_method

if TYPE_CHECKING:
    from torch import Tensor


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
