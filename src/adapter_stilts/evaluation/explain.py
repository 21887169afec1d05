"""Which modules a fusion listens to, in which language and layer."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any, Unpack

from adapter_stilts.backbones import check_precision, find_backbone
from adapter_stilts.compositions import Composition, as_text
from adapter_stilts.display import Picture, Result, attention_map
from adapter_stilts.engine.composition import Call, attending, canonical, fusings, fusions
from adapter_stilts.errors import UserError, counted
from adapter_stilts.evaluation.candidates import Candidate
from adapter_stilts.evaluation.data import TargetData, read_data, resolve_languages, resolve_split
from adapter_stilts.evaluation.options import Asked, ExplanationOptions
from adapter_stilts.heads.base import Encoding
from adapter_stilts.keywords import checks_keywords, fill
from adapter_stilts.paths import atomic_folder
from adapter_stilts.safety import json_text
from adapter_stilts.tasks.registry import get_target, target_tasks
from adapter_stilts.tasks.spec import TargetSpec, TaskSpec
from adapter_stilts.zoo.choice import place_of
from adapter_stilts.zoo.resolve import resolve
from adapter_stilts.zoo.resolved_composition import ResolvedComposition

if TYPE_CHECKING:
    import datasets
    from torch import Tensor

    from adapter_stilts.engine.engine import Engine
    from adapter_stilts.engine.fusion_forward import Attended
    from adapter_stilts.zoo.local import Composed

STRIDE = 128
"""Of windows over long texts, where the fusion's head was not trained on windows."""
_INPUTS = ("input_ids", "attention_mask")
ByLayer = Mapping[int, Mapping[str, float]]
"""Weight by layer and source."""


@dataclass(frozen=True, repr=False)
class Explanation(Result):
    """Mean attention weights of a composition's fusion.

    Attributes:
        composition, task, split: what was run on what.
        kind: of the fusion, such as `lean`.
        sources: what is fused, in the fusion's order.
        weights: by language, layer and source, the mean over all tokens but the padding; adds up
            to 1 over the sources that have a module in the layer. Where a layer has several
            fusions (LoRAs have one a matrix), the mean over these.
        entropy: by language and layer, the mean over tokens of the attention's entropy, divided
            by that of equal weights: 0 is all weight on one source, 1 the same on all.
        tokens: by language, how many there were.
        missing: why languages that were asked for are not there.
    """

    composition: str
    task: str
    split: str
    kind: str
    sources: tuple[str, ...]
    weights: Mapping[str, ByLayer]
    entropy: Mapping[str, Mapping[int, float]]
    tokens: Mapping[str, int]
    missing: Mapping[str, str]

    @property
    def layers(self) -> tuple[int, ...]:
        """The layers that have a fusion, from the bottom up."""
        return tuple(sorted({layer for found in self.weights.values() for layer in found}))

    @property
    def average(self) -> ByLayer:
        """The mean over languages."""
        every = list(self.weights.values())
        return {
            layer: {
                source: fmean(found[layer][source] for found in every) for source in every[0][layer]
            }
            for layer in self.layers
        }

    @property
    def average_entropy(self) -> dict[int, float]:
        """The mean over languages, by layer."""
        every = list(self.entropy.values())
        return {layer: fmean(found[layer] for found in every) for layer in self.layers}

    @property
    def entropy_over_layers(self) -> dict[str, float]:
        """The mean over layers, by language."""
        return {language: fmean(found.values()) for language, found in self.entropy.items()}

    def over_layers(self, language: str) -> dict[str, float]:
        """One language's weights, averaged over the layers where a source has a module."""
        found = self.weights[language].values()
        return {
            source: fmean(weights[source] for weights in found if source in weights)
            for source in self.sources
            if any(source in weights for weights in found)
        }

    def summary(self) -> str:
        """The composition, the task, and how much its fusion listens to each source."""
        over = counted(len(self.weights), "language")
        return f"{self.composition} on {self.task}: attention of the {self.kind} fusion, {over}"

    def records(self) -> list[dict[str, Any]]:
        """A row a language, layer and source, with the weight and the layer's entropy."""
        return [
            {
                "language": language,
                "layer": layer,
                "source": source,
                "weight": weight,
                "entropy": self.entropy[language][layer],
            }
            for language, found in self.weights.items()
            for layer, weights in found.items()
            for source, weight in weights.items()
        ]

    def plot(self) -> Picture:
        """The heat map: one panel a language, and their mean before them."""
        panels = dict(self.weights)
        if len(panels) > 1:
            panels = {f"mean of {len(panels)} languages": self.average, **panels}
        whole = all(len(sources) == len(self.sources) for sources in self.average.values())
        absent = "" if whole else "; a dot: no module there"
        title = f"{self.composition} on {self.task}"
        legend = (
            f"Mean attention weight per layer (from 0 at the bottom) and source, {self.kind} "
            f"fusion, {self.split} texts{absent}."
        )
        mark = 1 / len(self.sources)
        rows = [
            {"texts": name, "layer": layer, "source": source, "weight": weights.get(source)}
            for name, found in panels.items()
            for layer, weights in sorted(found.items())
            for source in self.sources
        ]
        texts = {"field": "texts", "type": "nominal", "sort": list(panels)}
        facets = {"facet": {**texts, "header": {"title": None}}, "columns": min(3, len(panels))}
        drawn = attention_map(rows, title=title, mark=mark, **facets)
        return Picture.from_vega_lite(drawn, legend=legend)

    def as_dict(self) -> dict[str, Any]:
        """Everything above as JSON can write it."""
        return asdict(self)


