"""The first examples of a task as a model will see them: pieces, offsets, and what is cut."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from adapter_stilts.backbones import Backbone
from adapter_stilts.data.load import (
    ExampleSet,
    find_all,
    load_examples,
    resolve_where,
    warn_of_unknown_tags,
)
from adapter_stilts.errors import UserError, counted, few
from adapter_stilts.evaluation.chunk_tags import CHUNK_METRIC, chunk_remarks
from adapter_stilts.evaluation.data import has_labels
from adapter_stilts.heads import get_head
from adapter_stilts.heads.base import Encoding
from adapter_stilts.own.build import OwnTask
from adapter_stilts.own.model import named_splits
from adapter_stilts.own.rows import RowReader
from adapter_stilts.tasks.spec import Split, TaskSpec

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Shown:
    """One example, the pieces of its sequences, and how many tokens of its texts were cut."""

    example: dict[str, Any]
    pieces: list[list[str]]
    cut: int
    offsets: list[tuple[str, int, int]]


Part = tuple[str, Split, TaskSpec]
"""A set of examples: what it is called, its split, and the task that it is read as."""


def parts_of(own: OwnTask) -> list[Part]:
    """All sets of examples that a task file names: those to train on, and those of languages."""
    target, named = own.target, named_splits(own.file)
    first = target.train_languages[0]
    found: list[Part] = []
    if "train" in named:
        (*_, learnt) = target.trained_in(first)
        found = [(split, split, learnt) for split in ("train", "dev") if split in named]
    evaluated: list[Split] = [
        split for split in ("dev", "test") if any(each.has(split) for each in target.sources)
    ]
    there = {(split, task.language) for _, split, task in found}
    return found + [
        (f"{split} ({language})", split, target.at(language))
        for split in evaluated
        for language in target.languages
        if (split, language) not in there
    ]


def read_all(own: OwnTask) -> Iterator[str]:
    """Reads all data that a task file names, and counts each part; refuses what is of no use."""
    train: ExampleSet | None = None
    learnt: set[str] = set()
    tags: set[str] = set()
    for name, split, spec in parts_of(own):
        try:
            data = load_examples(spec, split)
        except UserError as error:
            if not own.file.hub or train:
                raise
            raise own.lines.bad(("hub",), error) from error
        labelled = split == "train" or has_labels(spec, split, None, data)
        if labelled and get_head(spec.head).has_tags:
            if train:
                warn_of_unknown_tags(name, data, tags)
            _warn_of_odd_tags(spec, split, train)
        known = sum(each in learnt for each in _inputs(data, spec.head)) if learnt else 0
        remark = f"; {known:,} of them stand in the training data, too" if known else ""
        yield _count_labels(name, data, spec.labels) + remark
        if split == "train":
            train, learnt = data, set(_inputs(data, spec.head))
            if get_head(spec.head).has_tags:
                tags = {tag for row in data.examples["tags"] for tag in row}


def _warn_of_odd_tags(spec: TaskSpec, split: Split, train: ExampleSet | None) -> None:
    """Says what is odd about the tags of other files than those of the training data."""
    learnt = {file for part in (train.parts if train else ()) for file in part.get("files", ())}
    reader = spec.to_example
    here = split == "train" and spec.sources[0].hub is None  # said when the task file was read
    if here or spec.metric != CHUNK_METRIC or not isinstance(reader, RowReader):
        return
    for part in find_all(spec, split, resolve_where(None)):
        if not learnt.isdisjoint(part.describe().get("files", ())):
            continue
        for remark in chunk_remarks(part.rows(), reader.label_names):
            logger.warning("%s", remark)


def _count_labels(name: str, data: ExampleSet, labels: tuple[str, ...]) -> str:
    found: Counter[str] = Counter()
    if "label" in data.examples.column_names:
        numbers = (number for number in data.examples["label"] if number >= 0)
        found.update(labels[number] if labels else str(number) for number in numbers)
    elif "tags" in data.examples.column_names:
        found.update(tag for row in data.examples["tags"] for tag in row)
    about = few([f"{label} {count:,}" for label, count in found.most_common()], 10)
    scores = data.examples["score"] if "score" in data.examples.column_names else ()
    if scores := [each for each in scores if each is not None]:
        same = ": all are alike, so there is nothing to learn" if len(set(scores)) == 1 else ""
        about = f"scores from {min(scores):g} to {max(scores):g}{same}"
    return f"{name}: {counted(len(data.examples), 'example')}" + (f"; {about}" if about else "")


def _inputs(data: ExampleSet, head: str) -> Iterator[str]:
    """What a head reads of each example, as a text to be compared."""
    columns = (data.examples[name] for name in get_head(head).inputs)
    return (json.dumps(row, allow_nan=False) for row in zip(*columns, strict=True))


_ALL = 1 << 24
"""As many pieces as no text has, which no backbone could take: they are counted only."""


def show_examples(own: OwnTask, backbone: Backbone, *, count: int = 5) -> Iterator[Shown]:
    """The first examples of the training data, or else of the first there are, encoded."""
    _, split, task = parts_of(own)[0]
    data = load_examples(task, split).examples
    tokenizer = backbone.tokenizer
    length = min(task.max_length, backbone.max_length)
    encode = get_head(task.head).encode
    how = Encoding(tokenizer, length, min(128, length // 3))
    whole = Encoding(tokenizer, _ALL, 0)
    for example in data.select(range(min(count, len(data)))).to_list():
        columns = {key: [value] for key, value in example.items()}
        ids = _sequences(encode(columns, how))
        longest = _sequences(encode(columns, whole))
        cut = sum(map(len, longest)) - sum(map(len, ids)) if not get_head(task.head).windows else 0
        pieces = [list(tokenizer.convert_ids_to_tokens(each)) for each in ids]
        answers, starts = (example.get(key) or () for key in ("answers", "answer_starts"))
        offsets = [(a, start, start + len(a)) for a, start in zip(answers, starts, strict=False)]
        yield Shown(dict(example), pieces, max(0, cut), offsets)


def _sequences(features: Mapping[str, Any]) -> list[list[int]]:
    found: list[list[int]] = []
    for row in features["input_ids"]:
        found += [list(each) for each in row] if row and isinstance(row[0], list) else [list(row)]
    return found
