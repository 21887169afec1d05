"""Which tokens are hidden: as many as in BERT, never special ones, the same ones again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from adapter_stilts.backbones import find_backbone
from adapter_stilts.errors import UserError
from adapter_stilts.heads.tagging import IGNORED
from adapter_stilts.training.batching import Masking, mask_tokens

ORDINARY = np.arange(5, 1000)
MASK = 4


def test_shares_are_those_of_bert() -> None:
    ids = np.concatenate([[0], np.random.default_rng(0).integers(5, 1000, size=20_000), [2]])
    seen, labels = mask_tokens(ids, np.random.default_rng(1), mask_id=MASK, ordinary=ORDINARY)
    asked = labels != IGNORED
    assert asked.sum() == 3000
    assert not asked[0] and not asked[-1]
    assert (labels[asked] == ids[asked]).all()
    assert (seen[~asked] == ids[~asked]).all()
    masked, kept = seen[asked] == MASK, seen[asked] == ids[asked]
    assert masked.mean() == pytest.approx(0.8, abs=0.03)
    assert kept.mean() == pytest.approx(0.1, abs=0.03)
    others = seen[asked][~masked & ~kept]
    assert len(np.unique(others)) > 100 and np.isin(others, ORDINARY).all()


def test_something_is_always_asked() -> None:
    for seed in range(20):
        _, labels = mask_tokens(
            np.array([0, 7, 8, 2]), np.random.default_rng(seed), mask_id=MASK, ordinary=ORDINARY
        )
        assert (labels != IGNORED).sum() == 1


def test_a_row_is_masked_alike_whenever_its_pass_comes(tiny_xlmr: Path) -> None:
    tokenizer = find_backbone(str(tiny_xlmr)).tokenizer
    ids = tokenizer("The castle stands above the river and the bridge.")["input_ids"]
    one, other = Masking.of(tokenizer, 0), Masking.of(tokenizer, 0)
    assert one(ids, 3, 5) == other(ids, 3, 5)
    changed = [one(ids, 4, 5), one(ids, 3, 6), Masking.of(tokenizer, 1)(ids, 3, 5)]
    assert sum(each != one(ids, 3, 5) for each in changed) >= 2


def test_a_tokenizer_without_a_mask_is_refused(tiny_xlmr: Path) -> None:
    tokenizer = find_backbone(str(tiny_xlmr)).tokenizer
    tokenizer.mask_token = None
    with pytest.raises(UserError, match="has no mask token"):
        Masking.of(tokenizer, 0)
