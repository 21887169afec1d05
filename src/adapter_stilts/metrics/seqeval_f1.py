"""F1 of tagged chunks, as seqeval counts them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import evaluate
from datasets import Features, List, Value

from adapter_stilts.metrics._scores import precision_recall_f1
from adapter_stilts.metrics.tag_accuracy import TagAccuracy

CITATION = "Nakayama 2018, seqeval: A Python framework for sequence labeling evaluation"

Tags = Sequence[str]


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


class SeqevalF1(TagAccuracy):
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
    """

    primary = "f1"

    def _info(self) -> evaluate.MetricInfo:
        sentence = List(Value("string"))
        return evaluate.MetricInfo(
            description="Chunk F1, precision and recall, and tag accuracy, in percent (0 to 100).",
            citation=CITATION,
            inputs_description="predictions, references: a list of tags a sentence.",
            features=Features({"predictions": sentence, "references": sentence}),
            reference_urls=["https://github.com/chakki-works/seqeval"],
        )

    def _compute(
        self, *, predictions: Sequence[Tags], references: Sequence[Tags]
    ) -> dict[str, float]:
        accuracy = super()._compute(predictions=predictions, references=references)
        for what, sentences in (("predicted", predictions), ("gold", references)):
            for index, sentence in enumerate(sentences):
                if "" in sentence:
                    raise ValueError(f"sentence {index} (counted from 0): a {what} tag is empty")
        return {**precision_recall_f1(chunks(predictions), chunks(references)), **accuracy}


METRIC = SeqevalF1
