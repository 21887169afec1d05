"""A fusion's forward pass: all its sources as a few products, and who is told what it attends to.

A source is a module, or a stack of modules. It counts as what it adds by itself: a fusion with all
its weight on one source computes what that source computes alone. (The library's own `Fuse` norms
the input of a stack twice, and drops what all but its last module add.)

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

import itertools
import math
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from adapters.composition import Fuse
from adapters.methods.bottleneck import BottleneckLayer
from adapters.methods.modeling import Adapter, ParallelAdapter
from torch import Tensor, nn
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
    return nn.functional.one_hot(owners, len(ranks)).to(device=like.device, dtype=like.dtype)


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


class Attended(NamedTuple):
    """What one layer of a fusion attended to.

    Attributes:
        fusion: its name in the engine.
        layer: number of the trunk's layer.
        sources: which of the fusion's sources, by number, have a module in this layer.
        weights: (batch, tokens, sources), adding up to 1.
    """

    fusion: str
    layer: int
    sources: tuple[int, ...]
    weights: Tensor


Watcher = Callable[[Attended], None]
_watchers: list[Watcher] = []


@contextmanager
def watching(watcher: Watcher) -> Iterator[None]:
    """Tells `watcher` the attention of every fusion layer that runs inside the block."""
    _watchers.append(watcher)
    try:
        yield
    finally:
        _watchers.remove(watcher)


class _Sources(NamedTuple):
    """The sources that a layer has modules of: their numbers, and their modules' names."""

    numbers: tuple[int, ...]
    names: tuple[tuple[str, ...], ...]


def _present(setup: Fuse, there: Container[str]) -> _Sources:
    every = [(child,) if isinstance(child, str) else tuple(child) for child in setup]
    found = [tuple(name for name in source if name in there) for source in every]
    numbers = tuple(number for number, source in enumerate(found) if source)
    return _Sources(numbers, tuple(found[number] for number in numbers))


def _watch(layer: Any, setup: Fuse, sources: _Sources, weights: Tensor) -> Tensor:
    for watcher in _watchers:
        told = Attended(setup.name, int(layer.layer_idx), sources.numbers, weights.detach())
        watcher(told)
    return weights


def fuse_loras(layer: Any, setup: Fuse, state: Any, lvl: int = 0) -> Any:
    """The LoRAs' updates of the layer's input, weighed token by token; those of a stack add up."""
    sources = _present(setup, layer.loras)
    if not sources.names:
        return state
    groups = [[layer.loras[name] for name in source] for source in sources.names]
    fusion = layer.fusions[setup.name]
    down, up = factors([lora for group in groups for lora in group])
    segments = segments_of([sum(lora.lora_A.shape[0] for lora in group) for group in groups], down)
    x = state.layer_input
    folded = Folded(None, None, None, None, up.T, None, segments)
    if isinstance(fusion, LoraFusion):
        folded = folded._replace(query=fusion.query.T @ fusion.key * fusion.scale)
    activations = x @ down.T
    if isinstance(fusion, ArrowFusion):
        attended = route(x, fusion.prototypes(groups)).to(activations.dtype)
    else:
        attended = attention(x, activations, folded)
    weights = _watch(layer, setup, sources, attended)
    hidden = mix(activations, weights, folded)
    return state._replace(hidden_states=hidden, last=sources.names[-1][-1])


def fuse_bottlenecks(layer: Any, setup: Fuse, state: Any, lvl: int = 0) -> Any:
    """All down-projections as one product, all up-projections with keys and values as another.

    Adapters that are more than two projections go the library's way, where it has one for this
    kind of fusion (else `NotImplementedError`).
    """
    sources = _present(setup, layer.adapters)
    if not sources.names:
        return state
    adapters = [[layer.adapters[name] for name in source] for source in sources.names]
    fusion = layer.adapter_fusion_layer[setup.name]
    if not all(_is_plain(each) for group in adapters for each in group):
        if isinstance(fusion, (LeanFusion, UniformFusion)):
            raise NotImplementedError("lean and uniform fusion take plain bottleneck modules")
        return BottleneckLayer.compose_fuse(layer, setup, state, lvl)
    config, _ = layer.adapters_config.get_fusion(setup.name)
    last = adapters[-1][-1]
    hidden, query, residual = last.pre_forward(
        state.hidden_states, state.input_tensor, state.layer_norm, fusion_config=config
    )
    folded = _fold(layer, setup.name, sources.names, adapters, fusion)
    activations = _activations(adapters, hidden, residual, state)
    weights = _watch(layer, setup, sources, attention(query, activations, folded))
    added = mix(activations, weights, folded)
    # What passes by a parallel adapter is added after it.
    total = added if isinstance(last, ParallelAdapter) else added + residual
    name = sources.names[-1][-1]
    return state._replace(hidden_states=total, adapter_residual=residual, last=name)


