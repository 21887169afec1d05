"""Inputs for several modules on one backbone, answered together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import datasets

from adapter_stilts.inference.mixed import Share, run_mixed
from adapter_stilts.inference.predictions import Predictions, decode_outputs
from adapter_stilts.inference.run import default_batch_tokens
from adapter_stilts.modules.composition import leaves
from adapter_stilts.modules.mixed import can_mix
from adapter_stilts.zoo.module import Module
from adapter_stilts.zoo.rows import columns_of

_WINDOWS = ("example", "context_start", "offsets", "first_word")


def predict_together(
    inputs: Sequence[tuple[Module, Mapping[str, Any]]], *, batch_tokens: int | None = None
) -> list[dict[str, Any]]:
    """What each module says of its input, in the inputs' order.

    Inputs of one module share a batch, and those of different modules do too, unless one of
    their modules acts outside the trunk's layers (`modules.mixed.can_mix`).

    Args:
        inputs: modules of one engine, loaded with `load_resolved`, and what each is to work on,
            by the field names of `zoo.inputs.FIELDS`.
        batch_tokens: padded tokens a batch at most; None: what suits the device.
    """
    if not inputs:
        return []
    engine = inputs[0][0].engine
    places: dict[str, list[int]] = {}
    for place, (module, _) in enumerate(inputs):
        places.setdefault(_key(module), []).append(place)
    groups = [(inputs[own[0]][0], own) for own in places.values()]
    columns = [
        columns_of(module.kind, [inputs[place][1] for place in own]) for module, own in groups
    ]
    shares = [_share(module, each) for (module, _), each in zip(groups, columns, strict=True)]
    tokens = batch_tokens or default_batch_tokens(engine.device)
    outputs = run_mixed(engine, shares, batch_tokens=tokens)
    answers: list[dict[str, Any]] = [{} for _ in inputs]
    for (module, own), share, said, column in zip(groups, shares, outputs, columns, strict=True):
        found = _decoded(module, share, said, column)
        rows = [inputs[place][1] for place in own]
        for place, answer in zip(own, module.told(rows, found), strict=True):
            answers[place] = answer
    return answers


def _key(module: Module) -> str:
    assert module.composed is not None
    return module.composed.identity


def _share(module: Module, columns: Mapping[str, Sequence[Any]]) -> Share:
    composed = module.composed
    assert composed is not None
    return Share(
        block=composed.block,
        head=composed.name,
        kind=module.kind,
        features=module.encode(columns),
        mixes=can_mix(module.engine, leaves(composed.inside)),
    )


def _decoded(
    module: Module, share: Share, outputs: list[Any], columns: Mapping[str, Sequence[Any]]
) -> Predictions:
    if share.kind == "embedding":
        return Predictions(share.kind, outputs)
    windows = {name: share.features[name] for name in _WINDOWS if name in share.features}
    examples = datasets.Dataset.from_dict(dict(columns))
    return decode_outputs(share.kind, outputs, windows, examples, module.labels)
