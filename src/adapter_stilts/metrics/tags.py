"""Scores of tagging: token by token, and of tagged chunks as seqeval counts them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from adapter_stilts.metrics._scores import precision_recall_f1
from adapter_stilts.metrics.registry import metric

Tags = Sequence[str]


def _count_equal_tags(predictions: Sequence[str], references: Sequence[str]) -> int:
    """The number of right tags of one sentence.

    Raises:
        ValueError: the numbers of tags differ, or a side is no list of tags.
    """
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

    Every word weighs the same, whatever the length of its sentence. It stands beside seqeval's
    F1, which takes a run of equal part-of-speech tags for one entity.

    Raises:
        ValueError: there is no word, or a sentence has not as many tags as words.
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

    Tags need no prefix. A run of equal part-of-speech tags is one chunk, all right or all wrong,
    so that F1 is lower than the tag accuracy beside it. seqeval takes the first letter of such a
    tag for its prefix and the rest for its type: CCONJ and SCONJ are one type, and a tag that
    begins with S (SCONJ, SYM) is a chunk of its own. seqeval up to 0.0.15, of the time of XTREME's
    first results, took the whole tag for the type: some hundredths of a point apart on
    part-of-speech tags, the same on the tags of WikiANN.

    Raises:
        ValueError: a tag is empty, or a sentence has not as many tags as words.
    """
    accuracy = tag_accuracy(predictions, references)
    for what, sentences in (("predicted", predictions), ("gold", references)):
        for index, sentence in enumerate(sentences):
            if "" in sentence:
                raise ValueError(f"sentence {index} (counted from 0): a {what} tag is empty")
    return {**precision_recall_f1(chunks(predictions), chunks(references)), **accuracy}
