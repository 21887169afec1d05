"""Runs a composition over texts and gathers what its fusions attend to."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import datasets
import torch
from torch import Tensor

from adapter_stilts.engine.composition import attending, canonical
from adapter_stilts.engine.engine import Engine, activate_block, forward
from adapter_stilts.engine.fusion_forward import Attended, watching
from adapter_stilts.evaluation.candidates import Candidate
from adapter_stilts.evaluation.data import TargetData
from adapter_stilts.evaluation.options import Asked
from adapter_stilts.features import build_features
from adapter_stilts.inference.predictions import batches, default_batch_tokens
from adapter_stilts.tasks.target_spec import TargetSpec
from adapter_stilts.zoo.local import Composed, load_resolved
from adapter_stilts.zoo.resolved_composition import ResolvedComposition

STRIDE = 128
"""Of windows over long texts, where the fusion's head was not trained on windows."""
_INPUTS = ("input_ids", "attention_mask")


@dataclass
class Gathered:
    """Sums over tokens, by layer (and source), with the number of tokens in each sum.

    `sources` has, by a fusion's name in the engine, what its sources are called.
    """

    sources: Mapping[str, Sequence[str]]
    mask: Tensor = field(default_factory=lambda: torch.zeros(0))
    tokens: int = 0
    _weights: dict[tuple[int, str], float] = field(default_factory=lambda: defaultdict(float))
    _entropy: dict[int, float] = field(default_factory=lambda: defaultdict(float))
    _counts: dict[tuple[int, str], int] = field(default_factory=lambda: defaultdict(int))

    def add(self, told: Attended) -> None:
        """Adds what one layer attended to in the batch whose `mask` is set."""
        if told.fusion not in self.sources:
            return
        weights = told.weights[self.mask.bool()].double()  # (real tokens, sources)
        rows, count = weights.shape
        names = [self.sources[told.fusion][number] for number in told.sources]
        for name, total in zip(names, weights.sum(0).tolist(), strict=True):
            self._weights[told.layer, name] += total
            self._counts[told.layer, name] += rows
        spread = -(weights * weights.clamp(min=1e-12).log()).sum()
        self._entropy[told.layer] += float(spread) / math.log(count) if count > 1 else 0.0
        self._counts[told.layer, ""] += rows

    @property
    def weights(self) -> dict[int, dict[str, float]]:
        """Mean weights by layer and source."""
        found: dict[int, dict[str, float]] = defaultdict(dict)
        for (layer, name), total in sorted(self._weights.items(), key=lambda item: item[0][0]):
            found[layer][name] = total / self._counts[layer, name]
        return dict(found)

    @property
    def entropy(self) -> dict[int, float]:
        """Mean entropies by layer."""
        return {
            layer: total / self._counts[layer, ""] for layer, total in sorted(self._entropy.items())
        }


def gather(
    engine: Engine,
    resolved: ResolvedComposition,
    target: TargetSpec,
    read: TargetData,
    asked: Asked,
) -> Iterator[tuple[str, Gathered]]:
    """What the composition's fusions attend to in every language's texts.

    These are cut as the fusion was trained, if on tasks of this kind.
    """
    length, stride = Candidate(target, resolved).window
    composed = load_resolved(engine, resolved)
    pairs = zip(attending(composed.inside), attending(resolved.expression), strict=True)
    sources = {
        inside.by or canonical(inside): [canonical(part) for part in each.parts]
        for inside, each in pairs
    }
    most = asked.batch_tokens or default_batch_tokens(engine.device)
    for language, part in read.languages.items():
        features = build_features(
            target.head,
            part.examples.examples,
            part.fingerprint if target.retrieval is None else part.examples.fingerprint,
            engine.backbone.tokenizer,
            max_length=engine.backbone.sequence_length(length),
            stride=stride or STRIDE,
        )
        if asked.limit is not None and target.retrieval is not None:
            features = features.select(range(min(asked.limit, len(features))))
        found = Gathered(sources)
        _run(engine, composed, features, found, most)
        yield language, found


def _run(
    engine: Engine, composed: Composed, features: datasets.Dataset, found: Gathered, tokens: int
) -> None:
    """Adds what the fusions attend to in all feature rows, in batches of so many tokens."""
    activate_block(engine, composed.block, "")  # no head: what it says does not matter
    engine.model.eval()
    pad_id = engine.backbone.pad_id
    with watching(found.add):
        for batch in batches(features, pad_id, batch_tokens=tokens):
            ids = batch.tensors["input_ids"]
            # The options of a choice are texts like any others.
            one = {key: batch.tensors[key].reshape(-1, ids.shape[-1]) for key in _INPUTS}
            found.mask = one["attention_mask"].to(engine.device)
            found.tokens += int(one["attention_mask"].sum())
            forward(engine, one)
