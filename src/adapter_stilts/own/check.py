"""The first examples of a task as a model will see them: pieces, offsets, and what is cut."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from adapter_stilts.backbones import Backbone
from adapter_stilts.data.load import load_examples
from adapter_stilts.features.build import encoder
from adapter_stilts.heads import get_head
from adapter_stilts.own.build import OwnTask


@dataclass(frozen=True)
class Shown:
    """One example, the pieces of its sequences, and how many tokens of its texts were cut."""

    example: dict[str, Any]
    pieces: list[list[str]]
    cut: int
    offsets: list[tuple[str, int, int]]


def show_examples(own: OwnTask, backbone: Backbone, *, count: int = 5) -> Iterator[Shown]:
    """The first examples of the training data, encoded as for training.

    Raises:
        UserError: the data cannot be used; names file and line.
    """
    task = own.task
    data = load_examples(task, "train").examples
    tokenizer = backbone.tokenizer
    length = min(task.max_length, backbone.max_length)
    encode = encoder(task.head, tokenizer, max_length=length, stride=min(128, length // 3))
    whole = encoder(task.head, tokenizer, max_length=backbone.max_length, stride=0)
    for example in data.select(range(min(count, len(data)))).to_list():
        columns = {key: [value] for key, value in example.items()}
        ids = _sequences(encode(columns))
        longest = _sequences(whole(columns))
        cut = sum(map(len, longest)) - sum(map(len, ids)) if not get_head(task.head).windows else 0
        pieces = [list(tokenizer.convert_ids_to_tokens(each)) for each in ids]
        yield Shown(dict(example), pieces, max(0, cut), list(_offsets(example)))


def _sequences(features: Mapping[str, Any]) -> list[list[int]]:
    found: list[list[int]] = []
    for row in features["input_ids"]:
        found += [list(each) for each in row] if row and isinstance(row[0], list) else [list(row)]
    return found


def _offsets(example: Mapping[str, Any]) -> Iterator[tuple[str, int, int]]:
    """Answers with the characters they take in the context."""
    starts = example.get("answer_starts") or ()
    for answer, start in zip(example.get("answers") or (), starts, strict=False):
        yield answer, start, start + len(answer)