OnLanguage = Callable[[str], None]


@checks_keywords
def explain(
    composition: Composition,
    *,
    task: str | Path | TargetSpec | TaskSpec | None = None,
    on_language: OnLanguage | None = None,
    **options: Unpack[ExplanationOptions],
) -> Explanation:
    """Which of its sources a fusion attends to, by language and layer.

    Every text of the task goes through the composition; attention is averaged over all tokens but
    the padding. What a text's label is makes no difference. `write_explanation` writes it down.

    Args:
        composition: one with a learnt fusion, such as `fuse(mnli, squad)`, the fusion's own name,
            or `stack(fuse(mnli, squad), tydiqa)`; or with `arrow(mnli-lora, squad-lora)`.
        task: the target whose texts are read. Default: the one the fusion was learnt on, or else
            the topmost module.
        on_language: a function that is told when a language is done.
        options: see `ExplanationOptions`.

    Raises:
        UserError: the composition has no learnt fusion; an unknown task, language or split; data
            that is malformed or not there.
    """
    asked = fill(Asked, options)
    target = get_target(task) if task else None
    check_precision(asked.precision)
    resolved = resolve(as_text(composition), asked.backbone)
    _check_fuses(resolved)
    target = target or _task_of(resolved)
    split = resolve_split(target, asked.split, takes_files=False)
    languages = resolve_languages(target, asked.langs, split, asked.data)
    read = read_data(target, languages, split, asked.data, limit=asked.limit)
    place = find_backbone(place_of(asked.backbone, resolved.backbone))
    from adapter_stilts.engine.engine import load_engine

    engine = load_engine(place, precision=asked.precision)
    found = {}
    for language, gathered in gather(engine, resolved, target, read, asked):
        found[language] = gathered
        if on_language is not None:
            on_language(language)
    found_in = attending(resolved.expression)
    return Explanation(
        composition=resolved.name,
        task=target.name,
        split=split,
        kind=", ".join(sorted({_kind(resolved, each) for each in found_in})),
        sources=tuple(canonical(part) for each in found_in for part in each.parts),
        weights={language: each.weights for language, each in found.items()},
        entropy={language: each.entropy for language, each in found.items()},
        tokens={language: each.tokens for language, each in found.items()},
        missing=read.missing,
    )


def _kind(resolved: ResolvedComposition, fusion: Call) -> str:
    method = resolved.modules[fusion.by].record.method if fusion.by else fusion.operator
    return method.removeprefix("fusion-")


def _check_fuses(resolved: ResolvedComposition) -> None:
    if attending(resolved.expression):
        return
    written = canonical(resolved.expression)
    if fusings(resolved.expression):
        raise UserError(f"'{written}' weighs all its modules the same: there is nothing to explain")
    raise UserError(
        f"composition '{written}' has no fusion, so nothing chooses among modules: learn one with "
        "`adstilts fuse`"
    )


