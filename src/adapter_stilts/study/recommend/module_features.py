"""What modules make of texts, and what they are made of: the inputs of a recommendation."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from adapter_stilts.data.load import ExampleSet
from adapter_stilts.engine.engine import Engine, check_outputs, module_parameters
from adapter_stilts.features import build_features, collate, longest_first
from adapter_stilts.heads import get_head
from adapter_stilts.inference.vectors import pool
from adapter_stilts.study.recommend.rules import Product, group_means, sequences_of
from adapter_stilts.tasks.spec import TaskSpec
from adapter_stilts.zoo.together import Part, mix_hidden

Floats = npt.NDArray[np.float64]
LONGEST = 256
"""Tokens of a text that are read at most."""


def feature_columns(engine: Engine, task: TaskSpec, data: ExampleSet) -> dict[str, list[Any]]:
    """The features of a task's examples, as its head would be trained on them."""
    tags = (
        sorted({tag for row in data.examples["tags"] for tag in row})
        if get_head(task.head).has_tags
        else None
    )
    built = build_features(
        task.head,
        data.examples,
        data.fingerprint,
        engine.backbone.tokenizer,
        max_length=engine.backbone.sequence_length(min(LONGEST, task.max_length)),
        stride=64,
        tags=tags,
    )
    columns: dict[str, list[Any]] = built[:]
    return columns


def states(
    engine: Engine,
    block: Any,
    sequences: Sequence[Sequence[int]],
    places: Sequence[Sequence[int]] | None,
    *,
    batch_tokens: int,
) -> Floats:
    """The last layer's states of texts, the composition `block` being active (None: none is).

    Args:
        places: which tokens of each sequence are a row each; None makes each one row, the mean.

    Returns:
        (rows, d), in the sequences' order.
    """
    engine.model.eval()
    lengths = np.array([len(each) for each in sequences], dtype=np.int64)
    pad = engine.backbone.pad_id
    found: list[Any] = [None] * len(sequences)
    for numbers in longest_first(lengths, batch_tokens):
        batch = collate([{"input_ids": list(sequences[number])} for number in numbers], pad)
        hidden = mix_hidden(engine, batch, [Part(block, len(numbers))]).last_hidden_state
        check_outputs([hidden], of="the composition")
        means = pool(hidden, batch["attention_mask"].to(hidden.device))[:, None]
        for place, number in enumerate(numbers):
            rows = means[place] if places is None else hidden[place, list(places[number])]
            found[number] = rows.double().cpu().numpy()
    whole: Floats = np.concatenate(found)
    return whole


def text_vectors(engine: Engine, task: TaskSpec, data: ExampleSet, *, batch_tokens: int) -> Floats:
    """The plain backbone's mean state of every example: (examples, d)."""
    sequences, examples = sequences_of(feature_columns(engine, task, data))
    each = states(engine, None, sequences, None, batch_tokens=batch_tokens)
    return group_means(each, examples)[0]


_PAIR = re.compile(
    r"(.+)\.(?:loras|adapters)\.[^.]+\.(lora_A|lora_B|adapter_down\.0\.weight|adapter_up\.weight)"
)


def products(engine: Engine, name: str) -> dict[str, Product]:
    """A module's down- and up-projections by place; those of what is neither are left out."""
    found: dict[str, dict[bool, Floats]] = {}
    for key, parameter in module_parameters(engine, name).items():
        if match := _PAIR.fullmatch(key):
            is_up = match[2] in ("lora_B", "adapter_up.weight")
            found.setdefault(match[1], {})[is_up] = parameter.detach().double().cpu().numpy()
    return {place: (pair[False], pair[True]) for place, pair in found.items() if len(pair) == 2}
