"""Merges that wait for their weights, of tensors and of factors of LoRAs; the search for these.

Bottleneck modules are merged tensor by tensor, LoRAs by the products of their factors or factor by
factor. Most methods are linear in the weights, once it is settled which values are kept. So what
does not depend on the weights is done once, and a *blend* turns weights into a merge: a search
over weights asks it again and again.

The weights are found without gradients (LoraHub, Huang et al. 2023, arXiv:2307.13269): the loss,
with a penalty for large weights, is minimised by CMA-ES (Hansen and Ostermeier 2001, the package
`cma`).
"""

from __future__ import annotations

import hashlib
import inspect
import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from adapter_stilts.errors import UserError
from adapter_stilts.merging.methods import MERGES, MergeMethod
from adapter_stilts.registered import name_failures_of

Blend = Callable[[Tensor], Tensor]
"""From one weight for each module, (N,), to the merged tensor."""


class Factors(NamedTuple):
    """The LoRA of one linear layer, whose update is scaling * b @ a: a (r, in), b (out, r)."""

    a: Tensor
    b: Tensor
    scaling: float


FactorBlend = Callable[[Tensor], tuple[Tensor, Tensor]]
"""From weights to merged factors a (rank, in) and b (out, rank) of scaling 1."""


def blend(
    how: str, tensors: Sequence[Tensor], *, density: float = 1.0, seed: int = 0, key: str = ""
) -> Blend:
    """A merge of tensors of one shape that waits for its weights; by `key` they drop elsewhere."""
    method = MERGES[how]
    number = int.from_bytes(hashlib.sha256(f"{seed} {key}".encode()).digest()[:6])
    options = {"density": density, "seed": number}
    tensors = [tensor.detach().float().cpu() for tensor in tensors]
    if method.form == "any":
        return lambda weights: apply(method, tensors, weights, options)
    # Each weight alone gives what its tensor adds at weight 1.
    alone = torch.eye(len(tensors))
    parts = torch.stack([apply(method, tensors, one, options) for one in alone])
    return lambda weights: torch.tensordot(weights.to(parts.dtype), parts, 1)


def apply(
    method: MergeMethod, tensors: Sequence[Tensor], weights: Tensor, options: dict[str, Any]
) -> Tensor:
    """What a method makes of tensors of one shape, with those options that it has keywords for.

    Refuses a function that fails, or returns something else than a tensor of that shape.
    """
    keywords = inspect.signature(method.function).parameters
    given = {name: value for name, value in options.items() if name in keywords}
    named = f"{method.place}: merge method '{method.name}'"
    with name_failures_of(named):
        merged = method.function([tensor.clone() for tensor in tensors], weights.clone(), **given)
    shape = tuple(tensors[0].shape)
    if not isinstance(merged, Tensor):
        raise UserError(
            f"{named} returns {type(merged).__name__}: it must return one tensor of shape {shape}"
        )
    if tuple(merged.shape) != shape or not merged.is_floating_point():
        found = f"shape {tuple(merged.shape)} and type {merged.dtype}"
        raise UserError(
            f"{named} returns a tensor of {found}: it must return one of shape {shape}, the "
            "shape of its modules' tensors, of floating-point numbers"
        )
    if merged.layout is not torch.strided or merged.is_meta:
        what = "that has no values" if merged.is_meta else f"of layout {merged.layout}"
        raise UserError(f"{named} returns a tensor {what}: it must return a dense one with values")
    return merged.detach().cpu().to(tensors[0].dtype)


def blend_products(
    how: str,
    loras: Sequence[Factors],
    *,
    rank: int,
    density: float = 1.0,
    seed: int = 0,
    key: str = "",
) -> FactorBlend:
    """LoRAs of one linear layer, merged as the updates they stand for.

    Merging A and B apart would mix every A with every B. Here the products s B A are merged and
    cut back to `rank` by their largest singular values, which no other update of that rank comes
    nearer to (Eckart and Young 1936). Ranks may differ.
    """
    loras = [Factors(x.a.detach().cpu(), x.b.detach().cpu(), x.scaling) for x in loras]
    if MERGES[how].form == "sum":
        return _blend_sums(loras, rank)
    updates = [(x.b.double() @ x.a.double()).float() * x.scaling for x in loras]
    whole = blend(how, updates, density=density, seed=seed, key=key)

    def merge(weights: Tensor) -> tuple[Tensor, Tensor]:
        u, values, v = torch.linalg.svd(whole(weights), full_matrices=False)
        return _cut(u, values, v, rank)

    return merge


def _blend_sums(loras: Sequence[Factors], rank: int) -> FactorBlend:
    """The same for sums of products, whose rank is no more than all ranks together.

    With all B side by side = Q R and all A, transposed, = P S, the sum is Q (R w S^T) P^T: its
    singular values are those of a matrix as small as that.
    """
    q, r = torch.linalg.qr(torch.cat([x.b.double() * x.scaling for x in loras], 1))
    p, s = torch.linalg.qr(torch.cat([x.a.double() for x in loras]).T)
    sizes = torch.tensor([x.a.shape[0] for x in loras])

    def merge(weights: Tensor) -> tuple[Tensor, Tensor]:
        core = r * weights.double().repeat_interleave(sizes) @ s.T
        u, values, v = torch.linalg.svd(core, full_matrices=False)
        return _cut(q @ u, values, v @ p.T, rank)

    return merge


