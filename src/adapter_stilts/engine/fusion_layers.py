"""What a fusion learns in one layer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from adapter_stilts.merging.arrow import prototype


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


class ArrowFusion(nn.Module):
    """LoRAs chosen by each token's input: no parameters; what the LoRAs respond to is kept."""

    def __init__(self) -> None:
        super().__init__()
        self._kept: tuple[Any, Tensor] | None = None

    def prototypes(self, sources: Sequence[Sequence[Any]]) -> Tensor:
        """`arrow.prototype` of what every source adds, a LoRA or several stacked ones: (n, d)."""
        own = [each for loras in sources for lora in loras for each in (lora.lora_A, lora.lora_B)]
        state = tuple((id(each), each._version, each.device) for each in own)
        if self._kept is None or self._kept[0] != state:
            with torch.inference_mode(False), torch.no_grad():
                found = torch.stack([prototype(*factors(loras)) for loras in sources])
            self._kept = state, found
        return self._kept[1]


def factors(loras: Sequence[Any]) -> tuple[Tensor, Tensor]:
    """The down- and up-projection, (R, d) and (e, R), of what stacked LoRAs add together."""
    return (
        torch.cat([lora.lora_A for lora in loras]),
        torch.cat([lora.lora_B * lora.scaling for lora in loras], 1),
    )


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
