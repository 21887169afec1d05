"""Tagging: the first piece of a word carries its tag; long sentences become several windows."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import accumulate, zip_longest
from typing import Any, TypedDict

from adapter_stilts.errors import few, shown
from adapter_stilts.heads.base import (
    Columns,
    Decoded,
    Encoding,
    Example,
    Features,
    Head,
    Outputs,
    Prediction,
    TargetLike,
    TaskLike,
    template,
)

IGNORED = -100
"""The label that the loss leaves out: special tokens and all but a word's first piece."""


class TaggingExample(TypedDict):
    """One tag a word."""

    id: str
    words: list[str]
    tags: list[str]


class WordError(ValueError):
    """What is wrong with one of a sentence's words: `word` is its number, from 0."""

    def __init__(self, word: int, what: str) -> None:
        super().__init__(what)
        self.word = word


def _pieces_by_word(encoded: Any, row: int, words: int, unknown: int, room: int) -> list[list[int]]:
    pieces: list[list[int]] = [[] for _ in range(words)]
    for piece, word in zip(encoded["input_ids"][row], encoded.word_ids(row), strict=True):
        pieces[word].append(piece)
    return [word[:room] or [unknown] for word in pieces]


def _spread(tags: Sequence[int], starts: Sequence[int], length: int) -> list[int]:
    """A label for each of a window's pieces: the tags at the word starts, else `IGNORED`."""
    labels = [IGNORED] * length
    for start, tag in zip(starts, tags, strict=True):
        labels[start] = tag
    return labels


def _windows(sizes: Sequence[int], room: int) -> list[tuple[int, int]]:
    """Consecutive word ranges whose pieces fit into `room`."""
    windows, first, used = [], 0, 0
    for number, size in enumerate(sizes):
        if used + size > room:
            windows.append((first, number))
            first, used = number, 0
        used += size
    windows.append((first, len(sizes)))
    return windows


def decode(
    window_tags: Sequence[Sequence[int]],
    windows: Mapping[str, Sequence[Any]],
    tags: Sequence[str],
    word_counts: Sequence[int],
) -> list[list[str]]:
    """Joins the windows' tags into one tag a word.

    Args:
        window_tags: for every window, the tag number at each of its word starts.
        windows: the columns `example` and `first_word` of `encode`.
        tags: tag names by number.
        word_counts: words of each sentence.
    """
    decoded = [[""] * count for count in word_counts]
    rows = zip(window_tags, windows["example"], windows["first_word"], strict=True)
    for numbers, example, first in rows:
        for place, number in enumerate(numbers):
            decoded[example][first + place] = tags[number]
    return decoded


