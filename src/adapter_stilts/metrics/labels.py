"""Scores of labels, numbers and tags: accuracy, F1, correlation, and seqeval's chunks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from adapter_stilts.metrics import metric, precision_recall_f1

Tags = Sequence[str]


def _label_array(values: Sequence[int], what: str) -> NDArray[np.integer]:
    """Labels as an array; any but one whole number a row is a `ValueError`."""
    try:
        labels = np.asarray(values)
    except ValueError:  # rows of different lengths
        labels = np.asarray(values, dtype=object)
    if labels.dtype.kind not in "iub" or labels.ndim != 1:
        raise ValueError(
            f"{what} must be one whole number a row (of scores, take the argmax first), "
            f"got {labels.dtype} of shape {labels.shape}"
        )
    return labels


def _percent_equal(predictions: NDArray[np.integer], references: NDArray[np.integer]) -> float:
    """The share of equal labels, in percent."""
    # the share first, as XTREME and scikit-learn, so that the last digit is theirs
    return 100.0 * (int(np.count_nonzero(predictions == references)) / len(references))


@metric(
    primary="accuracy",
    summary="The share of right labels, in percent (0 to 100).",
    rows="predictions, references: one whole number a row.",
    form=("int64", "int64"),
)
def accuracy(predictions: Sequence[int], references: Sequence[int]) -> dict[str, float]:
    """The share of right labels: `{"accuracy": percent}`."""
    predicted = _label_array(predictions, "predictions")
    return {"accuracy": _percent_equal(predicted, _label_array(references, "references"))}


@metric(
    primary="f1",
    summary="F1 of the class 1, and accuracy, in percent (0 to 100).",
    rows="predictions, references: 0 or 1 a row.",
    form=("int64", "int64"),
    citation="Wang et al. 2019, GLUE: A Multi-Task Benchmark and Analysis Platform, ICLR",
    url="https://arxiv.org/abs/1804.07461",
)
def f1(predictions: Sequence[int], references: Sequence[int]) -> dict[str, float]:
    """F1 of the class 1 and accuracy: `{"f1": percent, "accuracy": percent}`.

    Source: GLUE's scoring of QQP (Wang et al. 2019), https://arxiv.org/abs/1804.07461.
    """
    predicted = _label_array(predictions, "predictions")
    gold = _label_array(references, "references")
    return {"f1": _binary_f1(predicted, gold), "accuracy": _percent_equal(predicted, gold)}


def _binary_f1(predictions: NDArray[np.integer], references: NDArray[np.integer]) -> float:
    """F1 of the class 1, in percent: 2 TP / (2 TP + FP + FN).

    0 where neither side has a 1, as scikit-learn's `f1_score`, which GLUE uses. A label that is
    neither 0 nor 1 is a `ValueError`.
    """
    for what, labels in (("predictions", predictions), ("references", references)):
        outside = np.setdiff1d(labels, [0, 1])
        if outside.size:
            raise ValueError(f"f1 is defined for the labels 0 and 1: {what} hold {outside[0]}")
    both = int(np.count_nonzero((predictions == 1) & (references == 1)))
    either = int(np.count_nonzero(predictions == 1)) + int(np.count_nonzero(references == 1))
    return 100.0 * 2 * both / either if either else 0.0


@metric(
    primary="spearman",
    summary="Spearman's and Pearson's correlation, in percent (-100 to 100).",
    rows="predictions, references: one number a row.",
    form=("float64", "float64"),
)
def correlation(predictions: Sequence[float], references: Sequence[float]) -> dict[str, float]:
    """`{"spearman": percent, "pearson": percent}`, as STS and GLUE's STS-B have them.

    Where one side is the same number throughout, a correlation is not defined: it counts as 0. What
    is no number is a `ValueError`.
    """
    from scipy.stats import pearsonr, spearmanr

    try:
        found, gold = (np.asarray(each, np.float64) for each in (predictions, references))
    except TypeError as error:
        raise ValueError(f"a correlation is of numbers: {error}") from error
    if not np.isfinite(found).all() or not np.isfinite(gold).all():
        return {"spearman": float("nan"), "pearson": float("nan")}
    if np.ptp(found) == 0 or np.ptp(gold) == 0:
        return {"spearman": 0.0, "pearson": 0.0}
    return {
        "spearman": 100 * float(spearmanr(found, gold).statistic),
        "pearson": 100 * float(pearsonr(found, gold).statistic),
    }


def _count_equal_tags(predictions: Sequence[str], references: Sequence[str]) -> int:
    """The number of right tags of one sentence; two lists of one length, or a `ValueError`."""
    for tags in (predictions, references):
        if isinstance(tags, str) or not all(isinstance(tag, str) for tag in tags):
            raise ValueError(f"tags must be a list of strings, got {tags!r}")
    if len(predictions) != len(references):
        raise ValueError(f"{len(predictions)} predicted tags, {len(references)} gold tags")
    return sum(a == b for a, b in zip(predictions, references, strict=True))


@metric(
    primary="tag_accuracy",
    summary="The share of right tags over all words, in percent (0 to 100).",
    rows="predictions, references: a list of tags a sentence.",
    form=(["string"], ["string"]),
)
def tag_accuracy(predictions: Sequence[Tags], references: Sequence[Tags]) -> dict[str, float]:
    """The share of right tags over all words: `{"tag_accuracy": percent}`.

    Every word weighs the same, whatever the length of its sentence. It stands beside seqeval's F1,
    which takes a run of equal part-of-speech tags for one entity. No word at all, and a sentence
    with another number of tags than words, are a `ValueError`.
    """
    right = 0
    for index, (predicted, gold) in enumerate(zip(predictions, references, strict=True)):
        try:
            right += _count_equal_tags(predicted, gold)
        except (TypeError, ValueError) as error:
            raise ValueError(f"sentence {index} (counted from 0): {error}") from None
    total = sum(len(gold) for gold in references)
    if not total:
        raise ValueError("tag_accuracy: no sentence has a word")
    return {"tag_accuracy": 100.0 * right / total}


def _parts(tags: Sequence[Tags]) -> Iterator[tuple[str, str]]:
    """Prefix and type of every tag: "B-PER" is ("B", "PER"), "NOUN" ("N", "OUN"), "X" ("X", "_").

    The sentences follow each other with an "O" after each, and one more at the end.
    """
    for sentence in (*tags, ()):
        for tag in (*sentence, "O"):
            yield tag[0], tag[1:].split("-", 1)[-1] or "_"


def _ends(before: str, type_before: str, after: str, type_after: str) -> bool:
    """Whether a chunk ends between two neighbouring tags."""
    return (
        before in "ES"
        or (before in "BI" and after in "BSO")
        or (before not in "O." and type_before != type_after)
    )


def _starts(before: str, type_before: str, after: str, type_after: str) -> bool:
    """Whether a chunk starts between two neighbouring tags."""
    return (
        after in "BS"
        or (before in "ESO" and after in "EI")
        or (after not in "O." and type_before != type_after)
    )


def chunks(tags: Sequence[Tags]) -> set[tuple[str, int, int]]:
    """The chunks of all sentences: type, first and last place.

    This is `seqeval.metrics.sequence_labeling.get_entities` of seqeval 1.2.2, whose rules are
    those of CoNLL's conlleval. It counts places over all sentences laid end to end, which shows
    in one corner: the tag "X" has the same type as the "O" after a sentence, so an X there does
    not end its chunk, and one that begins a sentence continues where the last chunk began.
    """
    found = set()
    first, prefix, kind = 0, "O", ""
    for place, (next_prefix, next_kind) in enumerate(_parts(tags)):
        if _ends(prefix, kind, next_prefix, next_kind):
            found.add((kind, first, place - 1))
        if _starts(prefix, kind, next_prefix, next_kind):
            first = place
        prefix, kind = next_prefix, next_kind
    return found


@metric(
    primary="f1",
    summary="Chunk F1, precision and recall, and tag accuracy, in percent (0 to 100).",
    rows="predictions, references: a list of tags a sentence.",
    form=(["string"], ["string"]),
    citation="Nakayama 2018, seqeval: A Python framework for sequence labeling evaluation",
    url="https://github.com/chakki-works/seqeval",
)
def seqeval_f1(predictions: Sequence[Tags], references: Sequence[Tags]) -> dict[str, float]:
    """`{"f1", "precision", "recall", "tag_accuracy"}`, in percent, over all chunks together.

    The first three are `f1_score`, `precision_score` and `recall_score` of seqeval 1.2.2 with no
    option set, which is how XTREME scores NER and part-of-speech tagging
    (https://github.com/google-research/xtreme, evaluate.py). A chunk is right where type, first
    and last word are. 0 where there is nothing to divide by.

    Tags need no prefix. A run of equal part-of-speech tags is one chunk, all right or all wrong, so
    that F1 is lower than the tag accuracy beside it. seqeval takes the first letter of such a tag
    for its prefix and the rest for its type: CCONJ and SCONJ are one type, and a tag that begins
    with S (SCONJ, SYM) is a chunk of its own. seqeval up to 0.0.15, of the time of XTREME's first
    results, took the whole tag for the type: some hundredths of a point apart on part-of-speech
    tags, the same on the tags of WikiANN. An empty tag, and a sentence with another number of tags
    than words, are a `ValueError`.
    """
    accuracy = tag_accuracy(predictions, references)
    for what, sentences in (("predicted", predictions), ("gold", references)):
        for index, sentence in enumerate(sentences):
            if "" in sentence:
                raise ValueError(f"sentence {index} (counted from 0): a {what} tag is empty")
    return {**precision_recall_f1(chunks(predictions), chunks(references)), **accuracy}
