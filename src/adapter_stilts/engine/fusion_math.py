"""How much several low-rank modules count at every token, by attention or by Arrow; pure functions.

Attention has every full-width product folded away. Module i adds u_i = U_i a_i + b_i to the hidden
states, a_i being its r_i activations. Fusion (Pfeiffer et al. 2021, section 3.2) weighs the modules
by the softmax over i of q . k_i, where q = Q x + c_q and k_i = K u_i + c_k, and adds the sum of p_i
V u_i. The library computes k_i and V u_i for every token and module at full width. But u_i has rank
r_i only, so

    q . k_i = (x M + m)_i . a_i + x n_i + o_i + (the same for all i)
    sum_i p_i V u_i = sum_i p_i a_i (V U_i)^T + sum_i p_i V b_i

with M = Q^T K U, m = c_q K U, n = Q^T K b and o = c_q K b, which do not depend on the token.

Arrow chooses every token's LoRAs by what they respond to, without training (Ostapenko et al. 2024,
"Towards Modular LLMs by Building and Reusing a Library of LoRAs", arXiv:2405.11157, section 4).
`peft.tuners.lora.arrow` has the same arithmetic, tied to peft's own layers, to LoRAs of one rank,
and to all layers of one name. Its prototypes are 15 steps of a power iteration from a random start,
which stay short of the singular vector where the next singular value is close; here they are exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import linear


class Folded(NamedTuple):
    """What is left of a fusion over n modules with R activations in all, d wide, e wide outputs.

    Attributes:
        query: M, shape (d, R); `query_bias`: m, (R,). None where all modules weigh the same.
        bias_query: n, (d, n); `bias_score`: o, (n,). None where modules have no bias.
        up: (R, e), rows V U; `up_bias`: (n, e), rows V b, or None.
        segments: (R, n), 1 where an activation belongs to a module.
    """

    query: Tensor | None
    query_bias: Tensor | None
    bias_query: Tensor | None
    bias_score: Tensor | None
    up: Tensor
    up_bias: Tensor | None
    segments: Tensor


def segments_of(ranks: Sequence[int], like: Tensor) -> Tensor:
    """Which activation belongs to which module: (sum of ranks, n), ones and zeros."""
    owners = torch.repeat_interleave(
        torch.arange(len(ranks)), torch.tensor(list(ranks), dtype=torch.long)
    )
    return torch.nn.functional.one_hot(owners, len(ranks)).to(device=like.device, dtype=like.dtype)


def fold(
    query: tuple[Tensor, Tensor | None] | None,
    key: Tensor | None,
    value: Tensor | None,
    up: Tensor,
    up_bias: Tensor | None,
    segments: Tensor,
    *,
    scale: float = 1.0,
) -> Folded:
    """Folds a fusion's matrices into the modules' up-projections.

    Args:
        query: Q, (k, d), and its bias (k,); None weighs all modules the same.
        key: K, (k, e), over the modules' outputs.
        value: V, (e, e); None is the identity.
        up: U of all modules side by side, (e, R).
        up_bias: b, (n, e).
        segments: as of `segments_of`.
        scale: factor of the scores.
    """
    rows, biases = up.T, up_bias
    if value is not None:
        rows, biases = linear(rows, value), None if up_bias is None else linear(up_bias, value)
    if query is None or key is None:
        return Folded(None, None, None, None, rows, biases, segments)
    weight, bias = query
    keys = key @ up * scale  # (k, R)
    key_biases = None if up_bias is None else linear(up_bias, key) * scale  # (n, k)
    return Folded(
        weight.T @ keys,
        None if bias is None else bias @ keys,
        None if key_biases is None else weight.T @ key_biases.T,
        None if key_biases is None or bias is None else key_biases @ bias,
        rows,
        biases,
        segments,
    )


def attention(x: Tensor, activations: Tensor, folded: Folded) -> Tensor:
    """How much every module counts at every token.

    Args:
        x: what asks, (..., d).
        activations: of all modules, (..., R).

    Returns:
        Shape (..., n), adding up to 1.
    """
    count = folded.segments.shape[1]
    if folded.query is None:
        return activations.new_full((*activations.shape[:-1], count), 1.0 / count)
    asked = x @ folded.query
    if folded.query_bias is not None:
        asked = asked + folded.query_bias
    scores = (asked * activations) @ folded.segments
    if folded.bias_query is not None:
        scores = scores + x @ folded.bias_query
    if folded.bias_score is not None:
        scores = scores + folded.bias_score
    return scores.float().softmax(-1).to(activations.dtype)


def mix(activations: Tensor, weights: Tensor, folded: Folded) -> Tensor:
    """What the modules add together, (..., e), given how much each counts."""
    added = (weights @ folded.segments.T * activations) @ folded.up
    return added if folded.up_bias is None else added + weights @ folded.up_bias


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
