"""What the fusions of a study listen to: kept with the run, read for the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, ValidationError

from adapter_stilts.paths import write_whole

if TYPE_CHECKING:
    from adapter_stilts.evaluation.explain import Explanation

ATTENTION = "attention.json"
TEXTS = 16
"""Of every language: some thousand tokens, over which attention is averaged."""


class Attention(BaseModel):
    """Mean attention weights of a fusion, by layer (over languages) and language (over layers)."""

    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)

    sources: tuple[str, ...]
    layers: dict[int, dict[str, float]]
    languages: dict[str, dict[str, float]]
    entropy: dict[str, float]


def keep_attention(
    module: Path, target: str, names: Mapping[str, str], items: Path, **options: Any
) -> None:
    """Reads some texts of a target through its fusion, and writes what it attended to.

    Args:
        names: by the folder of a source, what it is called in the study.
        items: the folder of the run's scores, where the file is put.
        options: as of `explain`.
    """
    from adapter_stilts.evaluation.explain import explain  # not for the report

    found = summary(explain(str(module), task=target, limit=TEXTS, **options), names)
    write_whole(items / ATTENTION, found.model_dump_json() + "\n")


def summary(found: Explanation, names: Mapping[str, str]) -> Attention:
    """The part of an explanation that is kept."""

    def called(weights: Mapping[str, float]) -> dict[str, float]:
        return {_name(name, names): round(weight, 4) for name, weight in weights.items()}

    return Attention(
        sources=tuple(_name(name, names) for name in found.sources),
        layers={layer: called(weights) for layer, weights in found.average.items()},
        languages={name: called(found.over_layers(name)) for name in found.weights},
        entropy={name: round(value, 4) for name, value in found.entropy_over_layers.items()},
    )


def _name(source: str, names: Mapping[str, str]) -> str:
    place = source.strip('"')
    return names.get(place) or Path(place).name


def read_attention(path: Path) -> Attention | None:
    """The file of a run; None where there is none.

    Raises:
        ValueError: it is damaged.
    """
    if not path.is_file():
        return None
    try:
        return Attention.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise ValueError(f"no summary of a fusion: {error.errors()[0]['msg']}") from error


def mean_attention(each: Sequence[Attention]) -> Attention:
    """The mean over runs of one fusion, such as its seeds; what all of them have."""

    def mean(parts: Sequence[Mapping[str, float]]) -> dict[str, float]:
        return {name: fmean(p[name] for p in parts) for name in shared(parts)}

    def means(parts: Sequence[Mapping[Any, Mapping[str, float]]]) -> dict[Any, dict[str, float]]:
        return {key: mean([part[key] for part in parts]) for key in shared(parts)}

    def shared(parts: Sequence[Mapping[Any, Any]]) -> list[Any]:
        return [key for key in parts[0] if all(key in part for part in parts)]

    return Attention(
        sources=each[0].sources,
        layers=means([a.layers for a in each]),
        languages=means([a.languages for a in each]),
        entropy=mean([a.entropy for a in each]),
    )
