"""What must hold for an example before anything is trained on it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from adapter_stilts.tasks.rows import check_offset, shown
from adapter_stilts.tasks.spec import (
    UNLABELLED,
    ChoiceExample,
    EmbeddingExample,
    Example,
    HeadKind,
    PairExample,
    SpanExample,
    TaggingExample,
    TaskSpec,
)


class WordError(ValueError):
    """What is wrong with one of a sentence's words: `word` is its number, from 0."""

    def __init__(self, word: int, what: str) -> None:
        super().__init__(what)
        self.word = word


def check_example(task: TaskSpec, example: Example) -> None:
    """Holds the example against its task.

    Raises:
        ValueError: the label is outside the set, the
            number of options or of tags is wrong, or a text is missing.
    """
    # A TypedDict leaves no trace at run time: the head kind says which one it is.
    if task.head == "classification":
        _check_pair(task, example)  # type: ignore[arg-type]
    elif task.head == "choice":
        _check_choice(task, example)  # type: ignore[arg-type]
    elif task.head == "span":
        _check_span(task, example)  # type: ignore[arg-type]
    elif task.head == "tagging":
        _check_tagging(task, example)  # type: ignore[arg-type]
    else:
        _check_embedding(task, example)  # type: ignore[arg-type]


def is_labelled(head: HeadKind, example: Mapping[str, Any]) -> bool:
    """Whether the example has what it is scored by."""
    column = {"span": "answers", "tagging": "tags", "embedding": "gold"}.get(head)
    return bool(example[column]) if column else example["label"] != UNLABELLED


def _check_label(task: TaskSpec, label: int, count: int) -> None:
    if not (0 <= label < count or (task.unlabelled and label == UNLABELLED)):
        raise ValueError(f"label {shown(label)} is outside the set (0 to {count - 1})")


def _check_pair(task: TaskSpec, example: PairExample) -> None:
    _check_label(task, example["label"], len(task.labels))
    # One text may be empty: Quora's own release has such questions.
    if not example["text_a"] and not example["text_b"]:
        raise ValueError("both texts are empty")


def _check_choice(task: TaskSpec, example: ChoiceExample) -> None:
    count = len(example["options"])
    if count != task.choices:
        raise ValueError(f"{count} options where {task.name} has {task.choices}")
    _check_label(task, example["label"], count)
    if not example["prompt"] or not example["options"][example["label"]]:
        raise ValueError("the prompt or the right option is empty")


def _check_span(task: TaskSpec, example: SpanExample) -> None:
    context = example["context"]
    named = example["id"] or task.identity  # a user's own rows are numbered
    if not named or not example["question"] or not context:
        raise ValueError("the id, the question or the context is empty")
    if len(example["answers"]) != len(example["answer_starts"]):
        raise ValueError("as many answers as answer_starts were expected")
    if not example["answers"] and not (task.unanswerable or task.unlabelled):
        raise ValueError("the question has no answer (squad-v2 is the task for these)")
    if not all(example["answers"]):
        raise ValueError("an answer is empty")


def check_offsets(example: SpanExample) -> None:
    """Holds the answers against the context. Only what is learnt from needs their offsets.

    Raises:
        OffsetError: an answer does not stand at its offset.
    """
    for answer, start in zip(example["answers"], example["answer_starts"], strict=True):
        check_offset(example["context"], answer, start)


def _check_tagging(task: TaskSpec, example: TaggingExample) -> None:
    words, tags = example["words"], example["tags"]
    if words and not tags and not task.unlabelled:
        raise WordError(0, f"{shown(words[0])} has no tag, so nothing can be learnt from it")
    if len(words) != len(tags) and (tags or not task.unlabelled):
        raise ValueError(f"{len(words)} words but {len(tags)} tags")
    if not words or not all(words) or not all(tags):
        raise ValueError("the sentence has no words, or a word or tag is empty")
    if task.tags:
        _check_tags(task, words, tags)


def _check_tags(task: TaskSpec, words: Sequence[str], tags: Sequence[str]) -> None:
    """Refuses a tag outside the task's set; and tags that are part of the words."""
    known = set(task.tags)
    name = task.name.partition(".")[0]
    for number, (word, tag) in enumerate(zip(words, tags, strict=False)):
        if tag not in known:
            remedy = "another set is named with --tags"
            if word in known and tag not in words:
                remedy = "are the columns swapped?"
            what = f"{shown(tag)} is no tag of {name} ({', '.join(task.tags)})"
            raise WordError(number, f"{what}: {remedy}")
    if not tags and all(_ends_in_tag(word, known) for word in words):
        raise WordError(0, f"{shown(words[0])} where a word, a tab and its tag belong")


def _ends_in_tag(word: str, tags: set[str]) -> bool:
    match = re.fullmatch(r".+[,;|/](.+)", word)
    return match is not None and match[1] in tags


def _check_embedding(task: TaskSpec, example: EmbeddingExample) -> None:
    if not (example["query"] or example["text"] or example["gold"]):
        raise ValueError("neither a query nor a text")
    # The sides of an evaluation come one by one; what is learnt from has both.
    if not task.unlabelled and not (example["query"] and example["text"]):
        raise ValueError("the query or the text is empty")