def _task_of(resolved: ResolvedComposition) -> TargetSpec:
    """The target that the fusion was learnt on; of one that is not learnt, the topmost module's.

    Refuses one that was learnt on something else.
    """
    learnt = fusions(resolved.expression)
    record = resolved.modules[learnt[-1].by].record if learnt else resolved.record
    name, targets = record.task, target_tasks()
    if name not in targets or not (learnt or record.has_head):
        why = f"was learnt on {name}, which is no target" if learnt else "was learnt on no target"
        raise UserError(
            f"the fusion {why}: say with --task what it is to read: {', '.join(targets)}"
        )
    return targets[name]


@dataclass
class Gathered:
    """Means over tokens, of weights by layer and source, and of entropies by layer.

    `sources` has, by a fusion's name in the engine, what its sources are called.
    """

    sources: Mapping[str, Sequence[str]]
    mask: Tensor | None = None
    tokens: int = 0
    _sums: dict[tuple[int, str], list[float]] = field(
        default_factory=lambda: defaultdict(lambda: [0.0, 0])
    )
    """With the tokens in each; the entropies' have no source."""

    def add(self, told: Attended) -> None:
        """Adds what one layer attended to in the batch whose `mask` is set."""
        if told.fusion not in self.sources:
            return
        assert self.mask is not None
        weights = told.weights[self.mask.bool()].double()  # (real tokens, sources)
        rows, count = weights.shape
        spread = -float((weights * weights.clamp(min=1e-12).log()).sum())
        names = [*(self.sources[told.fusion][number] for number in told.sources), ""]
        totals = [*weights.sum(0).tolist(), spread / math.log(count) if count > 1 else 0.0]
        for name, total in zip(names, totals, strict=True):
            found = self._sums[told.layer, name]
            found[0], found[1] = found[0] + total, found[1] + rows

    @property
    def weights(self) -> dict[int, dict[str, float]]:
        """Mean weights by layer and source."""
        found: dict[int, dict[str, float]] = {layer: {} for layer in self.entropy}
        for (layer, name), (total, rows) in self._sums.items():
            found[layer] |= {name: total / rows} if name else {}
        return found

    @property
    def entropy(self) -> dict[int, float]:
        """Mean entropies by layer."""
        sums = {layer: each for (layer, name), each in self._sums.items() if not name}
        return {layer: total / rows for layer, (total, rows) in sorted(sums.items())}


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
    from adapter_stilts.features import build_features
    from adapter_stilts.inference.predictions import default_batch_tokens
    from adapter_stilts.zoo.local import load_resolved

    length, stride = Candidate(target, resolved).window
    composed = load_resolved(engine, resolved)
    pairs = zip(attending(composed.inside), attending(resolved.expression), strict=True)
    sources = {
        inside.by or canonical(inside): [canonical(part) for part in each.parts]
        for inside, each in pairs
    }
    backbone = engine.backbone
    how = Encoding(backbone.tokenizer, backbone.sequence_length(length), stride or STRIDE)
    most = asked.batch_tokens or default_batch_tokens(engine.device)
    for language, part in read.languages.items():
        features = build_features(
            target.head,
            part.examples.examples,
            part.fingerprint if target.retrieval is None else part.examples.fingerprint,
            how,
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
    from adapter_stilts.engine.engine import activate_block, forward
    from adapter_stilts.engine.fusion_forward import watching
    from adapter_stilts.inference.predictions import batches

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


JSON, TABLE, PICTURE = "explanation.json", "explanation.csv", "explanation.svg"


def write_explanation(found: Explanation, folder: Path) -> None:
    """Writes `explanation.json`, `.csv` and `.svg`, the heat map, and replaces what lies there.

    Args:
        found: what `explain` returned.
        folder: where to; it is made if it is not there.

    Raises:
        FailureError: the disk is full, or nothing can be written there.
    """
    with atomic_folder(folder) as work:
        (work / JSON).write_text(json_text(found.as_dict()), encoding="utf-8")
        found.to_dataframe().to_csv(
            work / TABLE, index=False, float_format="%.6f", lineterminator="\r\n"
        )
        (work / PICTURE).write_text(found.plot().svg, encoding="utf-8")
