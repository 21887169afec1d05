"""What LogME is computed on, by the kind of head."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from adapter_stilts.study.recommend_rules import NEGATIVES, LabelledRows, labelled_rows
from adapter_stilts.tasks.spec import HeadKind


def _rows(kind: HeadKind, **columns: Any) -> LabelledRows:
    found = labelled_rows(kind, columns)
    assert found is not None
    return found


def test_texts() -> None:
    found = _rows(
        "classification", input_ids=[[1, 2], [3], [4]], example=[0, 1, 2], labels=[2, -1, 0]
    )
    assert found.sequences == [[1, 2], [4]] and found.places is None
    assert found.targets.tolist() == [[0, 1], [1, 0]] and found.examples.tolist() == [0, 2]


def test_numbers() -> None:
    """LogME was made for them, too; they are told around their mean, as the layer has no bias."""
    ids = [[1, 2], [3], [4]]
    found = _rows("regression", input_ids=ids, example=[0, 1, 2], labels=[0.0, 2.5, 5.0])
    assert found.sequences == ids and found.places is None and not found.grouped
    assert found.targets.tolist() == [[-2.5], [0.0], [2.5]] and found.examples.tolist() == [0, 1, 2]
    assert labelled_rows("embedding", {"input_ids": ids, "example": [0, 1, 2]}) is None


def test_options() -> None:
    ids = [[[1], [2], [3]], [[4], [5], [6]]]
    found = _rows("choice", input_ids=ids, example=[0, 1], labels=[1, 2])
    assert found.sequences == [[1], [2], [3], [4], [5], [6]] and found.grouped
    assert found.targets[:, 0].tolist() == [0, 1, 0, 0, 0, 1]
    assert found.examples.tolist() == [0, 0, 0, 1, 1, 1]


def test_words() -> None:
    found = _rows(
        "tagging",
        input_ids=[[0, 5, 6, 7, 2], [0, 8, 2]],
        example=[0, 1],
        word_starts=[[1, 3], [1]],
        labels=[[-100, 4, -100, 9, -100], [-100, 4, -100]],
    )
    assert found.places == [[1, 3], [1]] and not found.grouped
    assert found.targets.tolist() == [[1, 0], [0, 1], [1, 0]]
    assert found.examples.tolist() == [0, 0, 1]


def test_edges_of_answers() -> None:
    size = 20
    found = _rows(
        "span",
        input_ids=[list(range(size))] * 3,
        example=[0, 0, 1],
        context_start=[4, 4, 4],
        offsets=[[0, 1] * 15] * 3,
        start_positions=[7, 0, 9],  # the second window has no answer
        end_positions=[8, 0, 9],
    )
    assert len(found.sequences) == 2 and found.examples.tolist() == [0] * 8 + [1] * 7
    assert found.places is not None
    for places, starts, ends, first in zip(
        found.places,
        (found.targets[:8, 0], found.targets[8:, 0]),
        (found.targets[:8, 1], found.targets[8:, 1]),
        ((7, 8), (9, 9)),
        strict=True,
    ):
        assert [place for place, on in zip(places, starts, strict=True) if on] == [first[0]]
        assert [place for place, on in zip(places, ends, strict=True) if on] == [first[1]]
        assert len(set(places) - set(first)) == NEGATIVES
        assert all(4 <= place < 19 for place in places)  # of the context alone


def test_retrieval_has_no_labels() -> None:
    assert labelled_rows("embedding", {"input_ids": [[1]], "example": [0]}) is None


@pytest.mark.parametrize("kind", ["choice", "span"])
def test_a_planted_source_is_found(kind: HeadKind) -> None:
    """Of 80 questions with an offset of their own, which is most of what there is to see."""
    chance = np.random.default_rng(4)
    if kind == "choice":
        labels = chance.integers(0, 4, 80).tolist()
        rows = _rows(kind, input_ids=[[[1]] * 4] * 80, example=list(range(80)), labels=labels)
    else:
        starts = chance.integers(1, 20, 80)
        rows = _rows(
            kind,
            input_ids=[list(range(32))] * 80,
            example=list(range(80)),
            context_start=[1] * 80,
            offsets=[[0, 1] * 30] * 80,
            start_positions=starts.tolist(),
            end_positions=(starts + chance.integers(0, 9, 80)).tolist(),
        )
    every = np.ones(80, dtype=bool)
    offsets = 5 * chance.normal(size=(80, 24))[rows.examples]
    code = chance.normal(size=(rows.targets.shape[1], 24))
    scores = [
        rows.score(strength * rows.targets @ code + offsets + chance.normal(size=offsets.shape),
                   every)
        for strength in (0.0, 0.5, 2.0)
    ]  # fmt: skip
    assert scores[0] is not None and scores[1] is not None and scores[2] is not None
    assert scores[0] < scores[1] < scores[2]
    assert rows.score(offsets, every & False) is None
