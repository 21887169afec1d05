"""A plug-in: a task, a metric, a merge method and an adapter method of one's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import adapter_stilts as ads

if TYPE_CHECKING:
    from torch import Tensor


@ads.metric("balanced_accuracy", heads=["classification"])
def balanced_accuracy(predictions: list[int], references: list[int]) -> float:
    """The mean over labels of the share of each label's examples that are right, in percent."""
    shares = []
    for label in set(references):
        right = [p == r for p, r in zip(predictions, references, strict=True) if r == label]
        shares.append(sum(right) / len(right))
    return 100 * sum(shares) / len(shares)


@ads.merge_method
def median(tensors: Sequence[Tensor], weights: Tensor) -> Tensor:
    """The median of the modules, value by value, each times its weight."""
    import torch

    return torch.stack([w * t for w, t in zip(weights, tensors, strict=True)]).quantile(0.5, dim=0)


@ads.adapter_method("wide-bottleneck")
def wide_bottleneck(options: ads.MethodOptions) -> Any:
    """One bottleneck adapter of half the hidden size after the feed-forward block."""
    from adapters import SeqBnConfig

    return SeqBnConfig(
        reduction_factor=options.reduction_factor or 2, leave_out=list(options.leave_out)
    )


ads.register("my_reviews.yaml")
