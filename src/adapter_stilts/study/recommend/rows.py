"""What of a target's examples LogME is computed on: rows of features, and what is told by them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from adapter_stilts.heads import get_head
from adapter_stilts.study.recommend.rules import Floats, Ints, centred, logme, one_hot
from adapter_stilts.tasks.spec import HeadKind

NEGATIVES = 6
"""Other tokens of its text that are compared with an answer's first and last."""
MOST_TOKENS = 3000
"""Of a tagging task so many words at most."""


@dataclass(frozen=True)
class LabelledRows:
    """Rows of features, and the labels to be told by them.

    Attributes:
        sequences: what is read.
        places: the tokens of every sequence that are a row each; None makes every sequence one
            row, the mean of its tokens.
        targets: (rows, columns).
        examples: the number of the example that each row belongs to.
        grouped: whether a head would choose one row of each example: then what the rows of an
            example share is taken away before, see `logme.centred`.
    """

    sequences: list[list[int]]
    places: list[list[int]] | None
    targets: Floats
    examples: Ints
    grouped: bool = False

    def score(self, features: Floats, chosen: npt.NDArray[np.bool_]) -> float | None:
        """LogME over the rows of some examples; None where their labels are all alike.

        Args:
            features: (rows, d).
            chosen: whether an example counts, by its number.
        """
        there = chosen[self.examples]
        inputs, targets = features[there], self.targets[there]
        if self.grouped:
            inputs, targets = (centred(each, self.examples[there]) for each in (inputs, targets))
        if not len(targets) or not np.ptp(targets, axis=0).any():
            return None
        return logme(inputs, targets)


def labelled_rows(
    kind: HeadKind, columns: Mapping[str, Sequence[Any]], *, seed: int = 0
) -> LabelledRows | None:
    """The rows of a task's features that carry labels; None where its head tells none.

    A text or pair is one row with the mean of its tokens, whether or not a module was trained on
    the first of them. Words are a row each, by their first piece. The two kinds that LogME was not
    made for are what their heads make of them, linear layers with a softmax over one example:

    - choice: an option is a row, and whether it is the right one is told;
    - span: tokens of the text are rows, and whether one is the first, and whether it is the last
      of the answer is told. Those two stand beside `NEGATIVES` others, drawn by lot: of all tokens
      nearly none is an edge, and the evidence would be that of telling nothing at all.

    Args:
        columns: of the features, as `features` makes them; `example` numbers the examples.
    """
    head = get_head(kind)
    if head.has_labels:
        return _texts(columns)
    if head.chooses:
        return _options(columns)
    if head.has_tags:
        return _words(columns, np.random.default_rng(seed))
    if "start_positions" in columns:
        return _edges(columns, np.random.default_rng(seed))
    return None


def sequences_of(columns: Mapping[str, Sequence[Any]]) -> tuple[list[list[int]], Ints]:
    """Every sequence that is read, and the number of its example; an option is one, too."""
    ids, examples = columns["input_ids"], columns["example"]
    nested = bool(ids) and bool(ids[0]) and not isinstance(ids[0][0], int)
    if not nested:
        return [list(each) for each in ids], np.asarray(examples, dtype=np.int64)
    counts = [len(each) for each in ids]
    return list(chain.from_iterable(ids)), np.repeat(np.asarray(examples, np.int64), counts)


def _texts(columns: Mapping[str, Sequence[Any]]) -> LabelledRows:
    labels = np.asarray(columns["labels"], dtype=np.int64)
    sequences, examples = sequences_of(columns)
    kept = np.flatnonzero(labels >= 0)
    return LabelledRows(
        [sequences[row] for row in kept], None, one_hot(labels[kept]), examples[kept]
    )


def _options(columns: Mapping[str, Sequence[Any]]) -> LabelledRows:
    sequences, examples = sequences_of(columns)
    right = [
        float(number == label)
        for options, label in zip(columns["input_ids"], columns["labels"], strict=True)
        for number in range(len(options))
    ]
    return LabelledRows(sequences, None, np.array(right)[:, None], examples, grouped=True)


def _words(columns: Mapping[str, Sequence[Any]], generator: np.random.Generator) -> LabelledRows:
    known = [
        [place for place in starts if labels[place] >= 0]
        for starts, labels in zip(columns["word_starts"], columns["labels"], strict=True)
    ]
    share = min(1.0, MOST_TOKENS / max(1, sum(map(len, known))))
    places = [[place for place in row if generator.random() < share] for row in known]
    tags = [labels[place] for row, labels in zip(places, columns["labels"], strict=True)
            for place in row]  # fmt: skip
    examples = np.repeat(np.asarray(columns["example"], np.int64), list(map(len, places)))
    return LabelledRows(
        [list(ids) for ids in columns["input_ids"]],
        places,
        one_hot(np.asarray(tags, np.int64)),
        examples,
    )


def _edges(columns: Mapping[str, Sequence[Any]], generator: np.random.Generator) -> LabelledRows:
    sequences, places, targets, examples = [], [], [], []
    for row, ids in enumerate(columns["input_ids"]):
        first, last = columns["start_positions"][row], columns["end_positions"][row]
        begin = columns["context_start"][row]
        tokens = range(begin, begin + len(columns["offsets"][row]) // 2)
        others = [place for place in tokens if place not in (first, last)]
        if first not in tokens or not others:  # no answer in this window
            continue
        drawn = generator.choice(others, size=min(NEGATIVES, len(others)), replace=False).tolist()
        chosen = sorted({first, last, *drawn})
        sequences.append(list(ids))
        places.append(chosen)
        targets += [[float(place == first), float(place == last)] for place in chosen]
        examples += [columns["example"][row]] * len(chosen)
    return LabelledRows(
        sequences,
        places,
        np.array(targets).reshape(-1, 2),
        np.asarray(examples, np.int64),
        grouped=True,
    )
