"""Dual encoders: queries and texts as vectors of one trunk, learnt within each batch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch.nn import functional

from adapter_stilts.engine.vectors import pool

TEMPERATURE = 0.01
"""Cosines are divided by it: XTREME-R multiplies them by 100, and E5 was trained so too."""


def in_batch_loss(
    queries: torch.Tensor,
    texts: torch.Tensor,
    same: torch.Tensor,
    *,
    temperature: float = TEMPERATURE,
) -> torch.Tensor:
    """Softmax over a batch's texts, of which query i is to find text i.

    loss = - 1/B sum_i log( exp(cos(q_i, t_i) / T) / sum_j exp(cos(q_i, t_j) / T) )

    In the one direction only, from query to text, as XTREME-R trains for LAReQA and Mewsli-X
    (Ruder et al. 2021; `BertForRetrieval` in third_party/bert.py). Where texts i and j are the
    same, j is left out of the sum for query i: there it would count as wrong.

    Args:
        queries, texts: (B, D).
        same: (B, B), bool: whether two texts are the same.

    Returns:
        A scalar; 0 for a batch of one, which has nothing to tell apart.
    """
    queries, texts = (functional.normalize(side.float(), dim=-1) for side in (queries, texts))
    scores = queries @ texts.T / temperature
    others = same & ~torch.eye(len(same), dtype=torch.bool, device=same.device)
    scores = scores.masked_fill(others, float("-inf"))
    return functional.cross_entropy(scores, torch.arange(len(scores), device=scores.device))


def same_rows(ids: torch.Tensor) -> torch.Tensor:
    """Which rows of (B, L) are equal: (B, B), bool."""
    _, group = torch.unique(ids, dim=0, return_inverse=True)
    return torch.eq(group[:, None], group[None])


def dual_encoder_loss(model: Any, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """The loss of one batch: both sides through the same trunk, vectors from its last layer.

    Args:
        model: gives hidden states, as a model of `adapters` does that has no active head.
        batch: `query_ids` and `query_mask`, `input_ids` and `attention_mask`, from `collate`.
    """
    queries, texts = (
        pool(model(input_ids=batch[ids], attention_mask=batch[mask]).last_hidden_state, batch[mask])
        for ids, mask in (("query_ids", "query_mask"), ("input_ids", "attention_mask"))
    )
    return in_batch_loss(queries, texts, same_rows(batch["input_ids"]))
