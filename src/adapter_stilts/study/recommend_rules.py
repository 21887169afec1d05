"""LogME: how well a linear layer could tell a target's labels from a module's features.

You et al. 2021, "LogME: Practical Assessment of Pre-trained Models for Transfer Learning", ICML
(arXiv:2102.11005). Labels y of n rows are y = F w + noise, with w ~ N(0, 1/alpha) and noise
~ N(0, 1/beta); the score is the logarithm of p(y | F), w integrated out, alpha and beta chosen as
large as it gets, divided by n. Several classes are one column of zeros and ones each; the score is
the mean. The paper iterates to a fixed point, which need not be the largest; as the best beta is
known for every alpha / beta, one dimension is left, and that is searched here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

from adapter_stilts.heads import get_head
from adapter_stilts.study.sample import Bools, Floats, Ints
from adapter_stilts.tasks.spec import HeadKind

_ROUNDS, _GOLDEN = 24, (5**0.5 - 1) / 2
_LEAST = 1e-12


def one_hot(labels: Ints) -> Floats:
    """A column of zeros and ones for every label that occurs: (n, classes).

    >>> one_hot(np.array([2, 0, 2])).tolist()
    [[0.0, 1.0], [1.0, 0.0], [0.0, 1.0]]
    """
    found: Floats = (labels[:, None] == np.unique(labels)).astype(np.float64)
    return found


def logme(features: Floats, targets: Floats) -> float:
    """The mean over columns of the largest log evidence, a row: larger is better.

    Columns that are the same in all rows tell nothing and are left out.

    Args:
        features: F, (n, d).
        targets: (n, columns).

    Raises:
        ValueError: no column differs from row to row.
    """
    varied = np.ptp(targets, axis=0) > 0
    if not varied.any():
        raise ValueError("labels of at least two kinds are needed")
    columns = targets[:, varied]
    squared, projected = _spectrum(features, columns)
    rest = np.maximum((columns**2).sum(0) - (projected**2).sum(0), 0.0)
    return float(np.mean(_largest_evidence(squared, projected**2, rest, len(features))))


def _spectrum(features: Floats, targets: Floats) -> tuple[Floats, Floats]:
    """Squared singular values of F, and the targets along its left singular vectors."""
    rows, width = features.shape
    # The smaller of F'F and FF': there are far more tokens than dimensions, or fewer texts.
    small = features.T @ features if width <= rows else features @ features.T
    values, vectors = np.linalg.eigh(small)
    kept = values > max(values[-1], _LEAST) * 1e-10
    values, vectors = values[kept], vectors[:, kept]
    if width <= rows:
        return values, (vectors.T @ (features.T @ targets)) / np.sqrt(values)[:, None]
    return values, vectors.T @ targets


def _largest_evidence(squared: Floats, projected: Floats, rest: Floats, rows: int) -> Floats:
    """The largest log evidence of every column, divided by the rows.

    A coarse search over all sizes of alpha / beta, and a golden section around the best of them.
    """
    top = float(squared.max()) if len(squared) else 1.0
    grid = np.linspace(-25.0, 15.0, 81) + np.log(top)
    columns = projected.shape[1]
    tried = np.array([_evidence(np.full(columns, t), squared, projected, rest, rows) for t in grid])
    low = grid[tried.argmax(0)] - 0.5
    high = low + 1.0
    for _ in range(_ROUNDS):
        first, second = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
        left = _evidence(first, squared, projected, rest, rows)
        is_left = left >= _evidence(second, squared, projected, rest, rows)
        low, high = np.where(is_left, low, first), np.where(is_left, second, high)
    found = _evidence((low + high) / 2, squared, projected, rest, rows)
    best: Floats = np.maximum(found, tried.max(0))
    return best


def _evidence(log: Floats, squared: Floats, projected: Floats, rest: Floats, rows: int) -> Floats:
    """The log evidence of every column at its own log(alpha / beta), a row, beta being the best.

    With t = alpha / beta and y in the basis of F's left singular vectors, of squared singular
    values s, -2 log p(y) is n log(2 pi / beta) - sum log(t / (t + s)) + beta S, where
    S = sum of y² t / (t + s). The best beta is n / S.
    """
    kept = 1 / (1 + squared[:, None] * np.exp(-log))
    left = np.maximum((projected * kept).sum(0) + rest, _LEAST)
    found: Floats = (np.log(kept).sum(0) - rows * np.log(2 * np.pi * np.e * left / rows)) / 2 / rows
    return found


def group_means(values: Floats, groups: Ints) -> tuple[Floats, Ints]:
    """The mean of the rows of every group, in order, (groups, d); and the place of each row's."""
    _, places = np.unique(groups, return_inverse=True)
    counts = np.bincount(places)
    sums = np.zeros((len(counts), values.shape[1]))
    np.add.at(sums, places, values)
    return sums / counts[:, None], places


