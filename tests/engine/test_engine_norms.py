"""Outputs of layer norms that are computed again: the same gradients of less that is kept."""

from __future__ import annotations

from contextlib import nullcontext
from typing import cast

import pytest
import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from adapter_stilts.engine.attention import FastAttention

ROWS, LENGTH, WIDTH = 3, 5, 16


class Layer(nn.Module):
    """A frozen norm, and on it a bottleneck that learns."""

    def __init__(self, times: int = 1) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.norm = nn.LayerNorm(WIDTH).requires_grad_(False)
        nn.init.normal_(self.norm.weight)
        self.downs = nn.ModuleList(nn.Linear(WIDTH, 4) for _ in range(times))
        self.up = nn.Linear(4, WIDTH)

    def forward(self, hidden: Tensor) -> Tensor:
        """(B, L, W) to (B, L, W)."""
        normed = self.norm(hidden)
        inner = sum((down(normed).relu() for down in self.downs), torch.zeros(()))
        return cast(Tensor, self.up(inner) + normed)


def texts(learns_below: bool = True) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(ROWS, LENGTH, WIDTH, generator=generator).requires_grad_(learns_below)


def learnt(layer: Layer, hidden: Tensor, *, half: bool, watched: bool) -> tuple[list[Tensor], int]:
    """The gradients of all that learns, and how many tensors of the texts' size were kept."""
    sizes: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        sizes[tensor.untyped_storage().data_ptr()] = tensor.numel()
        return tensor

    autocast = torch.autocast("cpu", dtype=torch.bfloat16, enabled=half)
    mode = FastAttention() if watched else nullcontext()
    with saved_tensors_hooks(keep, lambda tensor: tensor), autocast, mode:
        out = layer(hidden * 1.5)
    out.float().square().sum().backward()
    large = sum(size == hidden.numel() for size in sizes.values())
    learns = (*layer.parameters(), hidden)
    return [each.grad for each in learns if each.grad is not None], large


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("learns_below", [True, False])
def test_the_same_gradients_of_less(half: bool, times: int, learns_below: bool) -> None:
    expected, before = learnt(Layer(times), texts(learns_below), half=half, watched=False)
    found, after = learnt(Layer(times), texts(learns_below), half=half, watched=True)
    assert len(found) == len(expected) == 2 * times + 2 + learns_below
    assert all(map(torch.equal, found, expected))
    # where nothing below learns, the norm keeps no input that its output could be made of
    assert before - after == learns_below * (times if half else 1)


def test_in_half_precision_as_the_trunk_has_it() -> None:
    found = []
    for watched in (False, True):
        layer, hidden = Layer(), texts()
        layer.norm.bfloat16()
        below = hidden.detach().bfloat16().requires_grad_()
        found.append(learnt(layer, below, half=True, watched=watched))
    (expected, before), (gradients, after) = found
    assert all(map(torch.equal, gradients, expected))
    assert before - after == 1


def test_a_change_of_what_is_kept_is_an_error_as_before() -> None:
    layer, hidden = Layer(), texts()
    below = hidden * 1.5
    with FastAttention():
        out = layer(below)
    with torch.no_grad():
        below.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        out.sum().backward()


def test_one_norm_after_another() -> None:
    """What is computed again is of the norm that went before, not of the last one."""
    found = []
    for watched in (False, True):
        first, second, hidden = Layer(), Layer(), texts()
        with FastAttention() if watched else nullcontext():
            out = second(first(hidden)) + first.downs[0](first.norm(hidden)).sum()
        out.square().sum().backward()
        found.append([each.grad for each in (*first.parameters(), hidden) if each.requires_grad])
    for expected, gradient in zip(*found, strict=True):
        assert expected is not None and gradient is not None and torch.equal(expected, gradient)
