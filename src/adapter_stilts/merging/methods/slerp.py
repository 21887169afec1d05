"""Spherical interpolation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from adapter_stilts.merging.registry import merge_method

if TYPE_CHECKING:
    from torch import Tensor


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
