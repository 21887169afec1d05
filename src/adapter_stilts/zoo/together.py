"""Inputs for several modules on one backbone, answered together, in one go or slice by slice.

Their sequences are sorted by length, and batches are of mixed modules.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import groupby
from typing import Any, NamedTuple, TypeVar, cast

import datasets
import torch
from torch import Tensor
from transformers.modeling_outputs import BaseModelOutput

from adapter_stilts.engine.composition import module_names
from adapter_stilts.engine.engine import Engine, activate_block, check_outputs, layer_of
from adapter_stilts.engine.patches import compose_by_rows
from adapter_stilts.features import collate
from adapter_stilts.heads import get_head
from adapter_stilts.heads.base import padded_length
from adapter_stilts.inference.predictions import Predictions, decode_outputs, default_batch_tokens
from adapter_stilts.inference.vectors import pool, to_unit_length
from adapter_stilts.tasks.spec import HeadKind
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
    layers (`can_mix`). A batch has `batch_tokens` padded tokens at most; None: what suits the
    device.
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


_LONG = 128
"""Tokens from which on it pays to run short rows apart: a pass has a cost of its own."""


@dataclass(frozen=True)
class Share:
    """The feature columns of one composition's inputs, and what runs them.

    `block` is what the engine activates, `head` the head's name there. Without `mixes` its rows
    get batches of their own.
    """

    block: Any
    head: str
    kind: HeadKind
    features: Mapping[str, Sequence[Any]]
    mixes: bool = True


class _Row(NamedTuple):
    share: int
    number: int
    sequences: list[list[int]]

    @property
    def longest(self) -> int:
        """The tokens of its longest sequence."""
        return max(map(len, self.sequences))


def run_mixed(engine: Engine, shares: Sequence[Share], *, batch_tokens: int) -> list[list[Any]]:
    """What every composition's head says of each of its feature rows, in their order.

    The outputs are those of `inference.predictions.run_features` for the same kind; for the kind
    `embedding`, sentence vectors (the mean of the last layer, of length 1).
    """
    engine.model.eval()
    outputs: list[list[Any]] = [[None] * len(share.features["input_ids"]) for share in shares]
    for rows in _plan(shares, batch_tokens):
        for row, output in _run(engine, shares, rows):
            outputs[row.share][row.number] = output
    return outputs


def _plan(shares: Sequence[Share], batch_tokens: int) -> Iterator[list[_Row]]:
    """Batches in order of falling length, the rows of one composition side by side in each."""
    pools: dict[int, list[_Row]] = {}
    for place, share in enumerate(shares):
        nested = get_head(share.kind).nested
        pool_ = pools.setdefault(-1 if share.mixes else place, [])
        for number, ids in enumerate(share.features["input_ids"]):
            pool_.append(_Row(place, number, ids if nested else [ids]))
    for rows in pools.values():
        batch: list[_Row] = []
        for row in sorted(rows, key=lambda row: -row.longest):
            count = sum(len(each.sequences) for each in (*batch, row))
            longest = padded_length(batch[0].longest) if batch else 0
            # Short rows in a batch of long ones would be padding for the most part.
            is_short = longest >= _LONG and 2 * padded_length(row.longest) <= longest
            if batch and (is_short or count * longest > batch_tokens):
                yield sorted(batch, key=lambda row: row.share)
                batch = []
            batch.append(row)
        if batch:
            yield sorted(batch, key=lambda row: row.share)


def _run(
    engine: Engine, shares: Sequence[Share], rows: Sequence[_Row]
) -> Iterator[tuple[_Row, Any]]:
    flat = [{"input_ids": ids} for row in rows for ids in row.sequences]
    tensors = collate(flat, engine.backbone.pad_id)
    groups = [(number, list(own)) for number, own in groupby(rows, key=lambda row: row.share)]
    counts = [sum(len(row.sequences) for row in own) for _, own in groups]
    parts = [
        Part(shares[number].block, count) for (number, _), count in zip(groups, counts, strict=True)
    ]
    output = mix_hidden(engine, tensors, parts)
    mask, first = tensors["attention_mask"].to(engine.device), 0
    for (number, own), count in zip(groups, counts, strict=True):
        cut = slice(first, first + count)
        first += count
        pooled = getattr(output, "pooler_output", None)
        seen = _Seen(
            output.last_hidden_state[cut], mask[cut], None if pooled is None else pooled[cut]
        )
        yield from zip(own, _said(engine, shares[number], own, seen), strict=True)


def _check(share: Share, values: Iterable[Any]) -> None:
    check_outputs(values, of=f"module '{share.head}'", module=share.head)


class _Seen(NamedTuple):
    """What the trunk made of one composition's sequences."""

    hidden: Tensor
    mask: Tensor
    pooled: Tensor | None


def _said(engine: Engine, share: Share, rows: Sequence[_Row], seen: _Seen) -> list[Any]:
    """A head's outputs for its own rows' hidden states; NotFiniteError if they are no numbers."""
    _check(share, [seen.hidden])
    if not get_head(share.kind).has_weights:
        vectors = to_unit_length(
            pool(seen.hidden, seen.mask), of=f"module '{share.head}'", module=share.head
        )
        return list(vectors.half().cpu().numpy())
    with engine.running():
        output = engine.model.heads[share.head](
            BaseModelOutput(last_hidden_state=cast(torch.FloatTensor, seen.hidden)),
            attention_mask=seen.mask,
            return_dict=True,
            pooled_output=seen.pooled,
        )
    _check(share, output.values())
    columns = {"input_ids": [row.sequences[0] for row in rows]}
    if "word_starts" in share.features:
        columns["word_starts"] = [share.features["word_starts"][row.number] for row in rows]
    return get_head(share.kind).split(output, columns)


_INSIDE = (".adapters.", ".loras.", ".adapter_fusion_layer.", ".fusions.")


class Part(NamedTuple):
    """The next so many sequences of a batch, and the block they go through (None: no module)."""

    block: Any
    sequences: int


def can_mix(engine: Engine, modules: Iterable[str]) -> bool:
    """Whether a composition of these modules (by name in the engine) can share a batch.

    All of a module must lie in bottlenecks, LoRAs and fusions of the trunk's layers. Invertible
    adapters act on the embeddings, prefixes on the attention: these run by themselves.
    """
    return all(
        key.startswith("heads.")
        or (layer_of(key) is not None and any(place in key for place in _INSIDE))
        for name in modules
        for key in engine.modules[name]
    )


def mix_hidden(engine: Engine, batch: dict[str, Tensor], parts: Sequence[Part]) -> Any:
    """What leaves the trunk's last layer, every part's sequences having met its own modules.

    The batch has `input_ids` and `attention_mask`, (S, L), the parts' sequences one after another;
    the trunk's output `last_hidden_state`, (S, L, D), and `pooler_output`.
    """
    trunk = engine.model.base_model
    alone = len(parts) == 1
    activate_block(engine, parts[0].block if alone else None, "")
    with nullcontext() if alone else compose_by_rows(trunk, parts), engine.running():
        return trunk(**engine.moved(batch))
