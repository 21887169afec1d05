"""The layer of sentence vectors by rule, where no dev data tells which one is best."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Literal

from adapter_stilts.backbones import EMBEDDED
from adapter_stilts.heads import PLAIN
from adapter_stilts.zoo.record import ModuleRecord

LayerRule = Literal["last", "middle"]
RULES: Mapping[LayerRule, str] = MappingProxyType(
    {"last": "the last layer, as trained for", "middle": "XTREME's middle layer, 14 of 24"}
)
"""The rules in words."""


def layer_rule(records: Iterable[ModuleRecord | None], backbone: str) -> LayerRule:
    """The rule for compositions that are compared, where nothing was swept: one for all of them.

    Retrieval depends more on the layer than on most modules, so compositions are compared at
    one. It is the last one where all were trained for their sentence vectors: dual encoders, or
    the embedded backbone without modules. Else it is the middle one: XTREME takes layer 14 of
    XLM-R Large's 24 (Hu et al. 2020; `specific_layer` 13, counted from 0, in
    scripts/run_tatoeba.sh), scaled to the backbone's number of layers.

    Args:
        records: of the modules whose heads are used; None for the plain backbone.
        backbone: its name.
    """
    trained = (
        backbone == EMBEDDED if record is None else record.head == PLAIN for record in records
    )
    return "last" if all(trained) else "middle"


def default_layer(layers: int, rule: LayerRule) -> int:
    """The layer that a rule takes of a backbone with so many."""
    return layers if rule == "last" else round(layers * 14 / 24)
