"""Chunks and their F1 against values worked out by hand, and against seqeval where it is."""

from __future__ import annotations

import warnings
from importlib.util import find_spec

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapter_stilts.metrics import get_metric
from adapter_stilts.metrics.labels import chunks

UPOS = (
    "ADJ ADP ADV AUX CCONJ DET INTJ NOUN NUM PART PRON PROPN PUNCT SCONJ SYM VERB X".split()  # noqa: SIM905
)
ODD = ["O", "B", "I", "E", "S", "B-", "I-", "-", ".", ".-A", "_", "O-A", "OTHER", "B-A-B", "BA"]
NER = [f"{prefix}-{kind}" for prefix in "BIES" for kind in ("PER", "LOC")]

tag = st.sampled_from([*NER, *ODD, *UPOS])
bare = st.sampled_from(["X", "NOUN", "SYM", "SCONJ", "CCONJ", "O"])
sentences = st.lists(st.lists(st.tuples(tag, tag) | st.tuples(bare, bare), max_size=6)).filter(any)


def words(text: str) -> list[list[str]]:
    """Sentences by bars, tags by blanks."""
    return [sentence.split() for sentence in text.split("|")]


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ("B-PER I-PER O B-LOC", {("PER", 0, 1), ("LOC", 3, 3)}),
        # a type that begins with I-, after O and at the start
        ("I-PER O I-LOC I-LOC", {("PER", 0, 0), ("LOC", 2, 3)}),
        # another type inside a chunk ends it; B of the same type begins another
        ("B-PER I-LOC", {("PER", 0, 0), ("LOC", 1, 1)}),
        ("B-PER B-PER", {("PER", 0, 0), ("PER", 1, 1)}),
        # an O is counted after every sentence, so the second begins at place 3
        ("B-PER I-PER|I-PER", {("PER", 0, 1), ("PER", 3, 3)}),
        ("O|O O", set()),
        # E and S end chunks; what follows E begins another
        ("B-A E-A I-A S-A", {("A", 0, 1), ("A", 2, 2), ("A", 3, 3)}),
        # the prefixes alone: their type is "_"
        ("B I", {("_", 0, 1)}),
        # ... which is also O's, and I after E begins a chunk that O ends
        ("E I O", {("_", 0, 0), ("_", 1, 1)}),
        # the type is what follows the first "-"
        ("B-A-B I-B", {("A-B", 0, 0), ("B", 1, 1)}),
        # without "-" it is what follows the first letter
        ("BA I-A", {("A", 0, 1)}),
        # a tag that begins with O never begins a chunk, and is none
        ("OTHER B-A", {("A", 1, 1)}),
        # one that begins with a dot begins none; of another type it ends one, ...
        (". B-A .-B", {("A", 1, 1)}),
        # ... of the same type it leaves it open, and nothing ends it any more
        (". B-A .-A", set()),
    ],
)
def test_chunks(tags: str, expected: set[tuple[str, int, int]]) -> None:
    assert chunks(words(tags)) == expected


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        # runs of equal tags are one chunk
        ("NOUN NOUN VERB", {("OUN", 0, 1), ("ERB", 2, 2)}),
        # S stands for "single": no run
        ("SYM SYM", {("YM", 0, 0), ("YM", 1, 1)}),
        # INTJ and ADJ begin with I and A; a run of INTJ is one chunk
        ("INTJ INTJ ADJ", {("NTJ", 0, 1), ("DJ", 2, 2)}),
        # "CONJ" both, parted by the S
        ("CCONJ SCONJ", {("CONJ", 1, 1)}),
        # X has the type of O: the first one begins as any, ...
        ("X NOUN", {("_", 0, 0), ("OUN", 1, 1)}),
        # ... one at the end of a sentence does not end, ...
        ("NOUN X|NOUN", {("OUN", 0, 0), ("OUN", 3, 3)}),
        # ... and one at the start of a later sentence began with the chunk before it
        ("NOUN|X NOUN", {("OUN", 0, 0), ("_", 0, 2), ("OUN", 3, 3)}),
    ],
)
def test_chunks_of_tags_without_prefix(tags: str, expected: set[tuple[str, int, int]]) -> None:
    assert chunks(words(tags)) == expected