def _activations(
    adapters: Sequence[Sequence[Any]], hidden: Tensor, residual: Tensor, state: Any
) -> Tensor:
    """The activations of all modules, source by source, each stack from the bottom up: (..., R)."""
    linears = [group[0].adapter_down[0] for group in adapters]
    down = torch.cat([each.weight for each in linears])
    bias = torch.cat([each.bias for each in linears])
    lowest: Tensor = adapters[0][0].non_linearity(linear(hidden, down, bias))
    if all(len(group) == 1 for group in adapters):
        return lowest
    found: list[Tensor] = []
    firsts = lowest.split([each.out_features for each in linears], -1)
    for group, activation in zip(adapters, firsts, strict=True):
        found.append(activation)
        output = residual
        for below, above in itertools.pairwise(group):
            output = output + below.adapter_up(found[-1]) * below.scaling
            entering, _, _ = above.pre_forward(output, state.input_tensor, state.layer_norm)
            found.append(above.adapter_down(entering))
    return torch.cat(found, -1)


def _is_plain(adapter: Any) -> bool:
    """Whether it is down, non-linearity, up, and nothing else."""
    return bool(
        type(adapter) in (Adapter, ParallelAdapter)
        and not (adapter.add_layer_norm_before or adapter.add_layer_norm_after)
        and not adapter.use_gating
        and isinstance(adapter.adapter_up, nn.Linear)
        and not hasattr(adapter, "DropPath")
        and (adapter.dropout.p == 0 or not adapter.training)
    )


def _fold(
    layer: Any,
    name: str,
    names: tuple[tuple[str, ...], ...],
    adapters: Sequence[Sequence[Any]],
    fusion: nn.Module,
) -> Folded:
    """The folded matrices; kept from call to call while nothing learns and nothing changes."""
    own = (p for group in adapters for each in group for p in each.parameters())
    tensors = [*fusion.parameters(), *own]
    state = (names, tuple((id(each), each._version) for each in tensors))
    kept = layer.__dict__.setdefault("_folded", {})
    learning = torch.is_grad_enabled() and any(each.requires_grad for each in tensors)
    if not learning and name in kept and kept[name][0] == state:
        found: Folded = kept[name][1]
        return found
    device = tensors[-1].device.type
    if learning:
        with torch.autocast(device, enabled=False):
            return _fold_layer(adapters, fusion)
    # What is kept from an evaluation may be part of a training later.
    with torch.autocast(device, enabled=False), torch.inference_mode(False), torch.no_grad():
        made = _fold_layer(adapters, fusion)
    kept[name] = (state, made)
    return made


def _fold_layer(adapters: Sequence[Sequence[Any]], fusion: nn.Module) -> Folded:
    up = torch.cat([e.adapter_up.weight * e.scaling for group in adapters for e in group], 1)
    biases = [sum(e.adapter_up.bias * e.scaling for e in group) for group in adapters]
    ranks = [sum(e.adapter_up.in_features for e in group) for group in adapters]
    query = getattr(fusion, "query", None)
    key, value = getattr(fusion, "key", None), getattr(fusion, "value", None)
    return fold(
        None if query is None else (query.weight, query.bias),
        None if key is None else key.weight,
        None if value is None else value.weight,
        up,
        torch.stack(biases),
        segments_of(ranks, up),
        scale=getattr(fusion, "scale", 1.0),
    )


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
        """The `prototype` of what every source adds, a LoRA or several stacked ones: (n, d)."""
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