class _Tagging(Head):
    name = "tagging"
    columns = {"id": "text", "words": "texts", "tags": "texts"}
    gold = "tags"
    has_tags = True
    windows = ("example", "first_word")
    library = "tagging"
    auto_class = "AutoModelForTokenClassification"
    peft_task = "TOKEN_CLS"
    peft_layers = {"bert": {"1": "classifier"}, "xlm-roberta": {"1": "classifier"}}
    pipeline = "token-classification"
    inputs = ("words",)
    needs = ("words",)
    aliases = {"words": ("tokens", "text")}
    listed = ("words",)
    parts = ("words", "tags")
    metrics = ("seqeval_f1", "tag_accuracy")
    category = "structured"

    def check(self, task: TaskLike, example: Example) -> None:
        """Refuses another number of tags than of words, empty ones, and tags outside the task's."""
        words, tags = example["words"], example["tags"]
        if words and not tags and not task.unlabelled:
            raise WordError(0, f"{shown(words[0])} has no tag, so nothing can be learnt from it")
        if len(words) != len(tags) and (tags or not task.unlabelled):
            raise ValueError(f"{len(words)} words but {len(tags)} tags")
        if not words:
            raise ValueError("the sentence has no words")
        for number, (word, tag) in enumerate(zip_longest(words, tags, fillvalue="-")):
            if not (word and tag):
                raise WordError(number, f"a {'tag' if word else 'word'} is empty")
        if task.tags:
            _check_tags(task, words, tags)

    def encode(self, examples: Columns, how: Encoding) -> Features:
        """Windows over each sentence's pieces, cut between words.

        Every word is in exactly one window: nothing is dropped. A single word with more pieces
        than a window holds keeps its first ones. A word of which the tokenizer makes no piece at
        all (a lone variation selector, say) gets the unknown piece. A tag that is not known (dev
        data may hold some) gets `IGNORED` in the loss and counts as wrong in the score.

        Returns:
            Columns `input_ids`, `length`, `example`, `word_starts` (positions of the first pieces
            of the window's words), `first_word` (number of the window's first word in its
            sentence) and, where tags are given, `labels` (one a piece).
        """
        tokenizer = how.tokenizer
        numbers = {tag: number for number, tag in enumerate(how.tags or ())}
        words = [list(sentence) for sentence in examples["words"]]
        encoded = tokenizer(
            words, is_split_into_words=True, add_special_tokens=False, verbose=False
        )
        special = template(tokenizer, pair=False)
        room = how.max_length - special.size
        columns = ("input_ids", "length", "example", "word_starts", "first_word")
        features: Features = {key: [] for key in columns}
        if how.tags is not None:
            features["labels"] = []
        for row, sentence in enumerate(words):
            pieces = _pieces_by_word(encoded, row, len(sentence), tokenizer.unk_token_id, room)
            for first, last in _windows([len(p) for p in pieces], room):
                flat = [piece for word in pieces[first:last] for piece in word]
                input_ids = special.around(flat)
                sizes = (len(word) for word in pieces[first:last])
                starts = list(accumulate(sizes, initial=len(special.before)))[:-1]
                found = (input_ids, len(input_ids), row, starts, first)
                for key, value in zip(columns, found, strict=True):
                    features[key].append(value)
                if how.tags is not None:
                    tags = [numbers.get(tag, IGNORED) for tag in examples["tags"][row][first:last]]
                    features["labels"].append(_spread(tags, starts, len(input_ids)))
        return features

    def add(self, model: Any, name: str, labels: Sequence[str], choices: int) -> None:
        """One linear layer with one logit a tag for every piece."""
        model.add_tagging_head(
            name, num_labels=len(labels), layers=1, id2label=dict(enumerate(labels))
        )

    def split(self, output: Any, columns: Columns) -> list[Any]:
        """The best tag's number at each word start."""
        best = output.logits.argmax(-1).cpu().numpy()
        return [tags[starts] for tags, starts in zip(best, columns["word_starts"], strict=True)]

    def decode(self, outputs: Outputs) -> Decoded:
        """The tag of every word, put together from an example's windows."""
        counts = [len(words) for words in outputs.examples["words"]]
        return list(decode(outputs.rows, outputs.windows, outputs.tags, counts)), None

    def say(self, predicted: Prediction) -> dict[str, Any]:
        """Every word with its tag."""
        return {"tags": list(zip(predicted.row["words"], predicted.value, strict=True))}

    def line(self, answer: Mapping[str, Any]) -> str:
        """Words with their tags, as `word|tag`."""
        return " ".join(f"{word}|{tag}" for word, tag in answer["tags"])

    def written(self, target: TargetLike, values: Sequence[Any], examples: Any) -> list[str]:
        """A tag a line, and an empty line after each sentence."""
        return [line for tags in values for line in (*tags, "")]

    def example(self, row: Any) -> TaggingExample:
        """Words and their tags, as a list or separated by white space."""
        words = row.words("words")
        return {"id": row.id(), "words": words, "tags": row.tags()}


def _check_tags(task: TaskLike, words: Sequence[str], tags: Sequence[str]) -> None:
    """Refuses a tag outside the task's set; and tags that are part of the words."""
    known = set(task.tags)
    name = task.name.partition(".")[0]
    for number, (word, tag) in enumerate(zip(words, tags, strict=False)):
        if tag not in known:
            remedy = "another set is named with --tags"
            if word in known and tag not in words:
                remedy = "are the columns swapped?"
            what = f"{shown(tag)} is no tag of {name} ({few(task.tags, 100)})"
            raise WordError(number, f"{what}: {remedy}")
    if not tags and all(_ends_in_tag(word, known) for word in words):
        raise WordError(0, f"{shown(words[0])} where a word, a tab and its tag belong")


def _ends_in_tag(word: str, tags: set[str]) -> bool:
    match = re.fullmatch(r".+[,;|/](.+)", word)
    return match is not None and match[1] in tags


HEAD = _Tagging()