def test_scores() -> None:
    # gold: PER 0-1, LOC 3; predicted: PER 0-1, PER 3, LOC 5 (after the O of sentence 1 at 4)
    # right: 1 of 3 predicted and of 2 gold. P 1/3, R 1/2, F1 2/5. Tags: 3 of 5.
    scores = get_metric("seqeval_f1").compute(
        predictions=words("B-PER I-PER O B-PER|B-LOC"), references=words("B-PER I-PER O B-LOC|O")
    )
    assert scores == {
        "f1": pytest.approx(40.0),
        "precision": pytest.approx(100 / 3),
        "recall": 50.0,
        "tag_accuracy": 60.0,
    }


def test_a_run_of_part_of_speech_tags_is_right_or_wrong_as_a_whole() -> None:
    # Gold: DET 0, NOUN 1-3, VERB 4. Predicted: DET 0, NOUN 1-2, ADJ 3, VERB 4: 2 of 4, 2 of 3.
    scores = get_metric("seqeval_f1").compute(
        predictions=[["DET", "NOUN", "NOUN", "ADJ", "VERB"]],
        references=[["DET", "NOUN", "NOUN", "NOUN", "VERB"]],
    )
    assert scores["tag_accuracy"] == 80.0
    assert scores["f1"] == pytest.approx(100 * 2 * (1 / 2) * (2 / 3) / (1 / 2 + 2 / 3))


def test_a_label_that_the_gold_tags_lack() -> None:
    scores = get_metric("seqeval_f1").compute(
        predictions=[["B-DATE", "O"]], references=[["O", "B-PER"]]
    )
    assert scores == {"f1": 0.0, "precision": 0.0, "recall": 0.0, "tag_accuracy": 0.0}


@pytest.mark.parametrize("predicted", [["O", "O"], ["B-PER", "O"]])
def test_nothing_to_divide_by_is_zero(predicted: list[str]) -> None:
    scores = get_metric("seqeval_f1").compute(predictions=[predicted], references=[["O", "O"]])
    assert scores["f1"] == scores["precision"] == scores["recall"] == 0.0


def test_empty_sentences_do_not_matter() -> None:
    scores = get_metric("seqeval_f1").compute(
        predictions=[[], ["B-A"], []], references=[[], ["B-A"], []]
    )
    assert set(scores.values()) == {100.0}


def test_lengths_that_differ_name_the_sentence() -> None:
    with pytest.raises(ValueError, match=r"sentence 1 .*: 1 predicted tags, 2 gold tags"):
        get_metric("seqeval_f1").compute(predictions=[["O"], ["O"]], references=[["O"], ["O", "O"]])


def test_an_empty_tag_names_the_sentence() -> None:
    with pytest.raises(ValueError, match=r"sentence 1 .*: a predicted tag is empty"):
        get_metric("seqeval_f1").compute(predictions=[["O"], [""]], references=[["O"], ["O"]])


@pytest.mark.skipif(find_spec("seqeval") is None, reason="seqeval is not installed")
@settings(deadline=None, max_examples=300)
@given(sentences)
def test_is_seqeval(pairs: list[list[tuple[str, str]]]) -> None:
    from seqeval import metrics
    from seqeval.metrics.sequence_labeling import get_entities

    predicted = [[one for one, _ in sentence] for sentence in pairs]
    gold = [[other for _, other in sentence] for sentence in pairs]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = {
            "f1": 100 * metrics.f1_score(gold, predicted),
            "precision": 100 * metrics.precision_score(gold, predicted),
            "recall": 100 * metrics.recall_score(gold, predicted),
        }
        found = {(kind, first, last) for kind, first, last in get_entities(gold)}
    scores = get_metric("seqeval_f1").compute(predictions=predicted, references=gold)
    assert chunks(gold) == found
    assert {key: scores[key] for key in expected} == expected


@settings(deadline=None)
@given(sentences)
def test_bounds_and_symmetry(pairs: list[list[tuple[str, str]]]) -> None:
    predicted = [[one for one, _ in sentence] for sentence in pairs]
    gold = [[other for _, other in sentence] for sentence in pairs]
    scores = get_metric("seqeval_f1").compute(predictions=predicted, references=gold)
    swapped = get_metric("seqeval_f1").compute(predictions=gold, references=predicted)
    assert all(0 <= value <= 100 for value in scores.values())
    assert (scores["precision"], scores["recall"]) == (swapped["recall"], swapped["precision"])
    assert scores["f1"] == pytest.approx(swapped["f1"])
    perfect = get_metric("seqeval_f1").compute(predictions=gold, references=gold)
    assert perfect["f1"] == (100.0 if chunks(gold) else 0.0)