def centre(values: Floats, groups: Ints) -> Floats:
    """Rows less the mean of their group.

    A head that chooses one of a group (an option of a question, a token of a text) takes the
    softmax over it, which does not notice what all of the group have in common: neither should
    what predicts it.

    >>> centre(np.array([[1.0], [3.0], [5.0]]), np.array([0, 0, 1])).tolist()
    [[-1.0], [1.0], [0.0]]
    """
    means, places = group_means(values, groups)
    return values - means[places]


Product = tuple[Floats, Floats]
"""A module's down- and up-projection in one place, (r, d) and (e, r)."""


def text_similarity(first: Floats, second: Floats) -> float:
    """The cosine of two tasks' mean text vectors; 0 where one has no length.

    TextEmb of Vu et al. 2020, "Exploring and Predicting Transferability across NLP Tasks" (EMNLP):
    the mean of the plain backbone's token vectors over a task's texts. Poth et al. 2021, "What to
    Pre-Train on? Efficient Intermediate Task Selection" (EMNLP), found such vectors of whole texts
    to choose as well as anything that needs labels.

    Args:
        first, second: a vector a text, (texts, d).
    """
    one, other = first.mean(0), second.mean(0)
    lengths = float(np.linalg.norm(one) * np.linalg.norm(other))
    return float(one @ other) / lengths if lengths else 0.0


def parameter_similarity(first: Mapping[str, Product], second: Mapping[str, Product]) -> float:
    """The cosine of what two modules do, by their weights.

    Trained parameters as a task's embedding: Vu et al. 2022, "SPoT" (ACL), for prompts; Zhou et
    al. 2022, "Efficiently Tuned Parameters Are Task Embeddings" (EMNLP, arXiv:2210.11705), for
    adapters and LoRAs. They compare the weights as they are, from one initialisation. Here the
    products up × down are compared, place by place: these do not depend on how hidden units are
    numbered, and a LoRA is its product. They are not formed: <U1 D1, U2 D2> = sum of
    (U1' U2) * (D1 D2').

    Args:
        first, second: down- and up-projection by place (layer and matrix). A place that one of
            them lacks counts as nothing there.
    """
    shared = sum(_inner(first[place], second[place]) for place in first.keys() & second.keys())
    lengths = [sum(_inner(each, each) for each in one.values()) for one in (first, second)]
    return shared / float(np.sqrt(lengths[0] * lengths[1])) if all(lengths) else 0.0


def _inner(first: Product, second: Product) -> float:
    (down, up), (other_down, other_up) = first, second
    if down.shape[1] != other_down.shape[1] or up.shape[0] != other_up.shape[0]:
        return 0.0
    return float(((up.T @ other_up) * (down @ other_down.T)).sum())


def half_samples(count: int, draws: int, *, seed: int = 0) -> Iterator[Ints]:
    """Halves of so many examples, drawn without replacement, as sorted row numbers.

    A mean over half of the examples varies from half to half as that over all of them varies from
    sample to sample (Politis and Romano 1994, Annals of Statistics 22: subsampling). A bootstrap
    with replacement would do so too, but holds copies of rows, which evidence takes for as many
    independent ones.
    """
    generator = np.random.default_rng(seed)
    for _ in range(draws):
        yield np.sort(generator.permutation(count)[: max(1, count // 2)])


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
            example share is taken away before, see `centre`.
    """

    sequences: list[list[int]]
    places: list[list[int]] | None
    targets: Floats
    examples: Ints
    grouped: bool = False

    def score(self, features: Floats, chosen: Bools) -> float | None:
        """LogME over the rows of some examples; None where their labels are all alike.

        Args:
            features: (rows, d).
            chosen: whether an example counts, by its number.
        """
        there = chosen[self.examples]
        inputs, targets = features[there], self.targets[there]
        if self.grouped:
            inputs, targets = (centre(each, self.examples[there]) for each in (inputs, targets))
        if not len(targets) or not np.ptp(targets, axis=0).any():
            return None
        return logme(inputs, targets)


def labelled_rows(
    kind: HeadKind, columns: Mapping[str, Sequence[Any]], *, seed: int = 0
) -> LabelledRows | None:
    """The rows of a task's features that carry labels; None where its head tells none.

    A text or pair is one row with the mean of its tokens, whether or not a module was trained on
    the first of them; a class is told, or a number. Words are a row each, by their first piece.
    The two kinds that LogME was not made for are what their heads make of them, linear layers with
    a softmax over one example:

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
    if isinstance(next(iter(columns.get("labels", ())), None), float):
        return _numbers(columns)
    return None


def sequences_of(columns: Mapping[str, Sequence[Any]]) -> tuple[list[list[int]], Ints]:
    """Every sequence that is read, and the number of its example, (sequences,).

    An option of a multiple choice is a sequence of its own.
    """
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


def _numbers(columns: Mapping[str, Sequence[Any]]) -> LabelledRows:
    sequences, examples = sequences_of(columns)
    numbers = np.asarray(columns["labels"], dtype=np.float64)
    # The linear layer has no bias.
    return LabelledRows(sequences, None, (numbers - numbers.mean())[:, None], examples)


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
