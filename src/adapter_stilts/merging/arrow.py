"""Arrow: every token's LoRAs chosen by what they respond to, without training.

Ostapenko et al. 2024, "Towards Modular LLMs by Building and Reusing a Library of LoRAs"
(arXiv:2405.11157), section 4. `peft.tuners.lora.arrow` has the same arithmetic, tied to peft's own
layers, to LoRAs of one rank, and to all layers of one name. Its prototypes are 15 steps of a power
iteration from a random start, which stay short of the singular vector where the next singular
value is close; here they are exact.
"""

from __future__ import annotations

import torch
from torch import Tensor

TOP = 3
"""How many LoRAs a token gets at most (peft's default)."""
TEMPERATURE = 1.0
"""Of the softmax over these (peft's default)."""


def prototype(down: Tensor, up: Tensor) -> Tensor:
    """The input direction that an update changes most: its first right singular vector.

    It is found in the update's low-rank space: with A' = Q R and B'B = C, the right singular
    vectors of BA are Q times the eigenvectors of R C R'.

    Args:
        down: A, (r, d).
        up: B, (e, r), with the update's scaling.

    Returns:
        Shape (d,), of length 1, its sign arbitrary; zeros where the update is nothing.
    """
    basis, triangle = torch.linalg.qr(down.double().T)
    factor = up.double()
    values, vectors = torch.linalg.eigh(triangle @ (factor.T @ factor) @ triangle.T)
    first: Tensor = basis @ vectors[:, -1] * (values[-1] > 0)
    return first.to(down.dtype)


def route(
    x: Tensor, prototypes: Tensor, *, top: int = TOP, temperature: float = TEMPERATURE
) -> Tensor:
    """How much every LoRA counts at every token: the softmax of |v'x| over the `top` largest.

    Args:
        x: a layer's inputs, (..., d).
        prototypes: v of each of n LoRAs, (n, d).

    Returns:
        Shape (..., n), adding up to 1; LoRAs below the `top` largest have 0.
    """
    with torch.autocast(x.device.type, enabled=False):
        likeness = (x.float() @ prototypes.float().T).abs()
        best, places = likeness.topk(min(top, len(prototypes)), -1)
        scores = torch.full_like(likeness, -torch.inf).scatter(-1, places, best)
        return (scores / temperature).softmax(-1)
