"""Masked language modelling: which tokens are hidden, and what stands in their place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from transformers import PreTrainedTokenizerFast

from adapter_stilts.errors import UserError
from adapter_stilts.heads.tagging import IGNORED

Ids = npt.NDArray[np.int64]

SHARE = 0.15


def mask_tokens(
    ids: Ids, rng: np.random.Generator, *, mask_id: int, ordinary: Ids, share: float = SHARE
) -> tuple[Ids, Ids]:
    """Hides tokens of a sequence (Devlin et al. 2019, section 3.1, arXiv:1810.04805).

    Of the ordinary tokens `share` are to be told, at least one: 80% of them become `mask_id`,
    10% a random ordinary token, 10% stay as they are.

    Args:
        ids: (L,).
        ordinary: ids of all tokens that are not special, in rising order.

    Returns:
        What is read, and what is to be told (`IGNORED` where nothing is): both (L,).
    """
    near = np.minimum(np.searchsorted(ordinary, ids), len(ordinary) - 1)
    places = np.flatnonzero(ordinary[near] == ids)
    count = max(1, round(share * len(places)))
    asked = rng.permutation(places)[:count]
    fate = rng.random(len(asked))
    seen, labels = ids.copy(), np.full_like(ids, IGNORED)
    labels[asked] = ids[asked]
    seen[asked[fate < 0.8]] = mask_id
    random = asked[fate >= 0.9]
    seen[random] = ordinary[rng.integers(len(ordinary), size=len(random))]
    return seen, labels


@dataclass(frozen=True)
class Masking:
    """The same tokens hidden in the same row of the same pass, whatever was done before.

    So a resumed training needs no state of it, and the processes of one training none of each
    other's.
    """

    mask_id: int
    ordinary: Ids
    seed: int
    words: Ids | None = None
    """In rising order, the ids that labels number; None: labels are ids."""

    @classmethod
    def of(
        cls, tokenizer: PreTrainedTokenizerFast, seed: int, *, among: Ids | None = None
    ) -> Masking:
        """With a tokenizer's tokens; with `among`, labels number those of these that are ordinary.

        Raises:
            UserError: it has none for a masked one.
        """
        if tokenizer.mask_token_id is None:
            raise UserError("masked language modelling: the backbone's tokenizer has no mask token")
        ordinary = np.setdiff1d(np.arange(len(tokenizer)), tokenizer.all_special_ids)
        words = None if among is None else np.intersect1d(among, ordinary)
        return cls(int(tokenizer.mask_token_id), ordinary, seed, words)

    def __call__(self, ids: Sequence[int], epoch: int, row: int) -> dict[str, list[int]]:
        """The row as it is read and what is to be told of it."""
        rng = np.random.default_rng((self.seed, epoch, row))
        seen, labels = mask_tokens(
            np.asarray(ids), rng, mask_id=self.mask_id, ordinary=self.ordinary
        )
        if self.words is not None:
            numbers = np.searchsorted(self.words, labels)
            labels = np.where(labels == IGNORED, IGNORED, numbers)
        return {"input_ids": seen.tolist(), "labels": labels.tolist()}
