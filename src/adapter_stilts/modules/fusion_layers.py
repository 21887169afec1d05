"""What a fusion learns in one layer."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn


class LeanFusion(nn.Module):
    """Queries and keys of low rank, no value matrix; begins as the mean of the modules.

    At a sixteenth of the width, query and key have 1/24 of the parameters of a full fusion.
    """

    def __init__(self, width: int, rank: int) -> None:
        super().__init__()
        self.query = nn.Linear(width, rank)
        self.key = nn.Linear(width, rank, bias=False)
        nn.init.zeros_(self.key.weight)
        self.scale = 1.0 / math.sqrt(rank)


class UniformFusion(nn.Module):
    """The mean of the modules: no parameters."""


class LoraFusion(nn.Module):
    """Attention over the LoRAs of one linear layer; begins as their mean.

    Queries come from the layer's input, keys from every LoRA's low-rank activations, values are
    the LoRAs' outputs.
    """

    def __init__(self, width: int, ranks: Sequence[int], rank: int) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.empty(rank, width))
        self.key = nn.Parameter(torch.zeros(rank, sum(ranks)))
        nn.init.kaiming_uniform_(self.query, a=math.sqrt(5))
        self.scale = 1.0 / math.sqrt(rank)
