"""From feature rows to batches of padded tensors, for every head kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from adapter_stilts.heads.sequences import padded_length
from adapter_stilts.heads.tagging import IGNORED


def token_budget_batches(
    order: Sequence[int] | npt.NDArray[np.int64],
    lengths: npt.NDArray[np.int64],
    *,
    batch_tokens: int,
    batch_examples: int,
) -> list[list[int]]:
    """Cuts an order of rows into consecutive batches.

    A batch holds as many rows as keep rows x longest padded row within `batch_tokens`, at most
    `batch_examples`, at least one. `lengths` are in tokens, (rows,).
    """
    batches: list[list[int]] = []
    batch: list[int] = []
    longest = 0
    for row in order:
        length = max(longest, padded_length(int(lengths[row])))
        full = len(batch) >= batch_examples or length * (len(batch) + 1) > batch_tokens
        if batch and full:
            batches.append(batch)
            batch, length = [], padded_length(int(lengths[row]))
        batch.append(int(row))
        longest = length
    if batch:
        batches.append(batch)
    return batches


def longest_first(lengths: npt.NDArray[np.int64], batch_tokens: int) -> list[list[int]]:
    """All rows in order of falling length, in batches of so many padded tokens at most."""
    order = np.argsort(-lengths, kind="stable")
    return token_budget_batches(
        order, lengths, batch_tokens=batch_tokens, batch_examples=batch_tokens
    )


def collate(rows: Sequence[Mapping[str, Any]], pad_id: int) -> dict[str, torch.Tensor]:
    """Pads the rows' sequences to the longest and stacks them.

    Args:
        rows: feature rows; `input_ids` is a list of ints (shape (L,)) or, for multiple choice,
            a list of such lists (shape (C, L)).
        pad_id: the tokenizer's padding id.

    Returns:
        `input_ids` and `attention_mask`, int64, of shape (B, L) or (B, C, L), and whatever of
        `labels`, `start_positions`, `end_positions` the rows have: (B,), or (B, L) for tags.
        Rows with `query_ids` give these and `query_mask` too, (B, Q), padded for themselves.
    """
    nested = isinstance(rows[0]["input_ids"][0], (list, np.ndarray))
    flat = [ids for row in rows for ids in (row["input_ids"] if nested else [row["input_ids"]])]
    input_ids, mask = _padded(flat, pad_id)
    longest = input_ids.shape[1]
    shape = (len(rows), -1, longest) if nested else (len(rows), longest)
    batch = {"input_ids": input_ids.reshape(shape), "attention_mask": mask.reshape(shape)}
    for key in ("labels", "start_positions", "end_positions"):
        if key in rows[0]:
            batch[key] = _labels([row[key] for row in rows], longest)
    if "query_ids" in rows[0]:
        queries = [row["query_ids"] for row in rows]
        batch["query_ids"], batch["query_mask"] = _padded(queries, pad_id)
    return batch


def _padded(sequences: Sequence[Sequence[int]], pad_id: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The sequences, padded, and 1 where they have a token: both (sequences, L)."""
    longest = padded_length(max(map(len, sequences)))
    padded = np.full((len(sequences), longest), pad_id, dtype=np.int64)
    mask = np.zeros_like(padded)
    for number, ids in enumerate(sequences):
        padded[number, : len(ids)] = ids
        mask[number, : len(ids)] = 1
    return torch.from_numpy(padded), torch.from_numpy(mask)


def _labels(values: Sequence[Any], longest: int) -> torch.Tensor:
    if isinstance(values[0], (list, np.ndarray)):
        padded = np.full((len(values), longest), IGNORED, dtype=np.int64)
        for number, tags in enumerate(values):
            padded[number, : len(tags)] = tags
        return torch.from_numpy(padded)
    whole = not isinstance(values[0], float)
    return torch.tensor(values, dtype=torch.int64 if whole else torch.float32)
