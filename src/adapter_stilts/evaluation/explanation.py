"""What a fusion listens to: attention by language, layer and source."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from adapter_stilts.display.charts import attention_map
from adapter_stilts.display.picture import Picture
from adapter_stilts.display.result import Result

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
        count = len(self.weights)
        over = f"{count} language{'s' if count != 1 else ''}"
        return f"{self.composition} on {self.task}: attention of the {self.kind} fusion, {over}"

    def records(self) -> list[dict[str, Any]]:
        """A row a language, layer and source, with the weight and the layer's entropy."""
        names = ("language", "layer", "source", "weight", "entropy")
        return [dict(zip(names, row, strict=True)) for row in self.rows()]

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

    def rows(self) -> Iterator[tuple[str, int, str, float, float]]:
        """Language, layer, source, weight and the layer's entropy."""
        for language, found in self.weights.items():
            for layer, weights in found.items():
                for source, weight in weights.items():
                    yield language, layer, source, weight, self.entropy[language][layer]

    def as_dict(self) -> dict[str, Any]:
        """Everything above as JSON can write it."""
        return {
            "composition": self.composition,
            "task": self.task,
            "split": self.split,
            "kind": self.kind,
            "sources": list(self.sources),
            "tokens": dict(self.tokens),
            "missing": dict(self.missing),
            "weights": {
                language: {str(layer): dict(weights) for layer, weights in found.items()}
                for language, found in self.weights.items()
            },
            "entropy": {
                language: {str(layer): value for layer, value in found.items()}
                for language, found in self.entropy.items()
            },
        }
