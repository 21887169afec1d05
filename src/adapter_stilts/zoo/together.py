"""Inputs for several modules on one backbone, answered together, in one go or slice by slice."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import datasets

from adapter_stilts.engine.composition import module_names
from adapter_stilts.heads import get_head
from adapter_stilts.inference.mixed import Share, can_mix, run_mixed
from adapter_stilts.inference.predictions import Predictions, decode_outputs, default_batch_tokens
from adapter_stilts.zoo.module import Module

T = TypeVar("T")
Input = tuple[Module, Mapping[str, Any]]

_WINDOWS = ("example", "context_start", "offsets", "first_word")
_COUNTED = 1 << 14
"""Characters that are counted at a time."""


@dataclass(frozen=True)
class Prepared:
    """An input as its module reads it.

    `features` are the feature columns of its windows, `sizes` their tokens, and `outputs` what the
    head says of each, once it has been run.
    """

    module: Module
    row: Mapping[str, Any]
    features: Mapping[str, list[Any]]
    sizes: list[int]
    outputs: list[Any]


def exceeds(inputs: Sequence[Input], most: int) -> bool:
    """Whether the texts have more tokens than that; no more of them is read than is needed."""
    if not inputs:
        return False
    tokenizer = inputs[0][0].engine.backbone.tokenizer.backend_tokenizer
    # What the last call cut and padded is kept in the tokenizer.
    tokenizer.no_truncation()
    tokenizer.no_padding()
    count = 0
    for text, least in (each for _, row in inputs for each in _texts(row.values())):
        before = count
        for start in range(0, len(text), _COUNTED):
            part = text[start : start + _COUNTED]
            count += len(tokenizer.encode(part, add_special_tokens=False))
            if count > most:
                return True
        count = max(count, before + least)
    return count > most


def _texts(values: Iterable[Any]) -> Iterator[tuple[str, int]]:
    """The texts of an input, with the tokens that each has at least."""
    for value in values:
        if isinstance(value, str):
            yield value, 0
        elif isinstance(value, list):
            # Words are counted together, as one call of the tokenizer for each would take long;
            # one without tokens of its own is still read as one.
            yield " ".join(map(str, value)), len(value)


def prepare(inputs: Sequence[Input]) -> list[Prepared]:
    """Inputs cut into windows of token ids."""
    found: dict[int, Prepared] = {}
    for module, places in _grouped(inputs, lambda each: each[0]):
        rows = [inputs[place][1] for place in places]
        features = module.encode(get_head(module.kind).read(rows))
        windows: list[list[int]] = [[] for _ in rows]
        for number, example in enumerate(features["example"]):
            windows[example].append(number)
        for place, row, own in zip(places, rows, windows, strict=True):
            cut = {name: [column[n] for n in own] for name, column in features.items()}
            found[place] = Prepared(module, row, cut, cut["length"], [None] * len(own))
    return [found[place] for place in range(len(inputs))]


def run(pieces: Sequence[tuple[Prepared, int]], *, batch_tokens: int | None = None) -> None:
    """Runs windows, each given by its input and its number there, and keeps the outputs there.

    Windows of different modules share a batch, too, unless one of these acts outside the trunk's
    layers (`engine.mixed.can_mix`).

    Args:
        batch_tokens: padded tokens a batch at most; None: what suits the device.
    """
    if not pieces:
        return
    engine = pieces[0][0].module.engine
    groups = _grouped(pieces, lambda each: each[0].module)
    shares = [_share(module, [pieces[place] for place in places]) for module, places in groups]
    tokens = batch_tokens or default_batch_tokens(engine.device)
    outputs = run_mixed(engine, shares, batch_tokens=tokens)
    for (_, places), said in zip(groups, outputs, strict=True):
        for place, output in zip(places, said, strict=True):
            prepared, number = pieces[place]
            prepared.outputs[number] = output


def finish(done: Sequence[Prepared]) -> list[dict[str, Any]]:
    """The answers to inputs all of whose windows were run, in their order."""
    answers: dict[int, dict[str, Any]] = {}
    for module, places in _grouped(done, lambda each: each.module):
        own = [done[place] for place in places]
        rows = [each.row for each in own]
        answers.update(zip(places, module.report(rows, _decoded(module, own)), strict=True))
    return [answers[place] for place in range(len(done))]


def _grouped(
    items: Sequence[T], module_of: Callable[[T], Module]
) -> list[tuple[Module, list[int]]]:
    """The places of the items of each module."""
    groups: dict[str, tuple[Module, list[int]]] = {}
    for place, item in enumerate(items):
        module = module_of(item)
        assert module.composed is not None
        groups.setdefault(module.composed.content, (module, []))[1].append(place)
    return list(groups.values())


def _share(module: Module, pieces: Sequence[tuple[Prepared, int]]) -> Share:
    composed = module.composed
    assert composed is not None
    names = [name for name in ("input_ids", "word_starts") if name in pieces[0][0].features]
    return Share(
        block=composed.block,
        head=composed.name,
        kind=module.kind,
        features={name: [each.features[name][n] for each, n in pieces] for name in names},
        mixes=can_mix(module.engine, module_names(composed.inside)),
    )


def _decoded(module: Module, own: Sequence[Prepared]) -> Predictions:
    outputs = [output for each in own for output in each.outputs]
    if not get_head(module.kind).has_weights:
        return Predictions(module.kind, outputs)
    windows: dict[str, list[Any]] = {
        name: [value for each in own for value in each.features[name]]
        for name in _WINDOWS
        if name in own[0].features
    }
    windows["example"] = [place for place, each in enumerate(own) for _ in each.sizes]
    examples = datasets.Dataset.from_dict(get_head(module.kind).read([each.row for each in own]))
    return decode_outputs(module.kind, outputs, windows, examples, module.labels)