def _cut(u: Tensor, values: Tensor, v: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """The largest `rank` singular values, half of each in either factor; zeros where it has less.

    `u`, `values` and `v` are (out, n), (n,) and (n, in).
    """
    root = values[:rank].sqrt()
    a, b = root[:, None] * v[:rank], u[:, :rank] * root
    lacking = rank - len(root)
    a = torch.cat([a, a.new_zeros(lacking, a.shape[1])])
    b = torch.cat([b, b.new_zeros(b.shape[0], lacking)], 1)
    return a.float(), b.float()


def blend_factors(
    how: str, loras: Sequence[Factors], *, density: float = 1.0, seed: int = 0, key: str = ""
) -> FactorBlend:
    """LoRAs of one layer and rank, A and B merged apart, as LoraHub does (Huang et al. 2023).

    The weights, and their signs, are B's; A is a mean by their size. So one LoRA at weight w is
    w s B A, and one merged with itself is itself. (LoraHub, with the weights in both factors,
    would give w^2 s B A; peft, with their roots in both, doubles a LoRA averaged with itself.)
    """
    first = blend(how, [x.a for x in loras], density=density, seed=seed, key=f"{key}.A")
    scaled = [x.b.detach() * x.scaling for x in loras]
    second = blend(how, scaled, density=density, seed=seed, key=f"{key}.B")
    share = len(loras) if MERGES[how].averages else 1

    def merge(weights: Tensor) -> tuple[Tensor, Tensor]:
        sizes = weights.abs()
        return first(sizes * share / sizes.sum()), second(weights)

    return merge


PENALTY = 0.05
"""On the mean size of the weights, as in LoraHub."""
LARGEST = 1.5
"""No weight is larger, nor below its negative (LoraHub); where signs are not free, below 0."""
DIGITS = 4
"""Points are tried as they are written down later: rounded to so many digits."""
_STEP = 0.3
_WRONG = 1e9

Point = tuple[float, ...]


@dataclass(frozen=True)
class Found:
    """What a search found: weights, and the losses without penalty.

    `penalised` is what was minimised, before and after: it never rises, as a loss may where
    smaller weights do nearly as well. `evaluations` counts the weights that were tried.
    """

    weights: Point
    loss_before: float
    loss_after: float
    penalised: tuple[float, float]
    evaluations: int


def search_weights(
    loss: Callable[[Point], float],
    method: MergeMethod,
    count: int,
    *,
    start: Sequence[float] = (),
    budget: int,
    seed: int,
) -> Found:
    """Searches the weights of a merge of `count` modules.

    `loss` is that of the merge with these weights; those of a mean add up to 1. The search begins
    at `start`, by default at an equal share for each.
    """
    losses: dict[Point, float] = {}

    def counting(weights: Point) -> Point:
        total = sum(weights) if method.mean else 1.0
        return tuple(weight / total for weight in weights)

    def penalised(weights: Point) -> float:
        return losses[weights] + PENALTY * sum(map(abs, counting(weights))) / count

    def tried(weights: Point) -> float:
        if weights not in losses:
            if not any(weights) or (method.mean and sum(weights) <= 1e-3):
                return math.inf
            losses[weights] = loss(counting(weights))
        return penalised(weights)

    # Sums begin as the mean.
    share = 1.0 if method.averages else round(1 / count, DIGITS)
    bounds = (0.0 if method.mean else -LARGEST, LARGEST)
    first = [min(max(each, bounds[0]), bounds[1]) for each in start or (share,) * count]
    best = minimise(tried, first, bounds=bounds, budget=budget, seed=seed)
    begun = next(iter(losses))
    return Found(
        weights=best,
        loss_before=losses[begun],
        loss_after=losses[best],
        penalised=(penalised(begun), penalised(best)),
        evaluations=len(losses),
    )


def minimise(
    function: Callable[[Point], float],
    start: Sequence[float],
    *,
    bounds: tuple[float, float],
    budget: int,
    seed: int,
) -> Point:
    """The best point found with `budget` evaluations at most, the start among them.

    A value of `function` that is not finite counts as very bad; `start` has two numbers or more.
    The same `seed` finds the same point.
    """
    best = _round(start)
    lowest = _finite(function(best))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it cannot plot without matplotlib
        import cma
    options = {"bounds": list(bounds), "seed": seed + 1, "verbose": -9, "verb_log": 0}
    state = np.random.get_state()  # `cma` draws from, and seeds, NumPy's one generator
    try:
        search = cma.CMAEvolutionStrategy(list(start), _STEP, options)
        for _ in range((budget - 1) // search.popsize):
            points = search.ask()
            tried = [_round(point) for point in points]
            values = [_finite(function(point)) for point in tried]
            search.tell(points, values)
            if min(values) < lowest:
                lowest = min(values)
                best = tried[values.index(lowest)]
            if search.stop():
                break
    finally:
        np.random.set_state(state)
    return best


def _round(point: Sequence[float]) -> Point:
    return tuple(round(float(value), DIGITS) for value in point)


def _finite(value: float) -> float:
    return value if math.isfinite(value) else _WRONG
