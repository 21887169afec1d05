"""The options of `evaluate`, with their types, defaults and checks, and the rules for layers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, TypedDict

from adapter_stilts.backbones import EMBEDDED, check_precision
from adapter_stilts.errors import UserError
from adapter_stilts.heads import PLAIN
from adapter_stilts.heads.embedding import check_pooling
from adapter_stilts.tasks.registry import get_target
from adapter_stilts.zoo.record import ModuleRecord

if TYPE_CHECKING:
    from adapter_stilts.engine.engine import Engine
    from adapter_stilts.evaluation.job import OnLanguage
    from adapter_stilts.evaluation.labels import Progress

    Engines = dict[tuple[str, str], Engine]


class ReadingOptions(TypedDict, total=False):
    """The options of all that reads the texts of a target.

    Attributes:
        split: `test` or `dev`.
        data: where the data is: `hub`, `sample` (bundled), or a folder with official files. By
            default it is the folder that `ADSTILTS_DATA` names, or else the Hub.
        backbone: chooses among modules of one name, and says where the backbone lies if it has
            moved since the modules were trained.
        limit: so many examples of every language are drawn at random.
        precision: the precision of the frozen trunk: `auto`, `bf16` or `fp32`.
        batch_tokens: a batch has so many padded tokens at most; by default what suits the device.
    """

    split: Literal["test", "dev"]
    data: str | PathLike[str] | None
    backbone: str | PathLike[str] | None
    limit: int | None
    precision: str
    batch_tokens: int | None


class ExplanationOptions(ReadingOptions, total=False):
    """The options of `explain` that are those of `evaluate`.

    Attributes:
        langs: `all` (the languages of the task's suites), the name of a suite, or codes with commas
            between, such as ko,sw,ha; in Python a list of codes, too. Any language that has files
            can be named.
    """

    langs: str | Sequence[str]


class SuiteOptions(ReadingOptions, total=False):
    """The options of `evaluate_suite`.

    Attributes:
        out: the folder of the predictions; of several compositions, the folder of their folders.
            By default it is `predictions/BACKBONE/COMPOSITION`.
        tags: for tagging, a tag set of your own in place of the task's, as the modules were
            trained with.
        layer: for retrieval, the layer that sentence vectors come from. By default it is chosen on
            dev data where the task has it, for each composition, else by a rule, for all
            compositions the same.
        pooling: for retrieval, how a sentence's vector is made of its tokens': `mean`, `first` or
            `max`.
        layer_from: for retrieval, another task on whose dev data the layer is chosen, such as
            `bucc2018`.
        layer_rule: for retrieval, the rule for the layer, `last` or `middle`, where results are
            compared with those of other calls.
        overwrite: compute everything anew, and replace what lies in the folder.
        on_language, on_examples: functions that are called when a language, or some examples, are
            done.
        engines: backbones in memory that several calls share.
    """

    out: str | Path | None
    tags: str | Sequence[str] | None
    layer: int | None
    pooling: str
    layer_from: str | None
    layer_rule: LayerRule | None
    overwrite: bool
    on_language: OnLanguage | None
    on_examples: Progress | None
    engines: Engines | None


class ComparisonOptions(SuiteOptions, ExplanationOptions, total=False):
    """The options of `compare` that are those of `evaluate`."""


class EvaluationOptions(ComparisonOptions, total=False):
    """The options of `evaluate`.

    Attributes:
        dev_file: rows of your own in place of the task's dev data, with `split` being `dev`. They
            are of one language, which `langs` names, or have {lang} in the file's name.
        test_file: rows of your own in place of the task's test data. They are of one language,
            which `langs` names, or have {lang} in the file's name.
        flat: whether `out` is the task's own folder within a larger one.
    """

    dev_file: str | Path | None
    test_file: str | Path | None
    flat: bool


@dataclass(frozen=True)
class Asked:
    """All options with every default."""

    langs: str | Sequence[str] = "all"
    split: Literal["test", "dev"] = "test"
    data: str | None = None
    dev_file: str | Path | None = None
    test_file: str | Path | None = None
    out: str | Path | None = None
    backbone: str | None = None
    tags: str | Sequence[str] | None = None
    limit: int | None = None
    precision: str = "auto"
    batch_tokens: int | None = None
    layer: int | None = None
    pooling: str = "mean"
    layer_from: str | None = None
    layer_rule: LayerRule | None = None
    overwrite: bool = False
    flat: bool = False
    on_language: OnLanguage | None = None
    on_examples: Progress | None = None
    engines: Engines | None = None


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


def check_settings(asked: Asked) -> None:
    """Refuses what cannot be, before anything heavy is imported."""
    check_precision(asked.precision)
    for name, value in (("batch-tokens", asked.batch_tokens), ("limit", asked.limit)):
        if value is not None and value < 1:
            raise UserError(f"{name} {value}: must be above 0")
    if asked.layer is not None and asked.layer < 0:
        raise UserError(f"no layer {asked.layer}: 0 is the output of the embeddings")
    check_pooling(asked.pooling)
    if asked.layer_from is not None:
        get_target(asked.layer_from)
